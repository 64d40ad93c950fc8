# SPDX-License-Identifier: Apache-2.0
"""What the node counts and times. Plain numbers, no ROS.

`Inputs`, under its lock, and the worker thread write different fields, and every key exists from
the start, so reading while they write gives whole numbers without a lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import Enum
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from segmif_ros.images.raw import Refusal
from segmif_ros.pairing import JUMP_NS, MILLISECOND, DropReason, Stream
from segmif_ros.sync.clock_difference import ClockDifference

if TYPE_CHECKING:
    from segmif_ros.objects.labeller import PointStatistics

NANOSECONDS = 1_000_000_000
RATE_WINDOW_NS = 5 * NANOSECONDS
PLAUSIBLE_MS = (-100.0, 10_000.0)
"""A latency outside this means that stamp and node clock are two clocks. A little below zero is
right for /clock, which comes in steps, and for cameras whose clock is a little ahead."""

STAGES = (
    "transport",
    "wait",
    "queue",
    "conversion",
    "thermal",
    "registration",
    "inference",
    "publish",
    "node",
    "total",
)
"""Where the time goes; docs/diagnostics.md says from where to where each one counts."""


def _plausible(milliseconds: float) -> bool:
    return PLAUSIBLE_MS[0] <= milliseconds <= PLAUSIBLE_MS[1]


class Percentiles(NamedTuple):
    """Summary of recent samples."""

    p50: float
    p95: float
    p99: float


class Samples:
    """The newest samples of one quantity, and how many there ever were."""

    def __init__(self, capacity: int = 2048) -> None:
        self._values = np.zeros(capacity)
        self.count = 0

    def add(self, value: float) -> None:
        """Take one sample."""
        self._values[self.count % self._values.size] = value
        self.count += 1

    def newest(self, count: int) -> list[float]:
        """Return the newest `count` samples in the order they came, fewer if fewer are kept."""
        kept = min(count, self.count, self._values.size)
        places = np.arange(self.count - kept, self.count) % self._values.size
        return [float(value) for value in self._values[places]]

    def percentiles(self, since: int = 0) -> Percentiles | None:
        """Return the percentiles of the newest samples, None if there are none.

        Args:
            since: leave out so many of the first samples ever: what `count` was at some time.
        """
        count = self.count
        kept = min(count - since, self._values.size)
        if kept <= 0:
            return None
        values = self._values
        if kept < values.size:
            values = values[np.arange(count - kept, count) % values.size]
        p50, p95, p99 = np.percentile(values, (50, 95, 99))
        return Percentiles(float(p50), float(p95), float(p99))


class Rate:
    """Events per second over the last five seconds."""

    def __init__(self) -> None:
        self._times: deque[int] = deque(maxlen=512)

    def add(self, now_ns: int) -> None:
        """Take one event."""
        self._times.append(now_ns)

    def hz(self, now_ns: int) -> float:
        """Return the rate; 0 with fewer than two events in the window."""
        recent = [t for t in tuple(self._times) if now_ns - t <= RATE_WINDOW_NS]
        gaps = len(recent) - 1
        if gaps < 1 or recent[-1] == recent[0]:
            return 0.0
        span = recent[-1] - recent[0]
        # An event that is overdue counts as a gap that is still growing.
        overdue = now_ns - recent[-1] - 2 * span // gaps
        return gaps * NANOSECONDS / (span + max(0, overdue))


class StreamStatistics:
    """One input camera.

    Attributes:
        stamps: whether its stamps can be right.
    """

    def __init__(self) -> None:
        self.stamps = StampWatch()
        self.received = 0
        self.refused = dict.fromkeys(Refusal, 0)
        self.last_refusal = ""
        self.last_arrival_ns: int | None = None
        self.format = ""
        self.frame_ids: deque[str] = deque(maxlen=8)
        self.rendering_hint = ""
        self.rate = Rate()
        self.dropped = dict.fromkeys(DropReason, 0)
        self.transport_ms = Samples()
        self.implausible_stamps = 0

    def refused_total(self) -> int:
        """Return how many messages were refused."""
        return sum(self.refused.values())


class Statistics:
    """Everything since the node was configured.

    Attributes:
        ticked_ns: steady time when the thread that takes images last ran, None before.
        points: clouds and depth images since points have a subscriber, None before.
        working_since_ns: steady time when the worker took its current pair, None without one.
    """

    def __init__(self, outputs: tuple[str, ...]) -> None:
        self.streams = {stream: StreamStatistics() for stream in Stream}
        self.pairs = 0
        self.pair_rate = Rate()
        self.singles = 0
        self.withheld = 0
        self.clock_jumps = 0
        self.dt_ms = Samples()
        self.replaced = 0
        self.skipped = 0
        self.points: PointStatistics | None = None
        self.withdrawn = 0
        self.published = 0
        self.published_by_output = dict.fromkeys(outputs, 0)
        self.publish_rate = Rate()
        self.failures = 0
        self.failed_in_a_row = 0
        self.last_failure = ""
        self.camera_info_problem = ""
        self.implausible_totals = 0
        self.ticked_ns: int | None = None
        self.working_since_ns: int | None = None
        self.stages_ms = {stage: Samples() for stage in STAGES}

    def clock_difference(self) -> ClockDifference | None:
        """Compare the clocks of the two cameras; None before both have delivered."""
        rgb_ns, thermal_ns = (self.streams[stream].stamps.lead_ns() for stream in Stream)
        return (
            None if rgb_ns is None or thermal_ns is None else ClockDifference(thermal_ns - rgb_ns)
        )

    def add_published(self, now_ns: int, stages_ms: Mapping[str, float], total_ms: float) -> None:
        """Count one result that went out.

        Args:
            now_ns: steady time.
            stages_ms: time per stage.
            total_ms: from stamp to publishing, on the node's clock.
        """
        self.published += 1
        self.failed_in_a_row = 0
        self.publish_rate.add(now_ns)
        for stage, milliseconds in stages_ms.items():
            self.stages_ms[stage].add(milliseconds)
        self.add_total(total_ms)

    def add_failure(self, text: str) -> None:
        """Count one pair that the worker could not use."""
        self.failures += 1
        self.failed_in_a_row += 1
        self.last_failure = text

    def add_total(self, milliseconds: float) -> None:
        """Take one stamp-to-published latency, if both ends were read on one clock."""
        if _plausible(milliseconds):
            self.stages_ms["total"].add(milliseconds)
        else:
            self.implausible_totals += 1

    def add_transport(self, stream: Stream, milliseconds: float) -> None:
        """Take one stamp-to-receipt latency, if both ends were read on one clock."""
        if _plausible(milliseconds):
            self.streams[stream].transport_ms.add(milliseconds)
            if stream is Stream.RGB:
                self.stages_ms["transport"].add(milliseconds)
        else:
            self.streams[stream].implausible_stamps += 1


_LEADS = 15

FUTURE_NS = 100 * MILLISECOND
"""A camera clock may be a little ahead, and /clock comes in steps; more than this is wrong."""


class StampWatch:
    """Counts the stamps of one camera that cannot be right. One thread calls `observe`.

    Attributes:
        zero: images whose stamp was not set.
        future: images stamped `FUTURE_NS` or more after the node's clock.
        jumps: stamps that went back, or ahead of the time that passed, by more than `JUMP_NS`.
        last_jump_ns: how far the newest jump went; negative is back.
        age_ns: the node's clock minus the newest stamp.
    """

    def __init__(self) -> None:
        self.zero = 0
        self.future = 0
        self.jumps = 0
        self.last_jump_ns = 0
        self.age_ns = 0
        self._leads_ns: deque[int] = deque(maxlen=_LEADS)
        self._stamp_ns = 0
        self._steady_ns = 0

    def observe(self, stamp_ns: int, now_ns: int, steady_ns: int) -> None:
        """Process one image.

        Args:
            stamp_ns: its stamp.
            now_ns: the node's clock; 0 while simulated time has not begun.
            steady_ns: a clock that is never set.
        """
        if stamp_ns <= 0:
            self.zero += 1
            return
        self.age_ns = now_ns - stamp_ns
        if now_ns and stamp_ns - now_ns >= FUTURE_NS:
            self.future += 1
        if self._stamp_ns:
            step = stamp_ns - self._stamp_ns
            # Stamps that stay behind are a paused bag or a slow one, which is no jump.
            if step < -JUMP_NS or step - (steady_ns - self._steady_ns) > JUMP_NS:
                self.jumps += 1
                self.last_jump_ns = step
                self._leads_ns.clear()
        self._leads_ns.append(stamp_ns - steady_ns)
        self._stamp_ns, self._steady_ns = stamp_ns, steady_ns

    def lead_ns(self) -> int | None:
        """Return stamp minus steady time of arrival, the median of the newest; None before any.

        Alone it has no meaning; two cameras with one clock differ by what their ways here differ.
        """
        leads = tuple(self._leads_ns)
        return int(median(leads)) if leads else None


class ClockState(Enum):
    """What the node's clock is doing."""

    SYSTEM = "system"
    """No simulated time."""
    RUNNING = "simulated"
    """/clock arrives."""
    STOPPED = "stopped"
    """/clock has come and no longer changes: a paused or finished bag."""
    MISSING = "missing"
    """use_sim_time is set and /clock has never come."""


