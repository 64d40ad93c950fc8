# SPDX-License-Identifier: Apache-2.0
"""What is known at the time of a report. Everything that the diagnostics say follows from it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from segmif_ros.pairing import MILLISECOND, DropReason, Stream
from segmif_ros.ros.node.alignment import Measured
from segmif_ros.ros.node.modes import ModeStatus
from segmif_ros.ros.node.statistics import NANOSECONDS, ClockState, Samples, Statistics
from segmif_ros.ros.qos import Mismatch
from segmif_ros.sync.clock_difference import ClockDifference
from segmif_ros.thermal import FreezeWatch

_LEARN_NS = 60 * NANOSECONDS
_RATES_NEEDED = 5
_RATE_EVERY_NS = 900_000_000
_SETTLE_NS = 10 * NANOSECONDS
_MIB = 1024 * 1024


class UsualRate:
    """Estimates the rate of one camera: the median of the last minute, one value a second.

    So a loss of frames is seen for half a minute; then it is the new usual rate. Give the rate as a
    parameter to be reported for as long as it lasts.
    """

    def __init__(self) -> None:
        self._rates: deque[tuple[int, float]] = deque()

    def observe(self, hz: float, now_ns: int) -> None:
        """Take the present rate; 0 is no evidence about the usual one."""
        if hz <= 0.0 or (self._rates and now_ns - self._rates[-1][0] < _RATE_EVERY_NS):
            return
        self._rates.append((now_ns, hz))
        while now_ns - self._rates[0][0] > _LEARN_NS:
            self._rates.popleft()

    def hz(self) -> float | None:
        """Return the usual rate, None until five seconds are known."""
        if len(self._rates) < _RATES_NEEDED:
            return None
        return float(median(hz for _, hz in self._rates))


class Memory:
    """Memory of this process, and what it gained since it settled after activation.

    Attributes:
        resident_mib: resident memory, MiB; None where /proc has none.
        growth_mib: gained since 10 s after activation, MiB; 0 before.
    """

    def __init__(self) -> None:
        self.resident_mib: float | None = None
        self.growth_mib = 0.0
        self._settled: tuple[int, float] | None = None

    def observe(self, active_since_ns: int | None, now_ns: int) -> None:
        """Measure once.

        Args:
            active_since_ns: steady time of the activation, None while inactive.
            now_ns: steady time.
        """
        self.resident_mib = resident_mib()
        if active_since_ns is None or self.resident_mib is None:
            self._settled, self.growth_mib = None, 0.0
            return
        if self._settled is None or self._settled[0] != active_since_ns:
            self.growth_mib = 0.0
            if now_ns - active_since_ns < _SETTLE_NS:
                return
            self._settled = (active_since_ns, self.resident_mib)
        self.growth_mib = self.resident_mib - self._settled[1]


def resident_mib() -> float | None:
    """Return the resident memory of this process in MiB, None where /proc has none."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    kib = next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), None)
    return None if kib is None else kib * 1024 / _MIB


class Deadline:
    """Counts the samples above a limit, from report to report and not in the way of a frame.

    Attributes:
        missed: how many there were.
    """

    def __init__(self) -> None:
        self.missed = 0
        self._samples: Samples | None = None
        self._seen = 0

    def observe(self, samples: Samples, limit_ms: float) -> None:
        """Process what is new.

        Args:
            samples: the times to check; another object starts where it stands.
            limit_ms: largest good value; 0 counts nothing.
        """
        if self._samples is not samples:
            self._seen = 0 if self._samples is None else samples.count
            self._samples = samples
        new = samples.count - self._seen
        self._seen += new
        if limit_ms > 0:
            self.missed += sum(value > limit_ms for value in samples.newest(new))


@dataclass(frozen=True, slots=True)
class InputFacts:
    """Facts about the subscriptions. Defaults are those of an inactive node.

    Attributes:
        topic: full name after remapping.
        publishers: how many publish it.
        other_users: other users with shared memory of Fast DDS, looked up while no image comes.
        publisher_names: full names of their nodes, as far as discovered.
        mismatches: those of them whose images cannot be received, and why.
        other_transport: the compressed topic beside a raw one, or the raw one beside a compressed
            one, if that one is published and this one is not; else empty.
        held: frames that wait for a partner.
        content: whether the camera repeats its picture.
        usual_hz: its expected rate, None while unknown.
        rate_is_given: whether a parameter sets that rate.
        camera_info_problem: what its camera_info contradicts, empty if nothing.
        focal_lengths: along both axes, pixels, by its camera_info; empty while unknown.
    """

    topic: str = ""
    publishers: int = 0
    mismatches: tuple[Mismatch, ...] = ()
    other_transport: str = ""
    held: int = 0
    content: FreezeWatch | None = None
    usual_hz: float | None = None
    rate_is_given: bool = False
    camera_info_problem: str = ""
    publisher_names: tuple[str, ...] = ()
    other_users: tuple[str, ...] = ()
    focal_lengths: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Budget:
    """Latency limits and what missed them.

    Attributes:
        warn_ms, error_ms: parameters latency_budget_warn_ms and latency_budget_error_ms.
        missed_warn, missed_error: results that came later, since the node was configured.
    """

    warn_ms: float
    error_ms: float
    missed_warn: int = 0
    missed_error: int = 0


