# SPDX-License-Identifier: Apache-2.0
"""The node's statuses on /diagnostics: one per concern, with machine-readable keys.

A section is a function from `DiagnosticsInput` to one `DiagnosticEntry`; add a concern by adding a
function to `SECTIONS`. The limits are in `levels`. Levels are about the last second or five,
counters about the time since the node was configured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from segmif_ros.pairing import DropReason, Stream
from segmif_ros.registration.warp import cameras_differ
from segmif_ros.ros.diagnostics import levels
from segmif_ros.ros.diagnostics.camera_status import camera_section
from segmif_ros.ros.diagnostics.diagnostics_input import DiagnosticsInput
from segmif_ros.ros.diagnostics.levels import DiagnosticEntry, Level
from segmif_ros.ros.node.alignment import alignment_values
from segmif_ros.ros.node.modes import Mode
from segmif_ros.ros.node.statistics import NANOSECONDS, ClockState

USUAL_TIMES = 4.0
"""So many times the usual inference time make a worker count as stuck."""

_REMEDIES = {
    DropReason.NO_PARTNER: "stamps differ by more than tolerance_ms; "
    "set thermal_offset_ms if one camera stamps late",
    DropReason.TOO_OLD: "a camera is silent, or later than max_wait_ms",
    DropReason.OVERFLOW: "raise queue_size",
    DropReason.DUPLICATE: "a driver repeats its stamps",
    DropReason.REORDERED: "stamps go back and forth: two publishers on one topic?",
    DropReason.ZERO_STAMP: "a driver does not fill header.stamp",
    DropReason.CLOCK_JUMP: "one camera's clock is far from the other's",
    DropReason.OTHER_SIZE: "the calibration is for another size; calibrate at this resolution",
}
_MODE_LEVELS = {
    Mode.RGB_ONLY: Level.WARN,
    Mode.THERMAL_ONLY: Level.WARN,
    Mode.STOPPED: Level.ERROR,
}


def pairing_section(facts: DiagnosticsInput) -> DiagnosticEntry:
    """How the two cameras fit together."""
    statistics, before = facts.statistics, facts.before
    entry = DiagnosticEntry("pairing")
    pairs = statistics.pairs - before.pairs
    received = {s: statistics.streams[s].received - before.received[s] for s in Stream}
    refused = {s: statistics.streams[s].refused_total() - before.refused[s] for s in Stream}
    frames = min(received.values())
    clocks = facts.clocks
    useless = [s.value for s in Stream if received[s] and received[s] == refused[s]]
    if facts.active_since_ns is None:
        entry.state = entry.text = "inactive"
    elif pairs == 0:
        if clocks is not None:
            entry.check(levels.CLOCKS_DIFFER, clocks.seconds(facts.offset_ns), clocks.text())
        why = _main_drop(facts)
        if useless:
            why = f"every {' and '.join(useless)} image was refused"
        entry.check(levels.NO_PAIRS, frames, f"no pairs: {why}")
    elif frames:
        text = f"{pairs} pairs from {frames} frames of the slower camera: {_main_drop(facts)}"
        entry.check(levels.FEW_PAIRS, pairs / frames, text)
    jumps = statistics.clock_jumps - before.clock_jumps
    entry.check(levels.PAIRING_JUMPS, jumps, "stamps went back: bag looped or a clock was set")
    known = statistics.clock_difference()
    entry.values |= {
        "pairs": str(statistics.pairs),
        "rate_hz": f"{statistics.pair_rate.hz(facts.now_ns):.2f}",
    }
    for stream in Stream:
        counts = statistics.streams[stream]
        entry.values |= {
            f"dropped.{stream.value}.{reason.value}": str(n) for reason, n in counts.dropped.items()
        }
        entry.values[f"held.{stream.value}"] = str(facts.inputs[stream].held)
    entry.values |= {
        "replaced": str(statistics.replaced),
        "skipped": str(statistics.skipped),
        "withdrawn": str(statistics.withdrawn),
        "clock_jumps": str(statistics.clock_jumps),
        "reference": facts.reference,
        "clock_difference_ms": "" if known is None else f"{known.thermal_ahead_ns / 1e6:.0f}",
    }
    entry.percentiles("dt", statistics.dt_ms)
    return entry


def _main_drop(facts: DiagnosticsInput) -> str:
    """Name the most frequent reason of the last seconds that is not normal, and the remedy."""
    before, streams = facts.window.dropped, facts.statistics.streams
    counts = {
        (stream, reason): n
        for stream in Stream
        for reason, total in streams[stream].dropped.items()
        if reason in _REMEDIES and (n := total - before[stream, reason])
    }
    if not counts:
        return "the cameras have only just started"
    stream, reason = max(counts, key=lambda key: counts[key])
    return f"{counts[stream, reason]} {stream.value} frames {reason.value} ({_REMEDIES[reason]})"


def mode_section(facts: DiagnosticsInput) -> DiagnosticEntry:
    """Which cameras the results are made of."""
    statistics, mode_status = facts.statistics, facts.mode_status
    entry = DiagnosticEntry("mode", state=mode_status.mode.value)
    entry.text = f"{mode_status.mode.value}: {mode_status.reason}"
    if facts.active_since_ns is not None:
        entry.level = _MODE_LEVELS.get(mode_status.mode, Level.OK)
    entry.values |= {
        "mode": mode_status.mode.value,
        "reason": mode_status.reason,
        "singles": str(statistics.singles),
        "withheld": str(statistics.withheld),
    }
    return entry


def engine_section(facts: DiagnosticsInput) -> DiagnosticEntry:
    """What executes the model, and whether it keeps up."""
    statistics, before = facts.statistics, facts.before
    entry = DiagnosticEntry("engine")
    published = statistics.published - before.published
    failures = statistics.failures - before.failures
    busy_s, limit_s = _busy_s(facts), stuck_after_s(_usual_ms(facts))
    entry.check(
        levels.STUCK, busy_s,
        f"the current pair takes {busy_s:.1f} s: the engine hangs or the machine is overloaded; "
        "if it stays so, restart the node",
        limit=limit_s,
    )  # fmt: skip
    if failures:
        text = f"{failures} pairs failed: {statistics.last_failure}"
        share = failures / (failures + published)
        entry.check(levels.FAILED, share, text) or entry.check(levels.FAILING, failures, text)
    window = facts.window
    offered = statistics.pairs - window.pairs + statistics.singles - window.singles
    replaced = statistics.replaced - window.replaced
    if offered and facts.active_since_ns is not None:
        if statistics.skipped > window.skipped and statistics.published == window.published:
            entry.state, entry.text = "idle", "idle: no output has a subscriber"
        entry.check(
            levels.SLOW, replaced / offered,
            f"slower than the cameras: {replaced} of {offered} pairs were replaced by newer ones",
        )  # fmt: skip
    entry.values |= {
        **facts.engine,
        "published": str(statistics.published),
        **{f"published.{name}": str(n) for name, n in statistics.published_by_output.items()},
        **(statistics.points.values() if statistics.points else {}),
        "rate_hz": f"{statistics.publish_rate.hz(facts.now_ns):.2f}",
        "busy_ms": f"{busy_s * 1e3:.0f}",
        "failures": str(statistics.failures),
        "last_failure": statistics.last_failure,
    }
    return entry


def stuck_after_s(usual_ms: float) -> float:
    """Return how long a pair may take, seconds.

    Args:
        usual_ms: usual time of an inference; slow models are given more.
    """
    return max(levels.STUCK.limit, USUAL_TIMES * usual_ms / 1e3)


def _usual_ms(facts: DiagnosticsInput) -> float:
    summary = facts.statistics.stages_ms["inference"].percentiles()
    return float(facts.engine.get("warmup_ms", 0.0)) if summary is None else summary.p50


def _busy_s(facts: DiagnosticsInput) -> float:
    since = facts.statistics.working_since_ns
    return 0.0 if since is None else max(0, facts.now_ns - since) / NANOSECONDS


def latency_section(facts: DiagnosticsInput) -> DiagnosticEntry:
    """Where the time goes, stage by stage."""
    statistics, window, budget = facts.statistics, facts.window, facts.budget
    entry = DiagnosticEntry("latency")
    for stage, samples in statistics.stages_ms.items():
        entry.percentiles(f"latency.{stage}", samples)
    stage = judged_stage(facts)
    if stage == "node":
        entry.text = "stamps and this machine's clock differ; judged from receipt to publishing"
    recent = statistics.stages_ms[stage].percentiles(window.samples[stage])
    if recent is not None and facts.active_since_ns is not None:
        for threshold, limit in (
            (levels.BUDGET_ERROR, budget.error_ms),
            (levels.BUDGET_WARN, budget.warn_ms),
        ):
            text = f"p95 is {recent.p95:.0f} ms, {threshold.parameter} is {limit:.0f}"
            if entry.check(threshold, recent.p95, text, limit=limit):
                break
    entry.values |= {
        "budget_warn_ms": f"{budget.warn_ms:.1f}",
        "budget_error_ms": f"{budget.error_ms:.1f}",
        "missed_warn": str(budget.missed_warn),
        "missed_error": str(budget.missed_error),
        "judged": stage,
        "implausible_totals": str(statistics.implausible_totals),
    }
    return entry


def judged_stage(facts: DiagnosticsInput) -> str:
    """Return the stage that is held against the budget.

    "total", from stamp to publishing, unless stamps and this machine's clock differ or there are
    no such samples yet: then "node".
    """
    statistics, window = facts.statistics, facts.window
    implausible = statistics.implausible_totals - window.implausible_totals
    totals = statistics.stages_ms["total"].count - window.samples["total"]
    return "node" if implausible > totals else "total"


_CALIBRATE = (
    "record both cameras with `segmif bag record`, run `segmif calibrate auto BAG --out rig.yaml` "
    "and set calibration_file"
)


def registration_section(facts: DiagnosticsInput) -> DiagnosticEntry:
    """Whether the place of thermal on RGB is known: by a calibration, or from the pictures."""
    known, measured = facts.alignment, facts.alignment.measured
    entry = DiagnosticEntry("registration", text=facts.engine.get("registration", "ok"))
    since = measured.unsure_since_ns
    unsure_s = 0.0 if since is None else (facts.now_ns - since) / NANOSECONDS
    if facts.active_since_ns is None:
        entry.state = entry.text = "inactive"
    elif not known.is_calibrated and not measured.is_aligned:
        rgb, thermal = (facts.statistics.streams[s].format.partition(" ")[0] for s in Stream)
        lenses = [facts.inputs[s].focal_lengths for s in Stream]
        differ = cameras_differ(rgb, thermal, *lenses)
        text = f"{differ}, and there is no calibration_file: {_CALIBRATE}"
        entry.check(levels.UNCALIBRATED, bool(differ), text)
        text = f"no calibration_file, and the pictures do not show thermal on RGB: {_CALIBRATE}"
        entry.check(levels.UNREGISTERED, unsure_s, text)
    entry.values |= {
        "calibrated": str(known.is_calibrated).lower(),
        "unsure_s": f"{unsure_s:.0f}",
    }
    return entry


_ALIGNMENT_TEXTS = {
    "unknown": "the pictures do not show yet whether thermal lies on RGB",
    "aligned": "ok",
}


def alignment_section(facts: DiagnosticsInput) -> DiagnosticEntry:
    """Whether thermal still lies on RGB, or a camera was moved."""
    known, measured = facts.alignment, facts.alignment.measured
    entry = DiagnosticEntry("alignment", state="unknown")
    found = measured.alignment
    if facts.active_since_ns is None:
        entry.state = entry.text = "inactive"
    elif known.check_s <= 0.0:
        entry.state, entry.text = "off", "off: alignment_check_s is 0"
    elif found is None:
        entry.text = "no pair has been measured yet"
    elif found.state.value != "moved" or found.last_confirmed is None:
        entry.state, entry.text = found.state.value, _ALIGNMENT_TEXTS[found.state.value]
    else:
        entry.state = found.state.value
        shift = found.last_confirmed
        text = (
            f"thermal lies {shift.rms_px:.1f} px off: {shift.dx:+.1f} px to the right, "
            f"{shift.dy:+.1f} px down, turned by {shift.roll_deg:+.1f} deg; a camera was moved, or "
            "all in view is nearer than the calibration is for. Fix the bracket or calibrate again"
        )
        entry.text = text
        entry.check(levels.MOVED, found.relative_px(shift), text, limit=known.warn_px)
    entry.values |= alignment_values(measured, facts.now_ns)
    return entry


def node_section(facts: DiagnosticsInput) -> DiagnosticEntry:
    """The process itself: does it listen, does its clock go, does its memory grow?"""
    process, entry = facts.process, DiagnosticEntry("node")
    entry.text = process.lifecycle
    entry.check(
        levels.INTAKE_BLOCKED, facts.blocked_s,
        f"no image was taken for {facts.blocked_s:.1f} s: a transition waits for the engine, or "
        "the machine is overloaded",
    )  # fmt: skip
    still_s = process.clock_still_ns / NANOSECONDS
    if process.clock is ClockState.MISSING:
        entry.check(
            levels.NO_CLOCK, still_s,
            "use_sim_time is set and nothing comes on /clock: play the bag with --clock, or set "
            "use_sim_time to false",
        )  # fmt: skip
    elif process.clock is ClockState.STOPPED:
        text = f"no change of /clock for {still_s:.1f} s: the bag is paused or has ended"
        entry.check(levels.CLOCK_STOPPED, still_s, text)
    jump_s = process.clock_jump_ns / NANOSECONDS
    entry.check(levels.CLOCK_JUMPED, abs(jump_s), f"this machine's clock jumped by {jump_s:+.1f} s")
    growth = f"{process.growth_mib:.0f} MiB more memory than after activation: a leak?"
    entry.check(levels.GROWTH, process.growth_mib, growth)
    resident = process.resident_mib
    entry.values |= {
        "lifecycle": process.lifecycle,
        "clock": process.clock.value,
        "clock_still_ms": f"{process.clock_still_ns / 1e6:.0f}",
        "memory.resident_mib": "" if resident is None else f"{resident:.1f}",
        "memory.growth_mib": f"{process.growth_mib:.1f}",
    }
    return entry


SECTIONS: tuple[Callable[[DiagnosticsInput], DiagnosticEntry], ...] = (
    camera_section(Stream.RGB),
    camera_section(Stream.THERMAL),
    pairing_section,
    mode_section,
    engine_section,
    latency_section,
    registration_section,
    alignment_section,
    node_section,
)


def entries_of(facts: DiagnosticsInput) -> list[DiagnosticEntry]:
    """Return the entries of all sections."""
    return [section(facts) for section in SECTIONS]


def to_message(entries: Iterable[DiagnosticEntry], *, node: str, stamp: Any) -> DiagnosticArray:
    """Build the message.

    Args:
        entries: the statuses.
        node: full name of the node.
        stamp: builtin_interfaces/Time.
    """
    out = DiagnosticArray()
    out.header.stamp = stamp
    for entry in entries:
        judged = {"state": entry.state, "also": ", ".join(entry.also)}
        values = [KeyValue(key=key, value=value) for key, value in (judged | entry.values).items()]
        out.status.append(
            DiagnosticStatus(
                level=bytes([entry.level]),
                name=f"{node.lstrip('/')}: {entry.concern}",
                message=entry.text,
                hardware_id=node,
                values=values,
            )
        )
    return out
