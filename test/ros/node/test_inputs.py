# SPDX-License-Identifier: Apache-2.0
"""The executor's side with a stand-in node: what is counted, logged, paired and passed on."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import replace
from time import monotonic_ns
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from rclpy.serialization import serialize_message
from std_msgs.msg import Header

from segmif_ros.frames import Pair
from segmif_ros.images.raw import Refusal
from segmif_ros.pairing import DropReason, Stream
from segmif_ros.parameters import PARAMETERS, Settings
from segmif_ros.registration import Calibration
from segmif_ros.ros.images import to_message
from segmif_ros.ros.node import image_input, inputs
from segmif_ros.ros.node.inputs import Inputs
from segmif_ros.ros.node.modes import Mode, ModeStatus
from segmif_ros.ros.node.statistics import Statistics

MS = 1_000_000
START = 1_700_000_000_000 * MS
SETTINGS = Settings.from_values({spec.name: spec.default for spec in PARAMETERS})


class Handle:
    """What rclpy's `Subscription.handle` is to those who take messages themselves."""

    def __init__(self, waiting: list[Any]) -> None:
        self.waiting = waiting

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def take_message(self, _kind: type, _raw: bool) -> tuple[Any, Any] | None:
        return (self.waiting.pop(), None) if self.waiting else None


class StandInNode:
    """The calls that `Inputs` makes on its node."""

    def __init__(self) -> None:
        self.now_ns = START
        self.callbacks: dict[str, Callable[[bytes], None]] = {}
        self.warnings: list[str] = []
        self.destroyed = 0
        self.waiting: dict[str, list[Any]] = {}
        """What the middleware holds for subscriptions that are read by hand."""

    def resolve_topic_name(self, topic: str, **_: Any) -> str:
        return topic.replace("~", "/segmif")

    def create_subscription(self, kind: Any, topic: str, callback: Any, *_: Any, **__: Any) -> Any:
        self.callbacks[topic] = callback
        name = topic.replace("~", "/segmif")
        handle = Handle(self.waiting.setdefault(name, []))
        return SimpleNamespace(topic_name=name, handle=handle, msg_type=kind, raw=False)

    def destroy_subscription(self, _subscription: Any) -> None:
        self.destroyed += 1

    def get_clock(self) -> Any:
        return SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=self.now_ns))

    def get_logger(self) -> Any:
        return SimpleNamespace(warning=self.warnings.append)


class Rig:
    """Inputs with everything around them."""

    def __init__(self, calibration: Calibration | None = None) -> None:
        self.node = StandInNode()
        self.statistics = Statistics(())
        self.jobs: list[Pair] = []
        self.settings = SETTINGS
        parameters = SimpleNamespace(settings=lambda: self.settings)
        node: Any = self.node
        self.said: list[ModeStatus] = []
        self.inputs = Inputs(
            node,
            parameters,
            self.statistics,
            self.jobs.append,
            self.said.append,
            calibration=calibration,
        )

    def send(self, stream: Stream, at_ms: float, **damage: Any) -> None:
        shape, encoding = ((4, 6, 3), "rgb8") if stream is Stream.RGB else ((3, 5), "mono8")
        header = Header(frame_id=stream.value)
        stamp_ns = START + int(at_ms * MS)
        header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
        message = to_message(np.full(shape, int(at_ms) % 256, np.uint8), encoding, header)
        for name, value in damage.items():
            setattr(message, name, value)
        self.node.now_ns = stamp_ns + 4 * MS
        self.node.callbacks[f"~/input/{stream.value}"](serialize_message(message))

    def dropped(self, stream: Stream) -> dict[DropReason, int]:
        return {r: n for r, n in self.statistics.streams[stream].dropped.items() if n}


