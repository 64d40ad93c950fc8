# SPDX-License-Identifier: Apache-2.0
"""What the node says about itself on /diagnostics: one status per concern, machine-readable keys.

A section is a function from `Facts` to one status; add a concern by adding a function to
`SECTIONS`. Levels are about the last second (or report, if rarer), counters about the time since
the node was configured.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from segmif_ros.pairing import MILLISECOND, DropReason, Stream
from segmif_ros.ros.modes import Mode, Standing
from segmif_ros.ros.statistics import NANOSECONDS, Percentiles, Samples, Statistics

SILENT_NS = 2 * NANOSECONDS
"""A camera or the pairing without anything for longer than this is an ERROR."""
REPLACED_WARN_SHARE = 0.1
"""More pairs than this overtaken by newer ones in the last second are a WARN."""
UNPAIRED_WARN_SHARE = 0.5
"""Fewer pairs than this share of the slower camera's frames in the last second are a WARN."""

_SPAN_NS = 900 * MILLISECOND
"""A little less than the second between two reports, so that a late timer does not double it."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Counters at the time of a report; the difference of two is what happened in between."""

    received: Mapping[Stream, int]
    refused: Mapping[Stream, int]
    pairs: int
    clock_jumps: int
    replaced: int
    published: int
    failures: int

    @classmethod
    def of(cls, statistics: Statistics) -> Totals:
        """Read the counters."""
        streams = statistics.streams
        return cls(
            {stream: streams[stream].received for stream in Stream},
            {stream: streams[stream].refused_total() for stream in Stream},
            statistics.pairs,
            statistics.clock_jumps,
            statistics.replaced,
            statistics.published,
            statistics.failures,
        )


class TotalsHistory:
    """Finds the counters to compare with: those of at least a second ago.

    A report judges what happened since then. Shorter spans hold too few frames to say that pairs
    are missing, so reporting faster than once a second must not shorten them.
    """

    def __init__(self, first: Totals, now_ns: int) -> None:
        self._past = deque([(now_ns, first)])

    def before(self, now_ns: int, totals: Totals) -> Totals:
        """Remember `totals` and return the newest ones that are old enough."""
        while len(self._past) > 1 and now_ns - self._past[1][0] >= _SPAN_NS:
            self._past.popleft()
        found = self._past[0][1]
        self._past.append((now_ns, totals))
        return found


