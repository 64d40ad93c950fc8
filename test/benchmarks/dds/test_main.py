# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.dds` over real processes, and the gate on what the node costs.

Only ratios are judged: absolute times are those of the machine. Ratios of processor time hold on a
busy machine too; ratios of wall times do not, so those are left out where others keep it busy.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from benchmarks.dds.__main__ import _parser, _scenario, main, rounded

REPOSITORY = Path(__file__).resolve().parents[3]
ROUNDS = 3
DEADLINE_S = 60.0

Report = dict[str, Any]
Bench = Callable[..., Report]
Keeps = Callable[[Report], bool]
COMPARED = ("--seconds", "2", "--peer", "message-filters")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("bench")

    def run(*arguments: str) -> Report:
        out = folder / "report.json"
        where = ["--warm-up", "0.4", "--out", str(out), "--keep", str(folder)]
        assert main([*arguments, *where]) == 0
        return json.loads(out.read_text())

    return run


@pytest.fixture(scope="module")
def compared(bench: Bench) -> Report:
    return bench(*COMPARED)


def least_disturbed(report: Report, again: Callable[[], Report], *keeps: Keeps) -> Report:
    """Return a report that keeps what is promised, the last of `ROUNDS` if none does.

    Other programs make wall times longer and never shorter, so the best one is ours.
    """
    for _ in range(ROUNDS - 1):
        if all(keep(report) for keep in keeps):
            break
        report = again()
    return report


@pytest.mark.system
def test_every_frame_is_accounted_for_and_every_stage_timed(compared: Report) -> None:
    for run in compared["runs"]:
        assert run["pairs"]["heard"] + sum(run["loss"].values()) == run["pairs"]["sent"]
        assert run["pairs"]["sent"] + run["left_out"] == 60
        assert not any("more than possible" in doubt for doubt in run["doubts"])
    own = compared["runs"][0]
    stages = set(own["stages_ms"])
    assert stages >= {
        *("transport", "wait", "queue", "conversion", "thermal", "registration", "inference"),
        *("publish", "work", "around", "node", "total"),
    }
    assert own["stages_ms"]["registration"]["p50"] > 5 * own["stages_ms"]["conversion"]["p50"], (
        "without a calibration file the warp would not be measured"
    )
    assert own["age_ms"]["all"]["p50"] > own["stages_ms"]["node"]["p50"]


@pytest.mark.system
def test_the_node_costs_little_more_than_an_ordinary_one_that_does_less(compared: Report) -> None:
    ratios = compared["comparison"]["message-filters"]
    assert ratios["cpu_ms_per_result"] > 0.5


@pytest.mark.system
def test_results_are_as_fresh_as_an_ordinary_nodes_and_late_ones_are_rare(
    bench: Bench, compared: Report
) -> None:
    def tail(report: Report) -> float:
        age = report["runs"][0]["age_ms"]["all"]
        return float(age["p95"] / age["p50"])

    def against_ordinary(report: Report) -> float:
        return float(report["comparison"]["message-filters"]["age_p50_ms"])

    report = least_disturbed(
        compared,
        lambda: bench(*COMPARED),
        lambda report: tail(report) < 5.0,
        lambda report: against_ordinary(report) > 0.5,
    )
    assert against_ordinary(report) > 0.5
    assert tail(report) < 5.0


@pytest.mark.system
def test_without_a_listener_the_worker_is_idle(bench: Bench, compared: Report) -> None:
    (idle,) = bench("--seconds", "2", "--subscribe", "none")["runs"]
    assert idle["pairs"]["published"] == 0
    busy_worker = compared["runs"][0]["costs"]["node0"]["threads_percent"]["worker"]
    assert idle["costs"]["node0"]["threads_percent"]["worker"] < busy_worker / 5.0
    assert idle["cpu_ms_per_pair"] < compared["runs"][0]["cpu_ms_per_pair"]


@pytest.mark.system
def test_without_a_listener_a_lazy_node_costs_next_to_nothing(
    bench: Bench, compared: Report
) -> None:
    (asleep,) = bench("--seconds", "2", "--subscribe", "none", "--lazy")["runs"]
    assert asleep["cpu_ms_per_pair"] < compared["runs"][0]["cpu_ms_per_pair"] / 5.0


@pytest.mark.system
def test_overload_drops_old_pairs_and_nothing_grows_old(bench: Bench) -> None:
    def measure() -> Report:
        return bench("--seconds", "2", "--rate", "3", "--delay-ms", "150", "--overload", "3")

    def is_steady(report: Report) -> bool:
        (verdict,) = report["overload"]
        return verdict["output_share"] > 0.8 and verdict["age_p50_ratio"] < 1.6

    report = least_disturbed(measure(), measure, is_steady)
    overloaded = report["runs"][1]
    assert overloaded["loss"]["gave way to a newer pair"] > overloaded["pairs"]["heard"]
    (verdict,) = report["overload"]
    assert verdict["output_share"] > 0.8
    assert verdict["age_p50_ratio"] < 1.6