class SteadyClock:
    """Steady time that goes on only in ticks of 40 ms, as the node's timer makes them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns = monotonic_ns()
        for module in (inputs, image_input):
            monkeypatch.setattr(module, "monotonic_ns", lambda: self.now_ns)

    def tick(self, rig: Rig) -> None:
        self.now_ns += 40 * MS
        rig.inputs.tick()


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_pair_is_passed_on_with_stamps_headers_and_settings(rig):
    rig.send(Stream.RGB, 0)
    rig.send(Stream.THERMAL, 7)
    (job,) = rig.jobs
    assert (job.stamp_ns, job.thermal_stamp_ns) == (START, START + 7 * MS)
    assert job.rgb.header.frame_id == "rgb"
    assert job.rgb.view.to_rgb().shape == (4, 6, 3)
    assert job.thermal.view.to_thermal().shape == (3, 5)
    assert job.settings is rig.settings
    assert job.rgb.received_ns <= job.thermal.received_ns <= job.decided_ns
    assert rig.statistics.pairs == 1
    assert rig.statistics.dt_ms.percentiles().p50 == pytest.approx(7.0)
    assert rig.statistics.stages_ms["transport"].percentiles().p50 == pytest.approx(4.0)


def test_a_refused_image_is_counted_and_logged_once(rig):
    for i in range(20):
        rig.send(Stream.RGB, i, step=1)
    counts = rig.statistics.streams[Stream.RGB]
    assert counts.received == 20
    assert counts.refused[Refusal.STEP] == 20
    assert "step 1 is too small" in counts.last_refusal
    assert len(rig.node.warnings) == 1
    assert "/segmif/input/rgb: image refused (1 so far): step 1" in rig.node.warnings[0]
    rig.send(Stream.RGB, 30)
    rig.send(Stream.THERMAL, 30)
    assert len(rig.jobs) == 1


def test_swapped_topics_are_named(rig):
    rig.send(Stream.RGB, 0, encoding="mono16")
    assert "swapped" in rig.statistics.streams[Stream.RGB].last_refusal


def test_a_zero_stamp_has_no_transport_time(rig):
    rig.send(Stream.RGB, 0, header=Header())
    assert rig.dropped(Stream.RGB) == {DropReason.ZERO_STAMP: 1}
    counts = rig.statistics.streams[Stream.RGB]
    assert (counts.transport_ms.count, counts.implausible_stamps) == (0, 0)


def test_the_timer_ends_the_waiting(rig):
    rig.send(Stream.RGB, 0)
    rig.inputs.tick()
    assert rig.inputs.pairer.held(Stream.RGB) == 1
    rig.node.now_ns += 101 * MS
    rig.inputs.tick()
    assert rig.dropped(Stream.RGB) == {DropReason.TOO_OLD: 1}


def test_a_changed_tolerance_takes_effect_with_the_next_frame(rig):
    rig.send(Stream.RGB, 0)
    rig.settings = replace(SETTINGS, pairing=replace(SETTINGS.pairing, tolerance_ns=2 * MS))
    rig.send(Stream.RGB, 100)
    assert rig.dropped(Stream.RGB) == {DropReason.RESET: 1}
    rig.send(Stream.THERMAL, 105)
    assert not rig.jobs


def test_close_unsubscribes_and_accounts_for_what_was_held(rig):
    rig.send(Stream.THERMAL, 0)
    rig.inputs.close()
    assert rig.node.destroyed == 4
    assert rig.dropped(Stream.THERMAL) == {DropReason.RESET: 1}
    assert rig.inputs.camera(Stream.RGB).topic == "/segmif/input/rgb"


def test_clock_jumps_are_passed_on(rig):
    rig.send(Stream.RGB, 100_000)
    rig.send(Stream.RGB, 0)
    assert rig.statistics.clock_jumps == 1


def test_clock_jumps_add_up_over_activations(rig):
    rig.statistics.clock_jumps = 3
    rig.send(Stream.RGB, 0)
    assert rig.statistics.clock_jumps == 3
    rig.send(Stream.RGB, 100_000)
    rig.send(Stream.RGB, 0)
    assert rig.statistics.clock_jumps == 4


def test_a_camera_of_another_size_than_the_calibration_is_left_behind_and_comes_back(monkeypatch):
    rig = Rig(Calibration((4, 6), (3, 5), np.eye(3)))
    clock = SteadyClock(monkeypatch)

    def second(offset: int, **damage: Any) -> None:
        for i in range(offset, offset + 40):
            clock.tick(rig)
            rig.send(Stream.RGB, 40 * i)
            rig.send(Stream.THERMAL, 40 * i, **damage)

    second(0)
    assert rig.said[-1].mode is Mode.FUSED
    second(40, width=3, height=5, step=3)
    counts = rig.statistics.streams[Stream.THERMAL]
    assert counts.refused[Refusal.SIZE] == 40
    assert "image of 3x5 pixels, the calibration is for 5x3" in counts.last_refusal
    assert rig.said[-1].mode is Mode.RGB_ONLY
    assert rig.jobs[-1].thermal is None
    second(80)
    assert rig.said[-1].mode is Mode.FUSED
    assert rig.jobs[-1].thermal is not None


@pytest.mark.parametrize(("degraded_mode", "mode"), [("any", "rgb_only"), ("none", "stopped")])
def test_rgb_of_another_size_than_the_calibration_continues_alone(monkeypatch, degraded_mode, mode):
    rig = Rig(Calibration((4, 6), (3, 5), np.eye(3)))
    rig.settings = replace(SETTINGS, modes=replace(SETTINGS.modes, degraded_mode=degraded_mode))
    clock = SteadyClock(monkeypatch)

    def second(offset: int, **damage: Any) -> None:
        for i in range(offset, offset + 60):
            clock.tick(rig)
            rig.send(Stream.RGB, 40 * i, **damage)
            rig.send(Stream.THERMAL, 40 * i)

    second(0)
    assert rig.said[-1].mode is Mode.FUSED
    second(60, width=4, height=6, step=12)
    assert rig.said[-1].mode.value == mode
    assert "rgb images of 4x6 pixels do not fit the calibration for 6x4" in rig.said[-1].reason
    assert rig.statistics.streams[Stream.RGB].refused_total() == 0
    assert rig.dropped(Stream.RGB)[DropReason.OTHER_SIZE] == 60
    if mode == "rgb_only":
        assert rig.jobs[-1].thermal is None
        assert rig.jobs[-1].rgb_size == (6, 4)
    second(120)
    assert rig.said[-1] == ModeStatus(Mode.FUSED, "both cameras deliver")


def test_thermal_alone_stays_in_the_calibrated_geometry(monkeypatch):
    rig = Rig(Calibration((4, 6), (3, 5), np.eye(3)))
    rig.settings = replace(SETTINGS, modes=replace(SETTINGS.modes, degraded_mode="thermal"))
    clock = SteadyClock(monkeypatch)
    for i in range(60):
        clock.tick(rig)
        rig.send(Stream.RGB, 40 * i, width=4, height=6, step=12)
        rig.send(Stream.THERMAL, 40 * i)
    assert rig.said[-1].mode is Mode.THERMAL_ONLY
    assert rig.jobs[-1].rgb_size == (4, 6)


def test_an_engine_that_fails_every_pair_is_the_reason_until_one_succeeds(rig, monkeypatch):
    clock = SteadyClock(monkeypatch)

    def drive(first: int, count: int, *, fails: bool) -> None:
        for i in range(first, first + count):
            clock.tick(rig)
            rig.send(Stream.RGB, 40 * i)
            rig.send(Stream.THERMAL, 40 * i)
            if fails:
                rig.statistics.add_failure(f"no memory for buffer {i}")
            else:
                rig.statistics.failed_in_a_row = 0

    drive(0, 10, fails=False)
    drive(10, 4, fails=True)
    assert rig.said[-1].mode is Mode.FUSED, "four may be an accident"
    drive(14, 30, fails=True)
    assert rig.said[-1].mode is Mode.STOPPED
    assert rig.said[-1].reason.startswith("the engine fails at every pair: no memory for buffer 1")
    assert [s.mode for s in rig.said].count(Mode.STOPPED) == 1, "said once"
    assert len(rig.jobs) == 44, "the worker still gets every pair, to find out"
    drive(44, 2, fails=False)
    assert rig.said[-1] == ModeStatus(Mode.FUSED, "both cameras deliver")


def test_the_mode_is_decided_even_if_a_camera_info_cannot_be_read(rig, monkeypatch):
    clock = SteadyClock(monkeypatch)
    rig.send(Stream.RGB, 0)

    def broken(*_: object) -> None:
        raise RuntimeError("error deserializing message")

    monkeypatch.setattr(Handle, "take_message", broken)
    for _ in range(50):
        with pytest.raises(RuntimeError):
            clock.tick(rig)
    assert rig.said[-1].mode is Mode.RGB_ONLY


def test_one_camera_alone_is_passed_on_with_the_stamp_it_has(rig, monkeypatch):
    clock = SteadyClock(monkeypatch)
    for i in range(40):
        clock.tick(rig)
        rig.send(Stream.RGB, 40 * i)
    alone = [job for job in rig.jobs if job.thermal is None]
    assert alone == rig.jobs
    assert rig.said[-1].mode is Mode.RGB_ONLY
    assert len(alone) == rig.statistics.singles == 40 - 1_000 // 40 - 1
    job = alone[-1]
    assert job.rgb is not None
    assert job.header is job.rgb.header
    assert (job.stamp_ns, job.thermal_stamp_ns) == (START + 39 * 40 * MS, 0)
    assert job.rgb_size == (4, 6)


def test_thermal_alone_takes_the_frame_of_the_rgb_camera_once_that_was_seen(rig, monkeypatch):
    clock = SteadyClock(monkeypatch)
    for i in range(30):
        clock.tick(rig)
        rig.send(Stream.THERMAL, 40 * i)
    job = rig.jobs[-1]
    assert job.rgb is None
    assert (job.header.frame_id, job.rgb_size) == ("thermal", None)
    rig.send(Stream.RGB, 1_210, step=1)
    rig.send(Stream.THERMAL, 1_220)
    assert rig.jobs[-1].rgb_size is None, "a refused image is no evidence"
    rig.send(Stream.RGB, 1_240)
    rig.send(Stream.THERMAL, 1_280)
    job = rig.jobs[-1]
    assert (job.header.frame_id, job.rgb_size) == ("rgb", (4, 6))
    assert job.header.stamp == job.thermal.header.stamp
    assert job.stamp_ns == job.thermal_stamp_ns == START + 1_280 * MS


@pytest.mark.parametrize("thermal_lag_ms", [-15, 0, 15])
def test_no_stamp_is_passed_on_twice_or_late_across_losses(rig, monkeypatch, thermal_lag_ms):
    """Both cameras come and go at random; every RGB image has a result at most once, in order."""
    clock = SteadyClock(monkeypatch)
    rng = np.random.default_rng(7)
    lost = {Stream.RGB: 0, Stream.THERMAL: 0}
    for i in range(1, 3_000):
        clock.tick(rig)
        events = [(40 * i, Stream.RGB), (40 * i + thermal_lag_ms, Stream.THERMAL)]
        for at_ms, stream in sorted(events, key=lambda event: event[0]):
            lost[stream] -= 1
            if rng.random() < 0.01:
                lost[stream] = int(rng.integers(1, 80))
            if lost[stream] <= 0:
                rig.send(stream, at_ms)
    kinds = {(job.rgb is None, job.thermal is None) for job in rig.jobs}
    assert kinds == {(False, False), (True, False), (False, True)}, "all three happened"
    stamps = [job.stamp_ns for job in rig.jobs]
    assert stamps == sorted(set(stamps))
    for job in rig.jobs:
        if job.rgb is not None and job.thermal is not None:
            assert job.thermal_stamp_ns - job.stamp_ns == thermal_lag_ms * MS
    statistics = rig.statistics
    assert statistics.pairs + statistics.singles == len(rig.jobs) + statistics.withheld
    assert statistics.withheld > 0


def test_a_frozen_camera_is_lost_unless_detection_is_off(rig, monkeypatch):
    clock = SteadyClock(monkeypatch)

    def still_rgb(first: int, count: int) -> None:
        for i in range(first, first + count):
            clock.tick(rig)
            rig.send(Stream.RGB, 40 * i, data=array("B", bytes(4 * 6 * 3)))
            rig.send(Stream.THERMAL, 40 * i)

    still_rgb(1, 60)
    assert rig.said[-1].mode is Mode.THERMAL_ONLY
    assert "repeats one picture" in rig.said[-1].reason
    rig.settings = replace(SETTINGS, freeze_detection=False)
    still_rgb(61, 10)
    assert rig.said[-1].mode is Mode.FUSED


@pytest.mark.parametrize(("ahead_ms", "offset_ms"), [(37_000, -37_000), (-7_200_000, 7_200_000)])
def test_two_clocks_are_the_reason_and_the_offset_that_is_named_corrects_it(
    rig, monkeypatch, ahead_ms, offset_ms
):
    clock = SteadyClock(monkeypatch)

    def drive(first: int, count: int) -> None:
        for i in range(first, first + count):
            clock.tick(rig)
            rig.send(Stream.THERMAL, 40 * i + ahead_ms)
            rig.send(Stream.RGB, 40 * i)

    drive(1, 60)
    assert rig.said[-1].mode is Mode.RGB_ONLY
    assert "the cameras' clocks differ" in rig.said[-1].reason
    assert f"set thermal_offset_ms to {offset_ms}" in rig.said[-1].reason
    said = len(rig.said)
    drive(61, 60)
    assert len(rig.said) == said, "once is enough"
    pairing = replace(SETTINGS.pairing, thermal_offset_ns=offset_ms * MS)
    rig.settings = replace(SETTINGS, pairing=pairing)
    drive(121, 30)
    assert rig.said[-1] == ModeStatus(Mode.FUSED, "both cameras deliver")


def test_a_looped_bag_stays_fused_and_starts_the_order_again(rig, monkeypatch):
    clock = SteadyClock(monkeypatch)
    for _ in range(3):
        for i in range(40):
            clock.tick(rig)
            rig.send(Stream.RGB, 40 * i)
            rig.send(Stream.THERMAL, 40 * i)
    assert [s.mode for s in rig.said] == [Mode.WAITING, Mode.FUSED]
    assert len(rig.jobs) == 3 * 40


def test_the_newest_camera_info_travels_with_the_frames(rig, monkeypatch):
    clock = SteadyClock(monkeypatch)
    clock.tick(rig)
    waiting = rig.node.waiting["/segmif/input/rgb/camera_info"]

    def pair(at_ms: float) -> Pair:
        rig.send(Stream.RGB, at_ms)
        rig.send(Stream.THERMAL, at_ms)
        return rig.jobs[-1]

    assert pair(0).camera_info is None
    waiting.append("first")
    clock.tick(rig)
    job = pair(40)
    assert (job.camera_info, job.rgb_size) == ("first", (4, 6))
    waiting.append("second")
    clock.tick(rig)
    assert pair(80).camera_info == "first", "it is looked at once a second"
    for _ in range(25):
        clock.tick(rig)
    assert pair(1_200).camera_info == "second"


def test_images_that_were_left_unread_count_as_pairs_that_gave_way(rig):
    rig.send(Stream.RGB, 0)
    assert not rig.inputs.in_step  # it waits for its partner
    rig.send(Stream.THERMAL, 2)
    assert rig.inputs.in_step
    rig.inputs.unread(3)
    statistics = rig.statistics
    assert (statistics.pairs, statistics.replaced) == (4, 3)
    assert [statistics.streams[stream].received for stream in Stream] == [4, 4]
    assert len(rig.jobs) == 1


def test_cameras_that_are_not_in_step_are_read_image_by_image(rig):
    for number in range(8):  # thermal comes one period late
        rig.send(Stream.RGB, 33 * number)
        if number:
            rig.send(Stream.THERMAL, 33 * (number - 1) + 1)
            assert not rig.inputs.in_step
    assert len(rig.jobs) == 7


def test_bytes_that_are_no_image_are_refused_and_counted(rig):
    rig.node.callbacks["~/input/rgb"](b"\0\1\0\0 no image")
    counts = rig.statistics.streams[Stream.RGB]
    assert (counts.received, counts.refused[Refusal.CONVERSION]) == (1, 1)
    assert "is no image" in counts.last_refusal
