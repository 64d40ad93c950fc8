# SPDX-License-Identifier: Apache-2.0
"""The alignment watch beside the worker: when it takes a pair, what it says, and that it ends."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from time import monotonic, monotonic_ns
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from diagnostic_facts import NOW, running, status, values
from edge_scenes import both_views, moved
from rclpy.clock import Clock
from std_msgs.msg import Header

from segmif_ros.calibration import alignment_watch
from segmif_ros.calibration.alignment_watch import Alignment, AlignmentState
from segmif_ros.calibration.edge_shift import Shift
from segmif_ros.frames import Frame, Pair, PictureState
from segmif_ros.images.raw import ImageView
from segmif_ros.parameters import DEFAULTS
from segmif_ros.ros.diagnostics.diagnostics_input import AlignmentFacts
from segmif_ros.ros.node import worker as worker_module
from segmif_ros.ros.node.alignment import AlignmentCheck, Measured, alignment_values
from segmif_ros.ros.node.statistics import NANOSECONDS, Statistics
from segmif_ros.ros.node.worker import Worker
from segmif_ros.ros.qos import OUTPUTS

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "diagnostics.md"
RGB, THERMAL = both_views(1, (240, 320))
SHIFT = Shift(dx=-8.0, dy=1.5, roll_deg=0.5, rms_px=8.4, score=0.3, score_here=0.1,
              prominence=20.0, loss=12.0)  # fmt: skip


@pytest.fixture
def logged() -> list[str]:
    return []


@pytest.fixture
def check(logged: list[str]) -> Iterator[AlignmentCheck]:
    check = AlignmentCheck(logged.append)
    yield check
    check.close()


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, "waited in vain"
        threading.Event().wait(0.01)


def offer(check: AlignmentCheck, now_ns: int = 0) -> None:
    check.offer(RGB, THERMAL, None, warn_px=4.0, now_ns=now_ns)


class Held:
    """A measurement that lasts until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go, self.seen = threading.Event(), threading.Event(), []

        def measure(_watch: object, rgb: np.ndarray, *_: object, **_named: object) -> Alignment:
            self.begun.set()
            self.go.wait(20.0)
            self.seen.append(rgb.copy())
            return found(AlignmentState.ALIGNED)

        monkeypatch.setattr(alignment_watch.AlignmentWatch, "measure", measure)


def found(state: AlignmentState, told: Shift | None = SHIFT) -> Alignment:
    return Alignment(state, state, SHIFT, told, rgb_width=640)


def test_a_pair_is_due_every_so_often_and_never_while_one_is_measured(check, monkeypatch):
    held = Held(monkeypatch)
    assert check.due(5.0, 0)
    assert not check.due(0.0, 0), "0 is off"
    offer(check, now_ns=0)
    assert not check.due(5.0, 60 * NANOSECONDS), "the one before is still being measured"
    held.go.set()
    until(lambda: check.measured.count == 1)
    until(lambda: check.due(5.0, 5 * NANOSECONDS))
    assert not check.due(5.0, 5 * NANOSECONDS - 1)


def test_the_pictures_are_copied(check, monkeypatch):
    held = Held(monkeypatch)
    rgb = RGB.copy()
    check.offer(rgb, THERMAL, None, warn_px=4.0, now_ns=0)
    rgb[:] = 0
    held.go.set()
    until(lambda: held.seen)
    np.testing.assert_array_equal(held.seen[0], RGB)


def test_a_measurement_is_reported_with_its_cost(check):
    for number in range(5):
        until(lambda: check.due(1e-9, monotonic_ns()))
        offer(check, monotonic_ns())
        until(lambda number=number: check.measured.count == number + 1)
    measured = check.measured
    assert measured.alignment is not None
    assert measured.alignment.state is AlignmentState.ALIGNED
    assert measured.cpu_ms > 0.0
    assert measured.confirmed_ns == measured.measured_ns


def test_after_deactivation_it_starts_again_and_a_late_result_is_dropped(check, monkeypatch):
    held = Held(monkeypatch)
    offer(check)
    assert held.begun.wait(20.0)
    check.forget()
    held.go.set()
    until(lambda: check.due(5.0, 0))
    assert check.measured == Measured()


