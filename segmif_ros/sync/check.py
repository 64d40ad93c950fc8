# SPDX-License-Identifier: Apache-2.0
"""Evaluates the timing of both cameras: problems, and values for the parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmif_ros.pairing import MILLISECOND
from segmif_ros.sync.clock_difference import ClockDifference
from segmif_ros.sync.clock_offset import ClockOffset, Motion, MotionMeter, clock_offset
from segmif_ros.sync.timing import StreamTiming, stream_timing

_LEAST_WAIT_MS = 50.0
_SMALLEST_OFFSET_MS = 3.0
_LONG_FREEZE_MS = 500.0
_STEADY_LEAD_MS = 500.0
"""Variation above which stamps and arrivals have unrelated clocks."""


class StreamLog:
    """Collects one camera frame by frame: three numbers per frame and one small picture."""

    def __init__(self) -> None:
        self.stamps_ns: list[int] = []
        self.arrivals_ns: list[int] = []
        self.frozen: list[bool] = []
        self.refused: dict[str, int] = {}
        self._motion: list[Motion] = []
        self._meter = MotionMeter()

    def add(self, stamp_ns: int, arrival_ns: int, image: NDArray[Any]) -> None:
        """Take one image: HxWx3 uint8 RGB or HxW thermal."""
        shift, same = self._meter.add(image)
        self.stamps_ns.append(stamp_ns)
        self.arrivals_ns.append(arrival_ns)
        self.frozen.append(same)
        self._motion.append(shift)

    def refuse(self, reason: str) -> None:
        """Count an image that cannot be used."""
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def timing(self) -> StreamTiming:
        """Assess the stamps."""
        return stream_timing(self.stamps_ns, self.arrivals_ns, self.frozen)

    def lead_ns(self) -> int | None:
        """Return stamps minus arrival times; None if the difference varies."""
        stamps, arrivals = np.array(self.stamps_ns), np.array(self.arrivals_ns)
        low, middle, high = np.percentile((stamps - arrivals)[stamps != 0], (25, 50, 75))
        return int(middle) if high - low < _STEADY_LEAD_MS * MILLISECOND else None

    def rising(self) -> tuple[NDArray[np.int64], Motion]:
        """Stamps and motion without frames whose stamps are 0 or go back."""
        kept, last = [], 0
        for i, stamp in enumerate(self.stamps_ns):
            if stamp > last:
                kept.append(i)
                last = stamp
        motion = np.array(self._motion).reshape(-1, 2)[kept]
        return np.array(self.stamps_ns, np.int64)[kept], motion


@dataclass(frozen=True, slots=True)
class SyncReport:
    """The result of `segmif sync-check`.

    Attributes:
        rgb: timing of the RGB camera.
        thermal: timing of the thermal camera.
        clocks: offset of the thermal stamps.
        paired: share of the slower camera's frames with a partner, after the settings; 0 to 1.
        settings: parameters of the node with the values to set.
        problems: what to check, one line each.
    """

    rgb: StreamTiming
    thermal: StreamTiming
    clocks: ClockOffset
    paired: float
    settings: Mapping[str, float] = field(default_factory=dict)
    problems: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        return asdict(self)


def sync_report(rgb: StreamLog, thermal: StreamLog) -> SyncReport:
    """Assess two cameras that were recorded together."""
    timings = rgb.timing(), thermal.timing()
    (rgb_ns, rgb_motion), (thermal_ns, thermal_motion) = rgb.rising(), thermal.rising()
    if len(rgb_ns) < 2 or len(thermal_ns) < 2:
        difference = ClockDifference(0)
        clocks = ClockOffset(None, reason="a camera has fewer than two usable stamps")
    else:
        apart = rgb.lead_ns(), thermal.lead_ns()
        clocks, difference = _clocks(rgb_ns, rgb_motion, thermal_ns, thermal_motion, apart)
    settings = _settings(*timings, clocks)
    paired = _paired(rgb_ns, thermal_ns, settings)
    problems = [
        *([difference.text()] if difference.matters() else []),
        *_problems("RGB", timings[0], rgb.refused),
        *_problems("thermal", timings[1], thermal.refused),
    ]
    return SyncReport(*timings, clocks, paired, settings, tuple(problems))


def _clocks(
    rgb_ns: NDArray[np.int64],
    rgb_motion: Motion,
    thermal_ns: NDArray[np.int64],
    thermal_motion: Motion,
    leads_ns: tuple[int | None, int | None],
) -> tuple[ClockOffset, ClockDifference]:
    """Compare the clocks by arrival, then refine the offset by the motion in the pictures."""
    difference = ClockDifference(0)
    if leads_ns[0] is not None and leads_ns[1] is not None:
        difference = ClockDifference(leads_ns[1] - leads_ns[0])
    offset_ms = difference.thermal_offset_ms if difference.matters() else 0.0
    if offset_ms is None:
        return ClockOffset(None, reason="no thermal_offset_ms corrects that"), difference
    moved_ns = thermal_ns + round(offset_ms * MILLISECOND)
    clocks = clock_offset(rgb_ns, rgb_motion, moved_ns, thermal_motion)
    if offset_ms:
        clocks = replace(clocks, offset_ms=(clocks.offset_ms or 0.0) - offset_ms)
    return clocks, difference


def _settings(rgb: StreamTiming, thermal: StreamTiming, clocks: ClockOffset) -> dict[str, float]:
    """Values for the node's parameters of the same names."""
    settings: dict[str, float] = {}
    if clocks.offset_ms is not None:
        # An offset below its own error is left out.
        real = abs(clocks.offset_ms) > max(_SMALLEST_OFFSET_MS, clocks.spread_ms)
        settings["thermal_offset_ms"] = -float(round(clocks.offset_ms)) if real else 0.0
    periods = [timing.period_ms for timing in (rgb, thermal) if timing.period_ms > 0]
    if len(periods) == 2:
        # The nearest frame of the faster camera is at most half its period away.
        jitter = rgb.jitter_ms + thermal.jitter_ms
        settings["tolerance_ms"] = float(math.ceil(min(periods) / 2.0 + jitter + 1.0))
        wait = max(periods) + jitter
        if rgb.delay_ms is not None and thermal.delay_ms is not None:
            # With wrong stamps the delay is wrong by the same amount.
            moved = settings.get("thermal_offset_ms", 0.0)
            late = (rgb.delay_p99_ms or 0.0) - thermal.delay_ms + moved
            later = (thermal.delay_p99_ms or 0.0) - moved - rgb.delay_ms
            wait += max(0.0, late, later)
        settings["max_wait_ms"] = max(_LEAST_WAIT_MS, 10.0 * math.ceil(wait / 10.0))
    return settings