@pytest.mark.system
def test_ending_the_bench_ends_its_processes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.dds", "--keep", tmp_path]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=REPOSITORY
    ) as bench:
        log = tmp_path / "run1" / "node0.log"
        deadline = monotonic() + DEADLINE_S
        while not (log.is_file() and "bench: ready" in log.read_text()):
            assert monotonic() < deadline, "the node did not start"
            with contextlib.suppress(subprocess.TimeoutExpired):
                bench.wait(0.05)
        bench.send_signal(signal.SIGTERM)
        assert bench.wait(DEADLINE_S) == 130
    left = [
        path
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if str(tmp_path).encode() in _content(path)
    ]
    assert left == []


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # it has ended since it was listed


def test_a_rate_that_is_no_light_load_cannot_be_the_measure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = {
        "stages_ms": {"work": {"p50": 50.0}},
        "scenario": {"rate_hz": 19.0},
    }
    monkeypatch.setattr("benchmarks.dds.__main__.run_table", lambda _: "")
    monkeypatch.setattr("benchmarks.dds.run.Run.measure", lambda _: measured)
    assert main(["--overload", "2", "--rate", "19"]) == 1
    assert "the worker holds 20.0 Hz; give at most 14.0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rgb-size", "640"], "expected WIDTHxHEIGHT"),
        (["--subscribe", "fused,heat"], "'heat', expected fused"),
        (["--overload", "0.5"], "numbers above 1"),
        (["--engine", "nano", "--delay-ms", "5"], "--delay-ms is for --engine null"),
        (["--rate", "0"], "rate_hz is 0.0"),
        (["--peer", "message-filters", "--subscribe", "all"], "has no output"),
        (["--peer", "message-filters", "--subscribe", "none"], "--peer needs a listener"),
        (["--overload", "2", "--subscribe", "none"], "--overload needs a listener"),
        (["--warm-start", "1", "--subscribe", "none"], "--warm-start needs a listener"),
        (["--warm-start", "1", "--rigs", "2"], "--warm-start starts one node"),
        (["--overload", "2", "--peer", "message-filters"], "runs of their own"),
        (["--rounds", "0"], "--rounds is 0"),
        (["--domain", "233"], "--domain is 233"),
        (["--rgb-size", "20000x480"], "expected 16 to 16384 pixels"),
    ],
)
def test_wrong_use_is_explained(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main([*arguments])
    except SystemExit as err:
        code = int(str(err.code))
    assert code == 2
    assert words in capsys.readouterr().err


def test_a_model_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--engine", "no-such-model"]) == 1
    assert "no-such-model" in capsys.readouterr().err


def test_figures_that_cannot_be_written_stop_the_bench_before_it_measures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.dds.run.Run.measure", lambda _: pytest.fail("measured"))
    (tmp_path / "file").write_text("")
    assert main(["--out", str(tmp_path / "file" / "figures.json")]) == 1
    assert main(["--out", str(tmp_path)]) == 1
    assert "is a folder" in capsys.readouterr().err


def test_silence_cannot_be_compared(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = {"age_ms": {"all": None}, "title": "some node", "scenario": {"subject": "segmif"}}
    monkeypatch.setattr("benchmarks.dds.__main__.run_table", lambda _: "")
    monkeypatch.setattr("benchmarks.dds.run.Run.measure", lambda _: silent)
    assert main(["--peer", "message-filters"]) == 1
    assert "nothing came from some node" in capsys.readouterr().err


def test_engines_are_the_shipped_model_a_folder_or_nothing() -> None:
    parse = _parser().parse_args
    assert _scenario(parse([])).runtime == "null"
    nano = _scenario(parse(["--engine", "nano", "--runtime", "onnxruntime"]))
    assert (nano.model, nano.runtime) == ("segmif-nano", "onnxruntime")
    assert _scenario(parse(["--engine", "some/where"])).model == "some/where"
    assert _scenario(parse(["--subscribe", "none"])).outputs == ()
    assert _scenario(parse(["--subscribe", "all"])).outputs[-1] == "overlay"


def test_figures_in_files_are_cut_where_they_mean_nothing(tmp_path: Path) -> None:
    value = {"a": [1.23456, 2], "b": (0.0004, None), "c": {"d": "1.23456"}}
    (tmp_path / "x").write_text(json.dumps(rounded(value)))
    assert json.loads((tmp_path / "x").read_text()) == {
        "a": [1.235, 2], "b": [0.0, None], "c": {"d": "1.23456"}
    }  # fmt: skip
