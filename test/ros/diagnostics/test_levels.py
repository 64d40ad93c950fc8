# SPDX-License-Identifier: Apache-2.0
"""Every limit of the diagnostics: the document shows it, and crossing it has the stated effect."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from diagnostic_facts import INPUTS, NOW, running, status, values
from doc_tables import thresholds_markdown

from segmif_ros.calibration.alignment_watch import Alignment, AlignmentState
from segmif_ros.calibration.edge_shift import Shift
from segmif_ros.images.raw import Refusal
from segmif_ros.pairing import MILLISECOND, Stream
from segmif_ros.parameters import SPECS
from segmif_ros.ros.diagnostics import levels
from segmif_ros.ros.diagnostics.diagnostics_input import AlignmentFacts, Budget, ProcessFacts
from segmif_ros.ros.diagnostics.levels import (
    THRESHOLDS,
    DiagnosticEntry,
    Level,
    Threshold,
)
from segmif_ros.ros.node.alignment import Measured
from segmif_ros.ros.node.statistics import NANOSECONDS, ClockState, Statistics
from segmif_ros.thermal import FreezeLimits, FreezeWatch

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "diagnostics.md"
Scenario = tuple[Statistics, dict[str, Any]]

RGB = Stream.RGB


def silent(seconds: float) -> Scenario:
    statistics = running()
    statistics.streams[RGB].last_arrival_ns = NOW - round(seconds * NANOSECONDS)
    return statistics, {}


def refused(images: float) -> Scenario:
    statistics = running()
    statistics.streams[RGB].refused[Refusal.STEP] = round(images)
    return statistics, {}


def frozen(stream: Stream) -> Callable[[float], Scenario]:
    def scenario(milliseconds: float) -> Scenario:
        watch = FreezeWatch(FreezeLimits.of(stream))
        for i in range(5):
            watch.observe(np.arange(64).reshape(8, 8), round(i / 4 * milliseconds * MILLISECOND))
        inputs = INPUTS | {stream: replace(INPUTS[stream], content=watch)}
        return running(), {"inputs": inputs}

    return scenario


def zero_stamps(images: float) -> Scenario:
    statistics = running()
    statistics.streams[RGB].stamps.zero = round(images)
    return statistics, {}


def future_stamps(images: float) -> Scenario:
    statistics = running()
    statistics.streams[RGB].stamps.future = round(images)
    return statistics, {}


def stamp_jumps(jumps: float) -> Scenario:
    statistics = running()
    statistics.streams[RGB].stamps.jumps = round(jumps)
    return statistics, {}


def late(milliseconds: float) -> Scenario:
    statistics = running()
    for _ in range(30):
        statistics.add_transport(RGB, milliseconds)
    return statistics, {}


def rate(share: float) -> Scenario:
    usual = running().streams[RGB].rate.hz(NOW) / share
    return running(), {"inputs": INPUTS | {RGB: replace(INPUTS[RGB], usual_hz=usual)}}


def camera_info(problems: float) -> Scenario:
    own = replace(INPUTS[RGB], camera_info_problem="another lens" if problems else "")
    return running(), {"inputs": INPUTS | {RGB: own}}


def no_pairs(frames: float) -> Scenario:
    statistics = running()
    statistics.pairs = 0
    statistics.streams[RGB].received = round(frames)
    return statistics, {}


def several(publishers: float) -> Scenario:
    names = tuple(f"/driver{n}" for n in range(round(publishers)))
    own = replace(INPUTS[RGB], publishers=len(names), publisher_names=names)
    return running(), {"inputs": INPUTS | {RGB: own}}


def clocks(level_of: str) -> Callable[[float], Scenario]:
    def scenario(seconds: float) -> Scenario:
        statistics = running()
        statistics.pairs = 0
        statistics.streams[RGB].received = 1  # too few to say that pairs are missing
        off = Stream.THERMAL if level_of == "pairing" else RGB
        for stream in Stream:
            stamp_ns = NOW + (round(seconds * NANOSECONDS) if stream is off else 0)
            statistics.streams[stream].stamps.observe(stamp_ns, 0, NOW)
            statistics.streams[stream].stamps.age_ns = NOW - stamp_ns
        return statistics, {}

    return scenario


def few_pairs(share: float) -> Scenario:
    statistics = running()
    statistics.pairs = round(share * 30)
    return statistics, {}


def pairing_jumps(jumps: float) -> Scenario:
    statistics = running()
    statistics.clock_jumps = round(jumps)
    return statistics, {}


def stuck(seconds: float) -> Scenario:
    statistics = running()
    statistics.working_since_ns = NOW - round(seconds * NANOSECONDS)
    return statistics, {}


def failures(pairs: float) -> Scenario:
    statistics = running()
    statistics.failures, statistics.published = round(pairs), 30 - round(pairs)
    return statistics, {}


def slow(share: float) -> Scenario:
    statistics = running()
    statistics.replaced = round(share * 30)
    return statistics, {}


def budget(error: float, warn: float) -> Callable[[float], Scenario]:
    def scenario(milliseconds: float) -> Scenario:
        statistics = running()
        for _ in range(1000):
            statistics.add_total(milliseconds)
        return statistics, {"budget": Budget(warn, error)}

    return scenario


def thermal_moved(pixels: float) -> Scenario:
    """A picture of twice the width to which the limit belongs."""
    shift = Shift(dx=2 * pixels, dy=0.0, roll_deg=0.0, rms_px=2 * pixels, score=0.2,
                  score_here=0.1, prominence=12.0, loss=6.0)  # fmt: skip
    state = AlignmentState.MOVED
    found = Alignment(state, state, shift, shift, rgb_width=1280)
    measured = Measured(found, measured_ns=NOW, confirmed_ns=NOW, count=20)
    return running(), {"alignment": AlignmentFacts(measured, warn_px=6.0)}


def bare_rig(differences: float) -> Scenario:
    statistics = running()
    if differences:
        statistics.streams[Stream.THERMAL].format = "640x512 mono16"
    return statistics, {"alignment": AlignmentFacts(is_calibrated=False)}


def unregistered(seconds: float) -> Scenario:
    measured = Measured(count=20, unsure_since_ns=NOW - round(seconds * NANOSECONDS))
    return running(), {"alignment": AlignmentFacts(measured, is_calibrated=False)}


def blocked(seconds: float) -> Scenario:
    statistics = running()
    statistics.ticked_ns = NOW - round(seconds * NANOSECONDS)
    return statistics, {}


def clock(state: ClockState) -> Callable[[float], Scenario]:
    def scenario(seconds: float) -> Scenario:
        still = round(seconds * NANOSECONDS)
        return running(), {"process": ProcessFacts(clock=state, clock_still_ns=still)}

    return scenario


def clock_jump(seconds: float) -> Scenario:
    return running(), {"process": ProcessFacts(clock_jump_ns=round(seconds * NANOSECONDS))}


def growth(mebibytes: float) -> Scenario:
    return running(), {"process": ProcessFacts(growth_mib=mebibytes)}


SCENARIOS: dict[Threshold, tuple[Callable[[float], Scenario], float, float]] = {
    levels.SILENT: (silent, 1.9, 2.1),
    levels.REFUSED_ALL: (refused, 29, 30),
    levels.FROZEN[Stream.RGB]: (frozen(Stream.RGB), 990, 1010),
    levels.FROZEN[Stream.THERMAL]: (frozen(Stream.THERMAL), 4990, 5010),
    levels.ZERO_STAMPS_ALL: (zero_stamps, 29, 30),
    levels.REFUSED: (refused, 0, 1),
    levels.ZERO_STAMPS: (zero_stamps, 0, 1),
    levels.FUTURE_STAMPS: (future_stamps, 0, 1),
    levels.STAMP_JUMPS: (stamp_jumps, 0, 1),
    levels.LATE: (late, 490, 510),
    levels.RATE_LOW: (rate, 0.81, 0.79),
    levels.RATE_HIGH: (rate, 1.49, 1.51),
    levels.SEVERAL: (several, 1, 2),
    levels.CLOCK_DIFFERS: (clocks("rgb"), 0.9, 1.1),
    levels.CLOCKS_DIFFER: (clocks("pairing"), 0.9, 1.1),
    levels.CAMERA_INFO: (camera_info, 0, 1),
    levels.NO_PAIRS: (no_pairs, 1, 2),
    levels.FEW_PAIRS: (few_pairs, 0.5, 0.45),
    levels.PAIRING_JUMPS: (pairing_jumps, 0, 1),
    levels.STUCK: (stuck, 0.85, 0.95),
    levels.FAILED: (failures, 29, 30),
    levels.FAILING: (failures, 0, 1),
    levels.SLOW: (slow, 0.1, 0.15),
    levels.BUDGET_ERROR: (budget(300.0, 0.0), 290, 310),
    levels.BUDGET_WARN: (budget(0.0, 300.0), 290, 310),
    levels.UNCALIBRATED: (bare_rig, 0, 1),
    levels.UNREGISTERED: (unregistered, 59, 61),
    levels.MOVED: (thermal_moved, 5.9, 6.1),
    levels.INTAKE_BLOCKED: (blocked, 0.85, 0.95),
    levels.NO_CLOCK: (clock(ClockState.MISSING), 1.9, 2.1),
    levels.CLOCK_STOPPED: (clock(ClockState.STOPPED), 1.9, 2.1),
    levels.CLOCK_JUMPED: (clock_jump, 0.9, -1.1),
    levels.GROWTH: (growth, 511, 513),
}
"""Threshold -> a node as a function of the value compared, one good value, and one bad one."""


def test_every_threshold_is_crossed_below():
    assert set(SCENARIOS) == set(THRESHOLDS)
    assert len(set(THRESHOLDS)) == len(THRESHOLDS)


@pytest.mark.parametrize("threshold", THRESHOLDS, ids=lambda t: f"{t.concern}-{t.state}-{t.level}")
def test_crossing_a_threshold_has_the_stated_effect(threshold):
    scenario, good, bad = SCENARIOS[threshold]
    concern = threshold.concern.split(",")[0]
    statistics, changes = scenario(good)
    before = status(statistics, concern, **changes)
    assert before.level[0] < threshold.level
    statistics, changes = scenario(bad)
    found = status(statistics, concern, **changes)
    assert found.level[0] == threshold.level
    assert values(found)["state"] == threshold.state
    assert found.message not in ("ok", before.message)


def test_the_document_shows_the_same_table():
    text = DOCUMENT.read_text()
    begin, end = "<!-- thresholds -->\n", "<!-- /thresholds -->"
    assert text[text.index(begin) + len(begin) : text.index(end)] == thresholds_markdown()


@pytest.mark.parametrize("threshold", [t for t in THRESHOLDS if t.parameter])
def test_limits_in_parameters_can_be_switched_off(threshold):
    assert SPECS[threshold.parameter].limits[0] == 0.0
    assert math.isnan(threshold.limit)
    assert threshold.crossed(2.0, 1.0)
    assert not threshold.crossed(2.0, 0.0)
    with pytest.raises(ValueError, match=threshold.parameter):
        threshold.crossed(2.0)


def test_of_equally_bad_things_the_first_is_the_headline():
    entry = DiagnosticEntry("rgb")
    entry.raise_to(Level.WARN, "late", "late")
    entry.raise_to(Level.WARN, "low_rate", "slow")
    entry.raise_to(Level.ERROR, "frozen", "the same")
    entry.raise_to(Level.WARN, "late", "late again")
    assert (entry.level, entry.state, entry.text) == (Level.ERROR, "frozen", "the same")
    assert entry.also == ["low_rate", "late"]
