# SPDX-License-Identifier: Apache-2.0
"""What `segmif demo` decides, without any process; test/test_demo.py runs the real thing."""

import argparse
import os
import signal
from types import SimpleNamespace

import pytest

from segmif_ros.cli import demo
from segmif_ros.cli.demo_session import DemoSession
from segmif_ros.cli.demo_sources import Plan
from segmif_ros.cli.main import main
from segmif_ros.outputs import own_folder


class FakeSource:
    title = "street"
    rgb_topic, thermal_topic, calibration = "/rgb", "/thermal", None

    def __init__(self) -> None:
        self.asked: list[float] = []

    def plan(self, holdable_hz):
        self.asked.append(holdable_hz)
        return Plan(("true",), holdable_hz, 100, ("a plan note",))

    def facts(self):
        return {"kind": "fake"}

    def caption(self, time_s):
        return "night" if time_s > 1 else ""


def fake_session(replaced: list[int]):
    """A session whose nth run loses the nth number of pairs to newer ones."""

    class FakeChain(DemoSession):
        def __init__(self, source, *_, **__) -> None:
            self._source = source
            lost = replaced.pop(0)
            self.recorder = SimpleNamespace(
                diagnostics={
                    "rgb": {"received": "100"},
                    "thermal": {"received": "100"},
                    "pairing": {"pairs": "100", "replaced": str(lost)},
                    "engine": {"published": str(100 - lost), "warmup_ms": "62.0"},
                },
                counts={"fused": 100 - lost},
                ages_ms={"fused": [1.0]},
                outputs_span_s=10.0,
                model="nano",
            )

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def start_node(self):
            return 70.0 - demo._AROUND_ENGINE_MS

        def play(self, plan):
            assert plan.pairs == 100

        def stop_node(self):
            return None

    return FakeChain


def arguments(tmp_path, **changes):
    values = {"out": tmp_path, "model": "nano", "engine": "auto", "rate": None}
    return argparse.Namespace(**{**values, **changes})


def measure(monkeypatch, tmp_path, replaced, **changes):
    monkeypatch.setattr(demo, "DemoSession", fake_session(replaced))
    source = FakeSource()
    report, _ = demo._measure(arguments(tmp_path, **changes), source)
    return source, report


def test_the_rate_leaves_the_engine_room(monkeypatch, tmp_path):
    source, report = measure(monkeypatch, tmp_path, [0])
    assert source.asked == [pytest.approx(10.0)]
    assert report.passed
    assert report.notes == ("a plan note",)


def test_a_busy_machine_gets_a_second_chance_at_a_lower_rate(monkeypatch, tmp_path):
    source, report = measure(monkeypatch, tmp_path, [30, 2])
    assert source.asked == [pytest.approx(10.0), pytest.approx(6.0)]
    assert report.passed
    assert report.notes[0].startswith("at 10.0 pairs per second only 70 of 100 came out")


def test_three_failures_are_a_failure(monkeypatch, tmp_path):
    source, report = measure(monkeypatch, tmp_path, [30, 30, 30])
    assert len(source.asked) == 3
    assert not report.passed


def test_a_rate_that_the_user_gave_is_not_changed(monkeypatch, tmp_path):
    source, report = measure(monkeypatch, tmp_path, [30], rate=10.0)
    assert len(source.asked) == 1
    assert not report.passed


def test_the_verdict_says_what_to_try_next(monkeypatch, tmp_path, capsys):
    _, report = measure(monkeypatch, tmp_path, [30, 30, 30])
    assert demo._verdict(report, tmp_path, video=False) == 3
    error = capsys.readouterr().err
    assert "70 of 100 pairs came out, fewer than 95 %" in error
    assert "overtaken by a newer pair" in error
    assert "--rate 2.2" in error


@pytest.mark.parametrize(("free_mb", "told"), [(60, True), (200, False)])
def test_little_shared_memory_is_said_with_the_remedy(monkeypatch, capsys, free_mb, told):
    usage = SimpleNamespace(free=free_mb * 2**20)
    monkeypatch.setattr(demo.shutil, "disk_usage", lambda _: usage)
    demo._check_shared_memory()
    assert ("--shm-size=256m" in capsys.readouterr().out) is told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_closed_terminal_ends_the_demo_like_ctrl_c(number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), demo.terminable():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


def test_two_demos_do_not_share_a_folder(tmp_path, capsys):
    with own_folder(tmp_path, ["report.json"]):
        assert main(["demo", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "another command is writing into" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", ["report.json", "demo.mp4", "log", "pairs_bag"])
def test_nothing_of_a_user_is_replaced(name, tmp_path, capsys):
    (tmp_path / name).write_text("mine")
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert f"{name} is there already" in capsys.readouterr().err
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine")]


def test_an_output_folder_that_cannot_be_made_is_one_line(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["demo", "--out", str(tmp_path / "file" / "o")]) == 1
    error = capsys.readouterr().err
    assert str(tmp_path / "file" / "o") in error
    assert "--out" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--bag", "a", "--pairs", "b"], "not both"),
        (["--seconds", "0"], "--seconds is 0.0"),
        (["--rate", "-3"], "--rate is -3.0"),
        (["--rate", "inf"], "--rate is inf"),
        (["--seconds", "nan"], "--seconds is nan"),
    ],
)
def test_wrong_use_is_one_line_and_exit_2(tmp_path, capsys, options, message):
    assert main(["demo", *options, "--out", str(tmp_path / "o")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--bag", "SEG-E301 bag 'nowhere' does not exist"),
        ("--pairs", "SEG-E302 nowhere/visible is not a folder"),
    ],
)
def test_a_source_that_is_not_there_is_one_line(tmp_path, capsys, option, message):
    assert main(["demo", option, "nowhere", "--out", str(tmp_path / "o")]) == 1
    error = capsys.readouterr().err
    assert f" {message}; " in error
    assert error.count("\n") == 1