def _paired(
    rgb_ns: NDArray[np.int64], thermal_ns: NDArray[np.int64], settings: Mapping[str, float]
) -> float:
    """Share of the slower camera's frames that have a partner within the tolerance."""
    if not len(rgb_ns) or not len(thermal_ns) or "tolerance_ms" not in settings:
        return 0.0
    moved = thermal_ns + round(settings.get("thermal_offset_ms", 0.0) * MILLISECOND)
    few, many = sorted((rgb_ns, moved), key=len)
    after = np.clip(np.searchsorted(many, few), 1, len(many) - 1) if len(many) > 1 else 0
    nearest = np.minimum(np.abs(many[after] - few), np.abs(many[after - 1] - few))
    return float((nearest <= settings["tolerance_ms"] * MILLISECOND).mean())


def _problems(who: str, timing: StreamTiming, refused: Mapping[str, int]) -> list[str]:
    """One line per problem."""
    lines = [f"{who}: {count} images refused: {reason}" for reason, count in refused.items()]
    if timing.zero_stamps:
        lines.append(f"{who}: {timing.zero_stamps} stamps are zero; make the driver set them")
    if timing.repeated_stamps:
        lines.append(f"{who}: {timing.repeated_stamps} stamps repeat the one before")
    if timing.out_of_order:
        lines.append(f"{who}: {timing.out_of_order} stamps lie before an earlier one")
    if timing.dropped:
        share = timing.dropped / (timing.dropped + timing.frames)
        lines.append(
            f"{who}: {timing.dropped} frames missing ({share:.1%}), longest gap "
            f"{timing.longest_gap_ms:.0f} ms; with the shipped Fast DDS profile none should be"
        )
    if timing.longest_freeze_ms > _LONG_FREEZE_MS:
        lines.append(
            f"{who}: the same picture for {timing.longest_freeze_ms:.0f} ms; a shutter (thermal, "
            "up to 3 s), a still picture, or a frozen camera"
        )
    if timing.delay_ms is None and timing.frames > timing.zero_stamps:
        lines.append(
            f"{who}: stamps and arrival have nothing in common; the driver stamps with a clock of "
            "its own, or the bag was recorded with another time"
        )
    return lines
