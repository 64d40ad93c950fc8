# SPDX-License-Identifier: Apache-2.0
"""What the node says about itself on /diagnostics: one status per concern, machine-readable keys.

A section is a function from `Facts` to one `Finding`; add a concern by adding a function to
`SECTIONS`. The limits are in `levels`. Levels are about the last second or five, counters about
the time since the node was configured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from segmif_ros.calibration.alignment_watch import AlignmentState
from segmif_ros.pairing import DropReason, Stream
from segmif_ros.ros.diagnostics import levels
from segmif_ros.ros.diagnostics.camera_status import camera_section
from segmif_ros.ros.diagnostics.facts import Facts
from segmif_ros.ros.diagnostics.levels import Finding, Level
from segmif_ros.ros.node.alignment import alignment_values
from segmif_ros.ros.node.modes import Mode
from segmif_ros.ros.node.stamps import ClockState
from segmif_ros.ros.node.statistics import NANOSECONDS

USUAL_TIMES = 4.0
"""The pair at hand may take so many times the usual inference before the worker counts as stuck."""

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


def pairing_section(facts: Facts) -> Finding:
    """How the two cameras fit together."""
    statistics, before = facts.statistics, facts.before
    finding = Finding("pairing")
    pairs = statistics.pairs - before.pairs
    received = {s: statistics.streams[s].received - before.received[s] for s in Stream}
    refused = {s: statistics.streams[s].refused_total() - before.refused[s] for s in Stream}
    frames = min(received.values())
    clocks = facts.clocks
    useless = [s.value for s in Stream if received[s] and received[s] == refused[s]]
    if facts.active_since_ns is None:
        finding.state = finding.text = "inactive"
    elif pairs == 0:
        if clocks is not None:
            finding.check(levels.CLOCKS_DIFFER, clocks.seconds(facts.offset_ns), clocks.text())
        why = _main_drop(facts)
        if useless:
            why = f"every {' and '.join(useless)} image was refused"
        finding.check(levels.NO_PAIRS, frames, f"no pairs: {why}")
    elif frames:
        text = f"{pairs} pairs from {frames} frames of the slower camera: {_main_drop(facts)}"
        finding.check(levels.FEW_PAIRS, pairs / frames, text)
    jumps = statistics.clock_jumps - before.clock_jumps
    finding.check(levels.PAIRING_JUMPS, jumps, "stamps went back: bag looped or a clock was set")
    known = statistics.clock_difference()
    finding.values |= {
        "pairs": str(statistics.pairs),
        "rate_hz": f"{statistics.pair_rate.hz(facts.now_ns):.2f}",
    }
    for stream in Stream:
        counts = statistics.streams[stream]
        finding.values |= {
            f"dropped.{stream.value}.{reason.value}": str(n) for reason, n in counts.dropped.items()
        }
        finding.values[f"held.{stream.value}"] = str(facts.inputs[stream].held)
    finding.values |= {
        "replaced": str(statistics.replaced),
        "skipped": str(statistics.skipped),
        "withdrawn": str(statistics.withdrawn),
        "clock_jumps": str(statistics.clock_jumps),
        "reference": facts.reference,
        "clock_difference_ms": "" if known is None else f"{known.thermal_ahead_ns / 1e6:.0f}",
    }
    finding.percentiles("dt", statistics.dt_ms)
    return finding


def _main_drop(facts: Facts) -> str:
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


def mode_section(facts: Facts) -> Finding:
    """Which cameras the results are made of."""
    statistics, mode_status = facts.statistics, facts.mode_status
    finding = Finding("mode", state=mode_status.mode.value)
    finding.text = f"{mode_status.mode.value}: {mode_status.reason}"
    if facts.active_since_ns is not None:
        finding.level = _MODE_LEVELS.get(mode_status.mode, Level.OK)
    finding.values |= {
        "mode": mode_status.mode.value,
        "reason": mode_status.reason,
        "singles": str(statistics.singles),
        "withheld": str(statistics.withheld),
    }
    return finding


def engine_section(facts: Facts) -> Finding:
    """What executes the model, and whether it keeps up."""
    statistics, before = facts.statistics, facts.before
    finding = Finding("engine")
    published = statistics.published - before.published
    failures = statistics.failures - before.failures
    busy_s, limit_s = _busy_s(facts), stuck_after_s(_usual_ms(facts))
    finding.check(
        levels.STUCK, busy_s,
        f"the pair at hand takes {busy_s:.1f} s: the engine hangs or the machine is overloaded; "
        "if it stays so, restart the node",
        limit=limit_s,
    )  # fmt: skip
    if failures:
        text = f"{failures} pairs failed: {statistics.last_failure}"
        share = failures / (failures + published)
        finding.check(levels.FAILED, share, text) or finding.check(levels.FAILING, failures, text)
    window = facts.window
    offered = statistics.pairs - window.pairs + statistics.singles - window.singles
    replaced = statistics.replaced - window.replaced
    if offered and facts.active_since_ns is not None:
        finding.check(
            levels.SLOW, replaced / offered,
            f"slower than the cameras: {replaced} of {offered} pairs gave way to newer ones",
        )  # fmt: skip
    finding.values |= {
        **facts.engine,
        "published": str(statistics.published),
        **{f"published.{name}": str(n) for name, n in statistics.published_by_output.items()},
        **statistics.points.values(),
        "rate_hz": f"{statistics.publish_rate.hz(facts.now_ns):.2f}",
        "busy_ms": f"{busy_s * 1e3:.0f}",
        "failures": str(statistics.failures),
        "last_failure": statistics.last_failure,
    }
    return finding


def stuck_after_s(usual_ms: float) -> float:
    """Return how long a pair may take, seconds.

    Args:
        usual_ms: usual time of an inference; slow models are given more.
    """
    return max(levels.STUCK.limit, USUAL_TIMES * usual_ms / 1e3)


def _usual_ms(facts: Facts) -> float:
    summary = facts.statistics.stages_ms["inference"].percentiles()
    return float(facts.engine.get("warmup_ms", 0.0)) if summary is None else summary.p50


def _busy_s(facts: Facts) -> float:
    since = facts.statistics.working_since_ns
    return 0.0 if since is None else max(0, facts.now_ns - since) / NANOSECONDS


def latency_section(facts: Facts) -> Finding:
    """Where the time goes, stage by stage."""
    statistics, window, budget = facts.statistics, facts.window, facts.budget
    finding = Finding("latency")
    for stage, samples in statistics.stages_ms.items():
        finding.percentiles(f"latency.{stage}", samples)
    stage = judged_stage(facts)
    if stage == "node":
        finding.text = "stamps and this machine's clock differ; judged from receipt to publishing"
    recent = statistics.stages_ms[stage].percentiles(window.samples[stage])
    if recent is not None and facts.active_since_ns is not None:
        for threshold, limit in (
            (levels.BUDGET_ERROR, budget.error_ms),
            (levels.BUDGET_WARN, budget.warn_ms),
        ):
            text = f"p95 is {recent.p95:.0f} ms, {threshold.parameter} is {limit:.0f}"
            if finding.check(threshold, recent.p95, text, limit=limit):
                break
    finding.values |= {
        "budget_warn_ms": f"{budget.warn_ms:.1f}",
        "budget_error_ms": f"{budget.error_ms:.1f}",
        "missed_warn": str(budget.missed_warn),
        "missed_error": str(budget.missed_error),
        "judged": stage,
        "implausible_totals": str(statistics.implausible_totals),
    }
    return finding


def judged_stage(facts: Facts) -> str:
    """Return the stage that is held against the budget.

    "total", from stamp to publishing, unless stamps and this machine's clock differ or there are
    no such samples yet: then "node".
    """
    statistics, window = facts.statistics, facts.window
    implausible = statistics.implausible_totals - window.implausible_totals
    totals = statistics.stages_ms["total"].count - window.samples["total"]
    return "node" if implausible > totals else "total"


_ALIGNMENT_TEXTS = {
    AlignmentState.UNKNOWN: "the pictures do not tell yet whether thermal lies on RGB",
    AlignmentState.ALIGNED: "ok",
}


def alignment_section(facts: Facts) -> Finding:
    """Whether thermal still lies on RGB, or somebody bumped a camera."""
    known, measured = facts.alignment, facts.alignment.measured
    finding = Finding("alignment", state="unknown")
    found = measured.alignment
    if facts.active_since_ns is None:
        finding.state = finding.text = "inactive"
    elif known.check_s <= 0.0:
        finding.state, finding.text = "off", "off: alignment_check_s is 0"
    elif found is None:
        finding.text = "no pair has been measured yet"
    elif found.state is not AlignmentState.MOVED or found.told is None:
        finding.state, finding.text = found.state.value, _ALIGNMENT_TEXTS[found.state]
    else:
        finding.state = found.state.value
        shift = found.told
        text = (
            f"thermal lies {shift.rms_px:.1f} px off: {shift.dx:+.1f} px to the right, "
            f"{shift.dy:+.1f} px down, turned by {shift.roll_deg:+.1f} deg; a camera was moved, or "
            "all in view is nearer than the calibration is for. Fix the bracket or calibrate again"
        )
        finding.text = text
        finding.check(levels.MOVED, found.relative_px(shift), text, limit=known.warn_px)
    finding.values |= alignment_values(measured, facts.now_ns)
    return finding


def node_section(facts: Facts) -> Finding:
    """The process itself: does it listen, does its clock go, does its memory grow?"""
    process, finding = facts.process, Finding("node")
    finding.text = process.lifecycle
    finding.check(
        levels.INTAKE_BLOCKED, facts.blocked_s,
        f"no image was taken for {facts.blocked_s:.1f} s: a transition waits for the engine, or "
        "the machine is overloaded",
    )  # fmt: skip
    still_s = process.clock_still_ns / NANOSECONDS
    if process.clock is ClockState.MISSING:
        finding.check(
            levels.NO_CLOCK, still_s,
            "use_sim_time is set and nothing comes on /clock: play the bag with --clock, or set "
            "use_sim_time to false",
        )  # fmt: skip
    elif process.clock is ClockState.STOPPED:
        text = f"/clock stands still for {still_s:.1f} s: the bag is paused or has ended"
        finding.check(levels.CLOCK_STOPPED, still_s, text)
    jump_s = process.clock_jump_ns / NANOSECONDS
    finding.check(
        levels.CLOCK_JUMPED, abs(jump_s), f"this machine's clock jumped by {jump_s:+.1f} s"
    )
    growth = f"{process.growth_mib:.0f} MiB more memory than after activation: a leak?"
    finding.check(levels.GROWTH, process.growth_mib, growth)
    resident = process.resident_mib
    finding.values |= {
        "lifecycle": process.lifecycle,
        "clock": process.clock.value,
        "clock_still_ms": f"{process.clock_still_ns / 1e6:.0f}",
        "memory.resident_mib": "" if resident is None else f"{resident:.1f}",
        "memory.growth_mib": f"{process.growth_mib:.1f}",
    }
    return finding


SECTIONS: tuple[Callable[[Facts], Finding], ...] = (
    camera_section(Stream.RGB),
    camera_section(Stream.THERMAL),
    pairing_section,
    mode_section,
    engine_section,
    latency_section,
    alignment_section,
    node_section,
)


def findings_of(facts: Facts) -> list[Finding]:
    """Return what every section says."""
    return [section(facts) for section in SECTIONS]


def to_message(findings: Iterable[Finding], *, node: str, stamp: Any) -> DiagnosticArray:
    """Build the message.

    Args:
        findings: what there is to say.
        node: full name of the node.
        stamp: builtin_interfaces/Time.
    """
    out = DiagnosticArray()
    out.header.stamp = stamp
    for finding in findings:
        judged = {"state": finding.state, "also": ", ".join(finding.also)}
        values = [
            KeyValue(key=key, value=value) for key, value in (judged | finding.values).items()
        ]
        out.status.append(
            DiagnosticStatus(
                level=bytes([finding.level]),
                name=f"{node.lstrip('/')}: {finding.concern}",
                message=finding.text,
                hardware_id=node,
                values=values,
            )
        )
    return out