@dataclass(frozen=True, slots=True)
class AlignmentFacts:
    """How thermal and RGB edges agree.

    Attributes:
        measured: state of the watch.
        check_s, warn_px: parameters alignment_check_s and alignment_warn_px.
        is_calibrated: whether there is a calibration.
    """

    measured: Measured = field(default_factory=Measured)
    check_s: float = 5.0
    warn_px: float = 4.0
    is_calibrated: bool = True


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """The process and its clock.

    Attributes:
        lifecycle: state of the node.
        clock: what the node's clock is doing.
        clock_still_ns: steady time since it last moved.
        clock_jump_ns: how far it jumped since the report before, 0 for not.
        resident_mib: memory, None where unknown.
        growth_mib: memory gained since 10 s after activation.
    """

    lifecycle: str = "active"
    clock: ClockState = ClockState.SYSTEM
    clock_still_ns: int = 0
    clock_jump_ns: int = 0
    resident_mib: float | None = None
    growth_mib: float = 0.0


@dataclass(frozen=True, slots=True)
class DiagnosticsInput:
    """Input of the sections.

    Attributes:
        statistics: counters and times.
        before: counters a second ago (at the report before, if that is longer).
        window: counters five seconds ago.
        now_ns: steady time.
        active_since_ns: steady time of the activation, None while inactive.
        inputs: facts about each input.
        reference: stream that the pairer takes as the slower one, empty while inactive.
        engine: facts about the engine.
        budget: latency limits.
        mode_status: the mode in force and its reason.
        offset_ns: thermal_offset_ms minus rgb_offset_ms.
        process: the process and its clock.
        alignment: how thermal and RGB edges agree.
    """

    statistics: Statistics
    before: Totals
    window: Totals
    now_ns: int
    active_since_ns: int | None
    inputs: Mapping[Stream, InputFacts]
    reference: str
    engine: Mapping[str, str]
    budget: Budget
    mode_status: ModeStatus
    offset_ns: int = 0
    process: ProcessFacts = field(default_factory=ProcessFacts)
    alignment: AlignmentFacts = field(default_factory=AlignmentFacts)

    @property
    def clocks(self) -> ClockDifference | None:
        """Difference of the cameras' clocks while it keeps all frames from pairing, else None."""
        found = self.statistics.clock_difference()
        if found is None or self.statistics.pairs > self.before.pairs:
            return None
        received = (self.statistics.streams[s].received - self.before.received[s] for s in Stream)
        return found if min(received) > 0 and found.matters(self.offset_ns) else None

    @property
    def blocked_s(self) -> float:
        """How long the thread that takes images has been blocked, seconds."""
        ticked_ns = self.statistics.ticked_ns
        if self.active_since_ns is None or ticked_ns is None:
            return 0.0
        return max(0, self.now_ns - max(self.active_since_ns, ticked_ns)) / NANOSECONDS

    def silent_s(self, last_ns: int | None) -> float | None:
        """Return for how long nothing came, seconds; None while inactive.

        The time in which that thread was blocked does not count: no image was taken.
        """
        if self.active_since_ns is None:
            return None
        since = max(self.active_since_ns, last_ns or 0)
        return max(0.0, (self.now_ns - since) / NANOSECONDS - self.blocked_s)


SECOND_NS = 900 * MILLISECOND
"""A little less than the second between two reports, so that a late timer does not double it."""
FIVE_SECONDS_NS = 4_900 * MILLISECOND


@dataclass(frozen=True, slots=True)
class Totals:
    """Counters at the time of a report.

    Attributes:
        samples: how many samples of each stage there were.
        transports: how many transport times of each camera.
        dropped: frames in no pair, by camera and reason.
    """

    received: Mapping[Stream, int]
    refused: Mapping[Stream, int]
    zero_stamps: Mapping[Stream, int]
    future_stamps: Mapping[Stream, int]
    stamp_jumps: Mapping[Stream, int]
    transports: Mapping[Stream, int]
    dropped: Mapping[tuple[Stream, DropReason], int]
    pairs: int
    singles: int
    clock_jumps: int
    replaced: int
    skipped: int
    published: int
    failures: int
    implausible_totals: int
    samples: Mapping[str, int]

    @classmethod
    def of(cls, statistics: Statistics) -> Totals:
        """Read the counters."""
        streams = statistics.streams
        return cls(
            received={s: streams[s].received for s in Stream},
            refused={s: streams[s].refused_total() for s in Stream},
            zero_stamps={s: streams[s].stamps.zero for s in Stream},
            future_stamps={s: streams[s].stamps.future for s in Stream},
            stamp_jumps={s: streams[s].stamps.jumps for s in Stream},
            transports={s: streams[s].transport_ms.count for s in Stream},
            dropped={(s, reason): n for s in Stream for reason, n in streams[s].dropped.items()},
            pairs=statistics.pairs,
            singles=statistics.singles,
            clock_jumps=statistics.clock_jumps,
            replaced=statistics.replaced,
            skipped=statistics.skipped,
            published=statistics.published,
            failures=statistics.failures,
            implausible_totals=statistics.implausible_totals,
            samples={stage: kept.count for stage, kept in statistics.stages_ms.items()},
        )


class TotalsHistory:
    """Finds the counters to compare with: those of at least `span_ns` ago.

    A report covers what happened since then. Shorter spans hold too few frames to say that pairs
    are missing, so reporting faster than once a second must not shorten them.
    """

    def __init__(self, first: Totals, now_ns: int, span_ns: int = SECOND_NS) -> None:
        self._past = deque([(now_ns, first)])
        self._span_ns = span_ns

    def before(self, now_ns: int, totals: Totals) -> Totals:
        """Keep `totals` and return the newest ones that are old enough."""
        while len(self._past) > 1 and now_ns - self._past[1][0] >= self._span_ns:
            self._past.popleft()
        found = self._past[0][1]
        self._past.append((now_ns, totals))
        return found
