# SPDX-License-Identifier: Apache-2.0
"""Rate, jitter, drops and order of the stamps of one camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segmif_ros.pairing import MILLISECOND

_DROP_FROM = 1.5
"""Gap in periods from which a frame counts as lost."""
_LEAST_FRAMES = 3
_LARGEST_DELAY_MS = 10_000.0


@dataclass(frozen=True, slots=True)
class StreamTiming:
    """Timing of one camera; times in milliseconds.

    Attributes:
        frames: number of images.
        rate_hz: one over the median gap between stamps; 0 when unknown.
        jitter_ms: 95th percentile of the deviation of a gap from a whole number of periods.
        longest_gap_ms: the longest time without a frame.
        dropped: frames missing from the gaps.
        out_of_order: stamps before the one that came earlier.
        repeated_stamps: stamps equal to the one before.
        zero_stamps: stamps that were never set; left out of everything else.
        frozen_frames: images equal to the one before, bit by bit.
        longest_freeze_ms: the longest time that such images lasted.
        delay_ms: median of arrival minus stamp; None if the two clocks are unrelated.
        delay_p99_ms: its 99th percentile.
    """

    frames: int
    rate_hz: float
    jitter_ms: float
    longest_gap_ms: float
    dropped: int
    out_of_order: int
    repeated_stamps: int
    zero_stamps: int
    frozen_frames: int
    longest_freeze_ms: float
    delay_ms: float | None
    delay_p99_ms: float | None

    @property
    def period_ms(self) -> float:
        """Time between frames, 0 when unknown."""
        return 1e3 / self.rate_hz if self.rate_hz > 0 else 0.0


def stream_timing(
    stamps_ns: Sequence[int], arrivals_ns: Sequence[int], frozen: Sequence[bool]
) -> StreamTiming:
    """Assess one camera.

    Args:
        stamps_ns: header stamps in order of arrival.
        arrivals_ns: when each was recorded or received.
        frozen: whether each image equals the one before.
    """
    stamps, arrivals = np.array(stamps_ns, np.int64), np.array(arrivals_ns, np.int64)
    set_ = stamps != 0
    steps = np.diff(stamps[set_])
    gaps = np.diff(np.unique(stamps[set_])) / MILLISECOND
    period = float(np.median(gaps)) if len(gaps) + 1 >= _LEAST_FRAMES else 0.0
    whole = np.maximum(1, np.rint(gaps / period)) if period else np.ones_like(gaps)
    late = gaps > _DROP_FROM * period if period else np.zeros(len(gaps), bool)
    delays = (arrivals - stamps)[set_] / MILLISECOND
    # A driver that stamps with its uptime differs by years from the recorder's clock; so does one
    # whose clock is set later, until then.
    near = delays[np.abs(delays) < _LARGEST_DELAY_MS]
    known = 2 * len(near) > len(delays)
    return StreamTiming(
        frames=len(stamps),
        rate_hz=1e3 / period if period else 0.0,
        jitter_ms=float(np.percentile(np.abs(gaps - whole * period), 95)) if period else 0.0,
        longest_gap_ms=float(gaps.max()) if len(gaps) else 0.0,
        dropped=int((whole[late] - 1).sum()),
        out_of_order=int((steps < 0).sum()),
        repeated_stamps=int((steps == 0).sum()),
        zero_stamps=int((~set_).sum()),
        frozen_frames=int(np.sum(frozen)),
        longest_freeze_ms=_longest_freeze_ms(stamps, frozen),
        delay_ms=float(np.median(near)) if known else None,
        delay_p99_ms=float(np.percentile(near, 99)) if known else None,
    )


def _longest_freeze_ms(stamps: np.ndarray, frozen: Sequence[bool]) -> float:
    longest, begin = 0, 0
    for stamp, same in zip(stamps.tolist(), frozen, strict=True):
        if not same:
            begin = 0
        if stamp:  # a zero stamp is no reference
            begin = begin or stamp
            longest = max(longest, stamp - begin)
    return longest / MILLISECOND
