# SPDX-License-Identifier: Apache-2.0
"""Levels and words of the diagnostics, without a node."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from diagnostic_facts import CONCERNS, INPUTS, NOW, running, status, values
from diagnostic_msgs.msg import DiagnosticStatus

from segmif_ros.calibration.alignment_watch import AlignmentState
from segmif_ros.frames import PictureState
from segmif_ros.images.raw import Refusal
from segmif_ros.pairing import DropReason, Stream
from segmif_ros.ros.diagnostics.diagnostics_input import (
    AlignmentFacts,
    Budget,
    InputFacts,
    ProcessFacts,
    Totals,
)
from segmif_ros.ros.diagnostics.statuses import stuck_after_s
from segmif_ros.ros.node.alignment import Measured
from segmif_ros.ros.node.modes import Mode, ModeStatus
from segmif_ros.ros.node.statistics import NANOSECONDS, STAGES, Statistics
from segmif_ros.ros.qos import Mismatch

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


@pytest.mark.parametrize("concern", CONCERNS)
def test_all_is_well(concern):
    assert status(running(), concern).level == OK


@pytest.mark.parametrize("concern", CONCERNS)
def test_an_inactive_node_does_not_complain(concern):
    found = status(
        Statistics(()),
        concern,
        active_since_ns=None,
        inputs=dict.fromkeys(Stream, InputFacts()),
    )
    assert found.level == OK


def test_an_inactive_node_is_not_blamed_for_its_last_seconds():
    statistics = running()
    statistics.replaced = 20
    for _ in range(30):
        statistics.add_total(5000.0)
    for concern in ("engine", "latency"):
        assert status(statistics, concern).level > OK
        assert status(statistics, concern, active_since_ns=None).level == OK


def test_a_camera_that_sends_the_other_transport_is_named():
    statistics = running()
    counts = statistics.streams[Stream.RGB]
    counts.received, counts.last_arrival_ns = 0, None
    own = InputFacts("/cam/rgb", other_transport="/cam/rgb/compressed")
    found = status(statistics, "rgb", inputs=INPUTS | {Stream.RGB: own})
    assert (found.level, values(found)["state"]) == (ERROR, "never_seen")
    assert "/cam/rgb/compressed is published: set the parameter input_transport" in found.message


def test_the_document_explains_every_stage_reason_and_key():
    text = (Path(__file__).resolve().parents[3] / "docs" / "diagnostics.md").read_text()
    keys = {key for concern in CONCERNS for key in values(status(running(), concern))}
    families = ("dropped.", "refused.", "held.", "latency.", "published.", "dt.", "transport.")
    single = {key for key in keys if not key.startswith(families)}
    names = {*STAGES, *(reason.value for reason in (*DropReason, *Refusal)), *single}
    missing = sorted(name for name in names if f"`{name}`" not in text)
    assert not missing


def test_two_drivers_on_one_topic_are_named_and_a_new_start_is_none():
    def told(names, frames):
        statistics = running()
        statistics.streams[Stream.RGB].frame_ids.extend(frames)
        own = replace(INPUTS[Stream.RGB], publishers=len(names), publisher_names=names)
        return status(statistics, "rgb", inputs=INPUTS | {Stream.RGB: own})

    found = told(("/left", "/right"), ("l", "r") * 4)
    assert (found.level, values(found)["state"]) == (WARN, "several_publishers")
    assert "take turns: /left, /right; remap all but one" in found.message
    found = told(("/camera", "/camera"), ("l", "r") * 4)
    assert "/camera with frame_id 'l', /camera with frame_id 'r'" in found.message
    assert told(("/camera", "/camera"), ("a",) * 4 + ("b",) * 4).level == OK, "restarted"
    assert told(("/camera",), ("l", "r") * 4).level == OK, "a stereo driver may do as it likes"


def test_two_cameras_without_a_calibration_are_no_ok_unless_the_pictures_agree():
    def seen(rgb, thermal, lenses=((), ()), **changes):
        statistics = running()
        statistics.streams[Stream.RGB].format = f"{rgb} rgb8"
        statistics.streams[Stream.THERMAL].format = f"{thermal} mono16"
        inputs = {
            stream: replace(INPUTS[stream], focal_lengths=lens)
            for stream, lens in zip(Stream, lenses, strict=True)
        }
        known = AlignmentFacts(**({"is_calibrated": False} | changes))
        return status(statistics, "registration", inputs=inputs, alignment=known)

    found = seen("640x480", "640x512")
    assert (found.level, values(found)["state"]) == (WARN, "uncalibrated")
    assert "rgb has 640x480 pixels and thermal 640x512" in found.message
    assert "segmif calibrate auto BAG --out rig.yaml" in found.message
    found = seen("640x480", "640x480", ((610.0, 610.0), (455.0, 455.0)))
    assert "focal lengths differ: rgb 610, thermal 455 pixels" in found.message
    assert seen("640x480", "640x480", ((610.0, 610.0), (605.0, 605.0))).level == OK
    assert seen("640x480", "640x480").level == OK
    assert seen("640x480", "640x512", is_calibrated=True).level == OK
    aligned = SimpleNamespace(state=AlignmentState.ALIGNED)
    assert seen("640x480", "320x240", measured=Measured(aligned)).level == OK
    waiting = status(Statistics(()), "registration", alignment=AlignmentFacts(is_calibrated=False))
    assert waiting.level == OK, "no image came yet"


def test_a_node_whose_outputs_no_one_subscribes_to_says_that_it_is_idle():
    statistics = running()
    statistics.published, statistics.skipped = 0, 30
    found = status(statistics, "engine")
    assert (found.level, found.message) == (OK, "idle: no output has a subscriber")
    assert values(found)["state"] == "idle"
    statistics.published = 1
    assert values(status(statistics, "engine"))["state"] == "ok"


def test_figures_are_machine_readable():
    statistics = running()
    statistics.dt_ms.add(3.25)
    statistics.streams[Stream.RGB].dropped[DropReason.SURPLUS] = 4
    assert values(status(statistics, "rgb"))["rate_hz"] == "30.00"
    pairing = values(status(statistics, "pairing"))
    assert (pairing["pairs"], pairing["dropped.rgb.surplus"]) == ("30", "4")
    assert (pairing["dt.p50_ms"], pairing["dt.count"]) == ("3.250", "1")
    latency = values(status(statistics, "latency"))
    assert latency["latency.total.p95_ms"] == "50.000"
    assert latency["latency.inference.count"] == "0"
    assert "latency.inference.p50_ms" not in latency
    engine = values(status(statistics, "engine"))
    assert (engine["name"], engine["published"]) == ("null", "30")


@pytest.mark.parametrize(
    ("received", "publishers", "words"),
    [
        (0, 0, "no publisher on /cam/rgb: remap"),
        (0, 2, "2 publisher(s), no image in 3.0 s: does the camera stream"),
        (30, 1, "no image for 3.0 s"),
        (30, 0, "no image for 3.0 s: its publisher is gone"),
    ],
)
def test_a_silent_camera_is_an_error_that_says_what_to_look_at(received, publishers, words):
    statistics = running()
    counts = statistics.streams[Stream.RGB]
    counts.received = received
    counts.last_arrival_ns = NOW - 3 * NANOSECONDS if received else None
    inputs = INPUTS | {Stream.RGB: InputFacts("/cam/rgb", publishers)}
    found = status(statistics, "rgb", inputs=inputs, active_since_ns=NOW - 3 * NANOSECONDS)
    assert found.level == ERROR
    assert words in found.message


def test_a_camera_has_two_seconds_after_activation():
    found = status(Statistics(()), "thermal", active_since_ns=NOW - NANOSECONDS)
    assert found.level == OK


def test_a_camera_of_one_image_in_two_seconds_may_be_silent_for_longer():
    statistics = running()
    statistics.streams[Stream.RGB].last_arrival_ns = NOW - 5 * NANOSECONDS
    for usual, level in ((0.5, OK), (1.0, ERROR)):
        inputs = INPUTS | {Stream.RGB: replace(INPUTS[Stream.RGB], usual_hz=usual)}
        found = status(statistics, "rgb", inputs=inputs)
        assert (values(found)["state"] == "stale") == (level == ERROR), usual


def test_refused_images_are_a_warning_once():
    statistics = running()
    counts = statistics.streams[Stream.THERMAL]
    counts.refused[Refusal.STEP], counts.last_refusal = 7, "step 3 is too small"
    found = status(statistics, "thermal")
    assert (found.level, found.message) == (WARN, "7 images refused: step 3 is too small")
    assert values(found)["state"] == "refused"
    assert values(found)["refused.step"] == "7"
    assert status(statistics, "thermal", before=Totals.of(statistics)).level == OK


@pytest.mark.parametrize(
    ("pairs", "level"), [(0, ERROR), (10, WARN), (16, OK)], ids=["none", "few", "enough"]
)
def test_missing_pairs_name_the_reason_and_the_remedy(pairs, level):
    statistics = running()
    statistics.pairs = pairs
    statistics.streams[Stream.THERMAL].dropped[DropReason.NO_PARTNER] = 20
    statistics.streams[Stream.RGB].dropped[DropReason.SURPLUS] = 500
    found = status(statistics, "pairing")
    assert found.level == level
    if level != OK:
        assert "20 thermal frames no_partner" in found.message
        assert "thermal_offset_ms" in found.message


def test_no_pairs_for_want_of_usable_images_is_not_blamed_on_stamps():
    statistics = running()
    statistics.pairs = 0
    statistics.streams[Stream.RGB].dropped[DropReason.TOO_OLD] = 30
    statistics.streams[Stream.THERMAL].refused[Refusal.ENCODING] = 30
    found = status(statistics, "pairing")
    assert found.level == ERROR
    assert found.message == "no pairs: every thermal image was refused"


def test_the_cause_is_one_of_the_last_seconds_and_not_the_most_frequent_ever():
    statistics = running()
    dropped = statistics.streams[Stream.RGB].dropped
    dropped[DropReason.TOO_OLD] = 5000
    window = Totals.of(statistics)
    dropped[DropReason.NO_PARTNER] = 30
    statistics.pairs = 0
    found = status(statistics, "pairing", window=window)
    assert found.message.startswith("no pairs: 30 rgb frames no_partner")


def test_a_clock_jump_is_a_warning():
    statistics = running()
    statistics.clock_jumps = 1
    assert status(statistics, "pairing").level == WARN


def test_an_engine_that_cannot_keep_up_says_so():
    statistics = running()
    statistics.replaced = 12
    found = status(statistics, "engine")
    assert found.level == WARN
    assert "12 of 30 pairs were replaced" in found.message


@pytest.mark.parametrize(("published", "level"), [(30, WARN), (0, ERROR)])
def test_failures_of_the_engine(published, level):
    statistics = running()
    statistics.published, statistics.failures = published, 3
    statistics.last_failure = "out of memory"
    found = status(statistics, "engine")
    assert (found.level, found.message) == (level, "3 pairs failed: out of memory")


def test_the_latency_budget():
    statistics = running()
    found = status(statistics, "latency", budget=Budget(45.0, 1000.0, missed_warn=30))
    assert (found.level, found.message) == (WARN, "p95 is 50 ms, latency_budget_warn_ms is 45")
    assert values(found)["missed_warn"] == "30"
    found = status(statistics, "latency", budget=Budget(30.0, 45.0))
    assert (found.level, found.message) == (ERROR, "p95 is 50 ms, latency_budget_error_ms is 45")
    assert status(statistics, "latency", budget=Budget(0.0, 0.0)).level == OK


def test_latency_is_judged_over_five_seconds():
    statistics = running()
    slow_past = Totals.of(statistics)
    for _ in range(75):
        statistics.add_total(20.0)
    found = status(statistics, "latency", window=slow_past, budget=Budget(45.0, 0.0))
    assert found.level == OK
    assert values(found)["latency.total.p95_ms"] == "50.000", "the figures go further back"


def test_with_two_clocks_the_time_inside_the_node_is_judged():
    statistics = running()
    for _ in range(31):
        statistics.add_total(-70_000.0)
    found = status(statistics, "latency", budget=Budget(45.0, 0.0))
    assert found.level == OK
    assert "clock differ" in found.message
    assert values(found)["judged"] == "node"
    assert status(statistics, "latency", budget=Budget(39.0, 0.0)).level == WARN


@pytest.mark.parametrize(
    ("policy", "state"), [("reliability", "qos_incompatible"), ("type", "wrong_type")]
)
def test_a_publisher_that_is_incompatible_is_named(policy, state):
    mismatch = Mismatch("/front/driver", policy, "best_effort", "reliable", "set this")
    statistics = Statistics(())
    inputs = INPUTS | {Stream.RGB: InputFacts("/cam/rgb", 1, (mismatch,))}
    found = status(statistics, "rgb", inputs=inputs)
    assert (found.level, values(found)["state"]) == (ERROR, state)
    assert "/front/driver offers" in found.message
    assert "set this" in found.message
    heard = replace(inputs[Stream.RGB], publishers=2)
    found = status(running(), "rgb", inputs=inputs | {Stream.RGB: heard})
    assert found.level == OK, "another publisher is compatible"
    assert "/front/driver" in values(found)["unheard"]


def test_a_shutter_is_reported_and_is_no_fault():
    content = SimpleNamespace(
        state=PictureState.SHUTTER, unchanged_ns=1_500_000_000, facts=lambda: {"content": "shutter"}
    )
    inputs = INPUTS | {Stream.THERMAL: replace(INPUTS[Stream.THERMAL], content=content)}
    found = status(running(), "thermal", inputs=inputs)
    assert (found.level, values(found)["state"]) == (OK, "shutter")
    assert "shutter closed for 1.5 s" in found.message


def test_while_no_image_is_taken_no_camera_is_blamed():
    statistics = running()
    since = NOW - 5 * NANOSECONDS
    statistics.ticked_ns = since
    for stream in Stream:
        statistics.streams[stream].last_arrival_ns = since
    assert status(statistics, "node").level == ERROR
    assert status(statistics, "rgb").level == OK


def test_a_slow_model_may_take_its_time():
    assert stuck_after_s(40.0) == pytest.approx(0.9)
    assert stuck_after_s(700.0) == pytest.approx(2.8)
    statistics = running()
    statistics.working_since_ns = NOW - 2 * NANOSECONDS
    engine = {"name": "slow", "warmup_ms": "600.0"}
    assert status(statistics, "engine", engine=engine).level == OK
    for _ in range(5):
        statistics.stages_ms["inference"].add(50.0)
    found = status(statistics, "engine", engine=engine)
    assert (found.level, values(found)["busy_ms"]) == (ERROR, "2000")
    assert "takes 2.0 s" in found.message


@pytest.mark.parametrize(
    ("mode", "level"),
    [(Mode.FUSED, OK), (Mode.RGB_ONLY, WARN), (Mode.THERMAL_ONLY, WARN), (Mode.STOPPED, ERROR)],
)
def test_levels_of_the_modes(mode, level):
    found = status(running(), "mode", mode_status=ModeStatus(mode, "because"))
    assert (found.level, found.message) == (level, f"{mode.value}: because")
    assert values(found)["state"] == mode.value


def test_the_transition_in_progress_is_reported():
    found = status(Statistics(()), "node", process=ProcessFacts(lifecycle="configuring"))
    assert (found.level, found.message) == (OK, "configuring")
