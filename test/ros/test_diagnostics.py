# SPDX-License-Identifier: Apache-2.0
"""Levels and words of the diagnostics, without a node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus

from segmif_ros.pairing import DropReason, Stream
from segmif_ros.ros.diagnostics import Facts, InputFacts, Totals, TotalsHistory, report
from segmif_ros.ros.images import Refusal
from segmif_ros.ros.modes import Mode, Standing
from segmif_ros.ros.statistics import NANOSECONDS, STAGES, Statistics

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
NOW = 100 * NANOSECONDS
INPUTS = {stream: InputFacts(f"/cam/{stream.value}", 1, 0) for stream in Stream}


def running() -> Statistics:
    """A node in its second of good life: 30 frames each, 30 pairs, all published."""
    statistics = Statistics(("fused", "mask"))
    for stream in Stream:
        counts = statistics.streams[stream]
        counts.received, counts.last_arrival_ns, counts.format = 30, NOW, "640x480 mono8"
        for i in range(30):
            counts.rate.add(NOW - (29 - i) * NANOSECONDS // 30)
    statistics.pairs = statistics.published = 30
    for _ in range(30):
        statistics.add_total(50.0)
        statistics.stages_ms["node"].add(40.0)
    return statistics


def status(statistics: Statistics, concern: str, **changes: Any) -> DiagnosticStatus:
    facts: dict[str, Any] = {
        "statistics": statistics,
        "before": Totals.of(Statistics(())),
        "now_ns": NOW,
        "active_since_ns": 0,
        "inputs": INPUTS,
        "reference": "rgb",
        "engine": {"name": "null", "size": "640x480"},
        "latency_budget_ms": 200.0,
        "standing": Standing(Mode.FUSED, "both cameras deliver"),
    }
    message = report(Facts(**(facts | changes)), node="/veh/segmif", stamp=Time(sec=5))
    assert message.header.stamp.sec == 5
    (found,) = [s for s in message.status if s.name == f"veh/segmif: {concern}"]
    return found


def values(found: DiagnosticStatus) -> dict[str, str]:
    keys = [kv.key for kv in found.values]
    assert len(keys) == len(set(keys))
    return {kv.key: kv.value for kv in found.values}


CONCERNS = ("rgb", "thermal", "pairing", "mode", "engine", "latency")


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


def test_the_document_explains_every_stage_reason_and_key():
    text = (Path(__file__).resolve().parents[2] / "docs" / "diagnostics.md").read_text()
    keys = {key for concern in CONCERNS for key in values(status(running(), concern))}
    families = ("dropped.", "refused.", "held.", "latency.", "published.", "dt.", "transport.")
    single = {key for key in keys if not key.startswith(families)} - {"budget_ms"}
    names = {*STAGES, *(reason.value for reason in (*DropReason, *Refusal)), *single}
    missing = sorted(name for name in names if f"`{name}`" not in text)
    assert not missing


def test_figures_are_machine_readable():
    statistics = running()
    statistics.dt_ms.add(3.25)
    statistics.streams[Stream.RGB].dropped[DropReason.SURPLUS] = 4
    assert values(status(statistics, "rgb"))["rate_hz"] == "30.00"
    statistics.streams[Stream.THERMAL].shutter = {"shutter": "closed"}
    assert values(status(statistics, "thermal"))["shutter"] == "closed"
    assert "shutter" not in values(status(statistics, "rgb"))
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
        (0, 0, "nobody publishes /cam/rgb: remap"),
        (0, 2, "2 publisher(s), no image in 3.0 s: compare the QoS"),
        (30, 1, "no image for 3.0 s"),
        (30, 0, "no image for 3.0 s: its publisher is gone"),
    ],
)
def test_a_silent_camera_is_an_error_that_says_what_to_look_at(received, publishers, words):
    statistics = running()
    counts = statistics.streams[Stream.RGB]
    counts.received = received
    counts.last_arrival_ns = NOW - 3 * NANOSECONDS if received else None
    inputs = INPUTS | {Stream.RGB: InputFacts("/cam/rgb", publishers, 0)}
    found = status(statistics, "rgb", inputs=inputs, active_since_ns=NOW - 3 * NANOSECONDS)
    assert found.level == ERROR
    assert words in found.message


def test_a_camera_has_two_seconds_after_activation():
    found = status(Statistics(()), "thermal", active_since_ns=NOW - NANOSECONDS)
    assert found.level == OK


def test_refused_images_are_a_warning_once():
    statistics = running()
    counts = statistics.streams[Stream.THERMAL]
    counts.refused[Refusal.STEP], counts.last_refusal = 7, "step 3 is too small"
    found = status(statistics, "thermal")
    assert (found.level, found.message) == (WARN, "7 images refused: step 3 is too small")
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


def test_a_clock_jump_is_a_warning():
    statistics = running()
    statistics.clock_jumps = 1
    assert status(statistics, "pairing").level == WARN


def test_an_engine_that_cannot_keep_up_says_so():
    statistics = running()
    statistics.replaced = 12
    found = status(statistics, "engine")
    assert found.level == WARN
    assert "12 of 30 pairs gave way" in found.message


@pytest.mark.parametrize(("published", "level"), [(30, WARN), (0, ERROR)])
def test_failures_of_the_engine(published, level):
    statistics = running()
    statistics.published, statistics.failures = published, 3
    statistics.last_failure = "out of memory"
    found = status(statistics, "engine")
    assert (found.level, found.message) == (level, "3 pairs failed: out of memory")


def test_the_latency_budget():
    found = status(running(), "latency", latency_budget_ms=45.0)
    assert (found.level, found.message) == (WARN, "p95 is 50 ms, latency_budget_ms is 45")


def test_with_two_clocks_the_time_inside_the_node_is_judged():
    statistics = running()
    for _ in range(31):
        statistics.add_total(-70_000.0)
    found = status(statistics, "latency", latency_budget_ms=45.0)
    assert found.level == OK
    assert "clock differ" in found.message
    assert status(statistics, "latency", latency_budget_ms=39.0).level == WARN


def test_fast_reports_still_judge_a_whole_second() -> None:
    tenth = NANOSECONDS // 10
    counts = Statistics(())
    history = TotalsHistory(Totals.of(counts), 0)
    seen = []
    for step in range(1, 31):
        counts.pairs = step
        seen.append(step - history.before(step * tenth, Totals.of(counts)).pairs)
    assert seen[:9] == list(range(1, 10))
    assert set(seen[9:]) == {9}


def test_slow_reports_judge_what_happened_since_the_last() -> None:
    counts = Statistics(())
    history = TotalsHistory(Totals.of(counts), 0)
    for step in range(1, 5):
        counts.pairs = step * 5
        before = history.before(step * 5 * NANOSECONDS, Totals.of(counts))
        assert before.pairs == (step - 1) * 5