@dataclass(frozen=True, slots=True)
class InputFacts:
    """What only the subscriptions know. Defaults are those of an inactive node."""

    topic: str = ""
    publishers: int = 0
    held: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything a section may look at.

    Attributes:
        statistics: counters and times.
        before: counters at the report before.
        now_ns: steady time.
        active_since_ns: steady time of the activation, None while inactive.
        inputs: facts about each input.
        reference: stream that the pairer takes as the slower one, empty while inactive.
        engine: facts about the engine.
        latency_budget_ms: parameter of that name.
        standing: the mode in force and its reason.
    """

    statistics: Statistics
    before: Totals
    now_ns: int
    active_since_ns: int | None
    inputs: Mapping[Stream, InputFacts]
    reference: str
    engine: Mapping[str, str]
    latency_budget_ms: float
    standing: Standing

    def silent_since(self, last_ns: int | None) -> int | None:
        """Return for how long nothing came, nanoseconds; None while inactive."""
        if self.active_since_ns is None:
            return None
        return self.now_ns - max(self.active_since_ns, last_ns or 0)


@dataclass(slots=True)
class Finding:
    """One status before it becomes a message."""

    concern: str
    level: bytes = DiagnosticStatus.OK
    text: str = "ok"
    values: dict[str, str] = field(default_factory=dict)

    def raise_to(self, level: bytes, text: str) -> None:
        """Make it worse, never better; the first text of the worst level stays."""
        if level > self.level:
            self.level, self.text = level, text

    def percentiles(self, key: str, samples: Samples) -> Percentiles | None:
        """Add `<key>.p50_ms`, `.p95_ms`, `.p99_ms` and `.count`."""
        summary = samples.percentiles()
        if summary is not None:
            for name, value in summary._asdict().items():
                self.values[f"{key}.{name}_ms"] = f"{value:.3f}"
        self.values[f"{key}.count"] = str(samples.count)
        return summary


def stream_section(stream: Stream) -> Callable[[Facts], Finding]:
    """Return the section of one camera."""

    def section(facts: Facts) -> Finding:
        counts, own = facts.statistics.streams[stream], facts.inputs[stream]
        finding = Finding(stream.value)
        finding.text = counts.format or "nothing received"
        silent = facts.silent_since(counts.last_arrival_ns)
        if silent is None:
            finding.text = "inactive"
        elif silent > SILENT_NS:
            finding.raise_to(DiagnosticStatus.ERROR, _silence(silent, own, counts.received))
        refused = counts.refused_total() - facts.before.refused[stream]
        if refused:
            finding.raise_to(
                DiagnosticStatus.WARN, f"{refused} images refused: {counts.last_refusal}"
            )
        finding.values |= {
            "topic": own.topic,
            "publishers": str(own.publishers),
            "format": counts.format,
            "received": str(counts.received),
            "rate_hz": f"{counts.rate.hz(facts.now_ns):.2f}",
            "refused": str(counts.refused_total()),
            **{f"refused.{reason.value}": str(n) for reason, n in counts.refused.items()},
            "last_refusal": counts.last_refusal,
            "implausible_stamps": str(counts.implausible_stamps),
            **counts.shutter,
        }
        finding.percentiles("transport", counts.transport_ms)
        return finding

    return section


def _silence(silent_ns: int, own: InputFacts, received: int) -> str:
    seconds = silent_ns / NANOSECONDS
    if received == 0 and own.publishers == 0:
        return f"nobody publishes {own.topic}: remap the input to the camera's topic, or start it"
    if received == 0:
        return (
            f"{own.topic} has {own.publishers} publisher(s), no image in {seconds:.1f} s: "
            "compare the QoS of both ends with `ros2 topic info -v`"
        )
    gone = ": its publisher is gone" if own.publishers == 0 else ""
    return f"no image for {seconds:.1f} s{gone}"


def pairing_section(facts: Facts) -> Finding:
    """How the two cameras fit together."""
    statistics, before = facts.statistics, facts.before
    finding = Finding("pairing")
    pairs = statistics.pairs - before.pairs
    received = {s: statistics.streams[s].received - before.received[s] for s in Stream}
    refused = {s: statistics.streams[s].refused_total() - before.refused[s] for s in Stream}
    frames = min(received.values())
    useless = [s.value for s in Stream if received[s] and received[s] == refused[s]]
    if facts.active_since_ns is None:
        finding.text = "inactive"
    elif frames > 1 and pairs == 0 and useless:
        finding.raise_to(
            DiagnosticStatus.ERROR, f"no pairs: every {' and '.join(useless)} image was refused"
        )
    elif frames > 1 and pairs == 0:
        finding.raise_to(DiagnosticStatus.ERROR, f"no pairs: {_main_drop(statistics)}")
    elif pairs < UNPAIRED_WARN_SHARE * frames:
        finding.raise_to(
            DiagnosticStatus.WARN,
            f"{pairs} pairs from {frames} frames of the slower camera: {_main_drop(statistics)}",
        )
    jumps = statistics.clock_jumps - before.clock_jumps
    if jumps:
        finding.raise_to(DiagnosticStatus.WARN, "stamps went back: bag looped or a clock was set")
    finding.values |= {"pairs": str(statistics.pairs)}
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
    }
    finding.percentiles("dt", statistics.dt_ms)
    return finding


_REMEDIES = {
    DropReason.NO_PARTNER: "stamps differ by more than tolerance_ms; "
    "set thermal_offset_ms if one camera stamps late",
    DropReason.TOO_OLD: "a camera is silent, or later than max_wait_ms",
    DropReason.OVERFLOW: "raise queue_size",
    DropReason.DUPLICATE: "a driver repeats its stamps",
    DropReason.REORDERED: "stamps go back and forth: two publishers on one topic?",
    DropReason.ZERO_STAMP: "a driver does not fill header.stamp",
    DropReason.CLOCK_JUMP: "one camera's clock is far from the other's",
}


def _main_drop(statistics: Statistics) -> str:
    """Name the most frequent reason that is not normal, and what to do about it."""
    counts = {
        (stream, reason): n
        for stream in Stream
        for reason, n in statistics.streams[stream].dropped.items()
        if reason in _REMEDIES and n
    }
    if not counts:
        return "the cameras have only just started"
    stream, reason = max(counts, key=lambda key: counts[key])
    return f"{counts[stream, reason]} {stream.value} frames {reason.value} ({_REMEDIES[reason]})"


def engine_section(facts: Facts) -> Finding:
    """What executes the model, and whether it keeps up."""
    statistics, before = facts.statistics, facts.before
    finding = Finding("engine")
    published = statistics.published - before.published
    failures = statistics.failures - before.failures
    if failures:
        level = DiagnosticStatus.WARN if published else DiagnosticStatus.ERROR
        finding.raise_to(level, f"{failures} pairs failed: {statistics.last_failure}")
    pairs, replaced = statistics.pairs - before.pairs, statistics.replaced - before.replaced
    if pairs and replaced > REPLACED_WARN_SHARE * pairs:
        finding.raise_to(
            DiagnosticStatus.WARN,
            f"slower than the cameras: {replaced} of {pairs} pairs gave way to newer ones",
        )
    finding.values |= {
        **facts.engine,
        "published": str(statistics.published),
        **{f"published.{name}": str(n) for name, n in statistics.published_by_output.items()},
        "rate_hz": f"{statistics.publish_rate.hz(facts.now_ns):.2f}",
        "failures": str(statistics.failures),
        "last_failure": statistics.last_failure,
    }
    return finding


def latency_section(facts: Facts) -> Finding:
    """Where the time goes, stage by stage."""
    statistics = facts.statistics
    finding = Finding("latency")
    summaries = {
        stage: finding.percentiles(f"latency.{stage}", samples)
        for stage, samples in statistics.stages_ms.items()
    }
    total, node = summaries["total"], summaries["node"]
    judged = total or node
    if statistics.implausible_totals > statistics.stages_ms["total"].count:
        finding.text = "stamps and this machine's clock differ; judged from receipt to publishing"
        judged = node
    if judged is not None and judged.p95 > facts.latency_budget_ms:
        finding.raise_to(
            DiagnosticStatus.WARN,
            f"p95 is {judged.p95:.0f} ms, latency_budget_ms is {facts.latency_budget_ms:.0f}",
        )
    finding.values["budget_ms"] = f"{facts.latency_budget_ms:.1f}"
    finding.values["implausible_totals"] = str(statistics.implausible_totals)
    return finding


_MODE_LEVELS = {
    Mode.RGB_ONLY: DiagnosticStatus.WARN,
    Mode.THERMAL_ONLY: DiagnosticStatus.WARN,
    Mode.STOPPED: DiagnosticStatus.ERROR,
}


def mode_section(facts: Facts) -> Finding:
    """Which cameras the results are made of."""
    statistics, standing = facts.statistics, facts.standing
    finding = Finding("mode", text=f"{standing.mode.value}: {standing.reason}")
    if facts.active_since_ns is not None and standing.mode in _MODE_LEVELS:
        finding.raise_to(_MODE_LEVELS[standing.mode], finding.text)
    finding.values |= {
        "mode": standing.mode.value,
        "reason": standing.reason,
        "singles": str(statistics.singles),
        "withheld": str(statistics.withheld),
    }
    return finding


SECTIONS: tuple[Callable[[Facts], Finding], ...] = (
    stream_section(Stream.RGB),
    stream_section(Stream.THERMAL),
    pairing_section,
    mode_section,
    engine_section,
    latency_section,
)


def report(facts: Facts, *, node: str, stamp: Any) -> DiagnosticArray:
    """Build the message.

    Args:
        facts: what is known.
        node: full name of the node.
        stamp: builtin_interfaces/Time.
    """
    out = DiagnosticArray()
    out.header.stamp = stamp
    for section in SECTIONS:
        finding = section(facts)
        values = [KeyValue(key=key, value=value) for key, value in finding.values.items()]
        out.status.append(
            DiagnosticStatus(
                level=finding.level,
                name=f"{node.lstrip('/')}: {finding.concern}",
                message=finding.text,
                hardware_id=node,
                values=values,
            )
        )
    return out