class ClockWatch:
    """Watches the node's own clock from report to report.

    Attributes:
        still_ns: steady time since the clock last moved.
        jump_ns: how far it jumped between the last two reports, 0 for not; negative is back.
    """

    def __init__(self) -> None:
        self.still_ns = 0
        self.jump_ns = 0
        self._now_ns: int | None = None
        self._steady_ns = 0
        self._moved_ns: int | None = None

    def observe(self, *, simulated: bool, now_ns: int, steady_ns: int) -> ClockState:
        """Read the clock once.

        Args:
            simulated: parameter use_sim_time.
            now_ns: the node's clock.
            steady_ns: a clock that is never set.
        """
        before, passed = self._now_ns, steady_ns - self._steady_ns
        if now_ns != before or self._moved_ns is None:
            self._moved_ns = steady_ns
        self.still_ns = steady_ns - self._moved_ns
        self.jump_ns = 0
        # Simulated time begins anywhere, and at any speed; only going back is a jump there.
        if before:
            gained = now_ns - before - passed
            if now_ns - before < -JUMP_NS or (not simulated and abs(gained) > JUMP_NS):
                self.jump_ns = now_ns - before if simulated else gained
        self._now_ns, self._steady_ns = now_ns, steady_ns
        if not simulated:
            return ClockState.SYSTEM
        if now_ns == 0:
            return ClockState.MISSING
        return ClockState.STOPPED if self.still_ns > 0 else ClockState.RUNNING