def test_it_ends_within_a_second_even_while_it_measures(check, monkeypatch):
    held = Held(monkeypatch)
    offer(check)
    assert held.begun.wait(20.0)
    started = monotonic()
    check.close()
    assert monotonic() - started < 1.0
    assert not check.due(5.0, 10**15), "nothing is taken any more"
    held.go.set()
    until(lambda: held.seen)


@pytest.mark.parametrize("size", [(1, 1), (1, 640), (640, 1), (8, 5000)])
def test_pictures_of_a_few_pixels_are_passed_over(check, logged, size):
    check.offer(np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8), None, warn_px=4, now_ns=0)
    assert not check.due(5.0, NOW // 100)
    offer(check)
    until(lambda: check.measured.count == 1)
    assert logged == []


def test_an_error_is_logged_once_and_the_next_pair_is_measured(check, logged, monkeypatch):
    right = alignment_watch.AlignmentWatch.measure

    def fail(*_: object, **_named: object) -> Alignment:
        raise ZeroDivisionError("no such thing")

    monkeypatch.setattr(alignment_watch.AlignmentWatch, "measure", fail)
    for _ in range(2):
        offer(check)
        until(lambda: check.due(5.0, 5 * NANOSECONDS))
    assert len(logged) == 1
    assert "alignment check failed: ZeroDivisionError('no such thing')" in logged[0]
    monkeypatch.setattr(alignment_watch.AlignmentWatch, "measure", right)
    offer(check)
    until(lambda: check.measured.count == 1)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux only")
def test_the_thread_steps_back_for_all_others(check):
    seen = []
    check._worker.call(
        lambda: seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
    )
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert seen == [min(own + 10, 19)], "and this one stays where it was"


# What the worker passes on


class Taken:
    """Stands in for the check."""

    def __init__(self) -> None:
        self.pairs: list[tuple[np.ndarray, np.ndarray, object, float]] = []
        self.asked: list[float] = []

    def due(self, check_s: float, _now_ns: int) -> bool:
        self.asked.append(check_s)
        return check_s > 0.0

    def offer(self, rgb, thermal, valid, *, warn_px, **_when: int) -> None:
        self.pairs.append((rgb.copy(), thermal.copy(), valid, warn_px))

    def forget(self) -> None:
        pass

    close = forget


class Topics:
    """Stands in for `Outputs`."""

    def wanted(self) -> tuple[str, ...]:
        return ("mask",)

    def publish(self, *_: object) -> None:
        pass


PICTURE, HEAT = both_views(2)


def pair_of(
    seconds: int,
    thermal: np.ndarray | None = HEAT,
    picture: PictureState = PictureState.FRESH,
    **changes: object,
) -> Pair:
    now, stamp_ns = monotonic_ns(), seconds * NANOSECONDS
    settings = replace(DEFAULTS, alignment_warn_px=7.0, **changes)
    warm = None
    if thermal is not None:
        warm = Frame(ImageView(thermal, "mono8"), Header(), stamp_ns, now, picture)
    return Pair(
        Frame(ImageView(PICTURE[..., ::-1], "bgr8"), Header(), stamp_ns, now),
        warm,
        stamp_ns,
        stamp_ns,
        header=Header(),
        decided_ns=now,
        settings=settings,
    )


def test_the_worker_passes_on_registered_pairs_of_one_moment(tiny_bundle, monkeypatch):
    taken = Taken()
    monkeypatch.setattr(worker_module, "AlignmentCheck", lambda _: taken)
    logger = SimpleNamespace(**dict.fromkeys(("info", "warning", "error"), print))
    worker = Worker(Statistics(OUTPUTS), clock=Clock(), logger=logger, stop=Event())
    worker.load(replace(DEFAULTS, model=str(tiny_bundle), engine="onnxruntime"))
    worker.open(Topics())
    for pair in (
        pair_of(1),
        pair_of(2, None),
        pair_of(3, moved(HEAT, 1, 0), PictureState.FROZEN),
        pair_of(4, moved(HEAT, 2, 0), alignment_check_s=0.0),
        pair_of(5, moved(HEAT, 2, 0), PictureState.SHUTTER),
        pair_of(6, moved(HEAT, 2, 0), PictureState.SETTLING),
    ):
        worker.offer(pair)
        worker._thread.call(lambda: None)
    worker.close()
    assert taken.asked == [5.0, 0.0]
    ((rgb, thermal, valid, warn_px),) = taken.pairs
    np.testing.assert_array_equal(rgb, PICTURE)
    np.testing.assert_array_equal(thermal, HEAT)
    assert valid is None
    assert warn_px == 7.0


# What the diagnostics say


def told(state: AlignmentState | None, **changes: object) -> dict[str, str]:
    measured = Measured()
    if state is not None:
        measured = Measured(found(state), NOW - NANOSECONDS, NOW - 3 * NANOSECONDS, 20, 31.0)
    facts = AlignmentFacts(measured, **changes)
    status_of = status(running(), "alignment", alignment=facts)
    return values(status_of) | {"level": str(status_of.level[0]), "message": status_of.message}


def test_a_moved_camera_is_a_warning_with_its_shift():
    seen = told(AlignmentState.MOVED)
    assert (seen["level"], seen["state"]) == ("1", "moved")
    assert seen["message"].startswith(
        "thermal lies 8.4 px off: -8.0 px to the right, +1.5 px down, turned by +0.5 deg; a camera"
    )
    assert (seen["shift_px"], seen["agreement"], seen["measurements"]) == ("8.4", "0.33", "20")
    assert (seen["measured_s_ago"], seen["told_s_ago"]) == ("1.0", "3.0")


@pytest.mark.parametrize(
    ("state", "changes", "word", "text"),
    [
        (None, {}, "unknown", "no pair has been measured yet"),
        (AlignmentState.UNKNOWN, {}, "unknown", "do not show yet"),
        (AlignmentState.ALIGNED, {}, "aligned", "ok"),
        (AlignmentState.MOVED, {"check_s": 0.0}, "off", "alignment_check_s is 0"),
        (AlignmentState.MOVED, {"warn_px": 0.0}, "moved", "8.4 px off"),
    ],
)
def test_all_else_is_no_warning(state, changes, word, text):
    seen = told(state, **changes)
    assert (seen["level"], seen["state"]) == ("0", word)
    assert text in seen["message"]


def test_the_document_explains_every_key_and_state():
    text = DOCUMENT.read_text().partition("\n## alignment\n")[2].partition("\n## ")[0]
    keys = alignment_values(Measured(found(AlignmentState.MOVED), NOW, NOW, 1, 1.0), NOW)
    names = {*keys, *(state.value for state in AlignmentState), "off", "inactive"}
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


# A real node


@pytest.mark.system
def test_a_real_node_warns_of_a_bumped_bracket_and_clears(start_node, tiny_bundle, ros_domain):
    from node_process import Peer

    views = [both_views(n, (240, 320)) for n in range(30, 38)]
    process = start_node(
        model=tiny_bundle,
        engine="onnxruntime",
        diagnostics_rate_hz=5.0,
        alignment_check_s=0.1,
        ros_args=["-r", "__node:=watching"],
    )
    process.wait_for_text("active: listening")
    with Peer(ros_domain, "watching") as peer:
        peer.until_heard()
        peer.listen("mask")
        sent = 0

        def shown(state: str, dx: float) -> Callable[[], bool]:
            def reached() -> bool:
                nonlocal sent
                rgb, thermal = views[sent % len(views)]
                peer.publish_pair(rgb, moved(thermal, dx, 0.0))
                sent += 1
                peer.spin(0.05)
                return peer.status("alignment").get("state") == state

            return reached

        peer.until(shown("aligned", 0.0), "aligned")
        assert peer.status("alignment")["level"] == "0"
        peer.until(shown("moved", 5.0), "a warning")
        seen = peer.status("alignment")
        assert seen["level"] == "1"
        assert float(seen["shift_px"]) == pytest.approx(5.0, abs=1.5)
        assert float(seen["shift_right_px"]) > 0.0
        peer.until(shown("aligned", 0.0), "aligned again")
        assert peer.status("alignment")["level"] == "0"
    assert process.stop()[0] == 0
    assert "Traceback" not in process.text()
