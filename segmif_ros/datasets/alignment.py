# SPDX-License-Identifier: Apache-2.0
"""How well the pairs of a data set lie on each other, from the edges that both cameras see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from segmif_ros.calibration.edge_shift import Shift, best_shift, large_enough, tile_scores
from segmif_ros.datasets.sample import Sample

OFF_PX = 2.0
"""A pair that is further off than this counts as off; small objects are a few pixels wide."""
_LEAST_PROMINENCE = 5.5
"""A single pair tells something from here; pairs of different places reach 5.2 by chance."""
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Alignment:
    """What the edges of all measured pairs say, in pixels of the RGB pictures.

    Attributes:
        measured: pairs that were looked at.
        told: pairs with enough edges in common to tell a shift; the rest of the numbers is of
            these, and None where there are none.
        median_px: median of how far thermal is off, a turn included.
        right_px: median shift of thermal to the right.
        down_px: median shift of thermal downwards.
        off_share: share of pairs off by more than `OFF_PX`.
        worst: names and pixels of the pairs that are furthest off.
    """

    measured: int
    told: int
    median_px: float | None = None
    right_px: float | None = None
    down_px: float | None = None
    off_share: float | None = None
    worst: tuple[tuple[str, float], ...] = ()

    def to_json(self) -> Mapping[str, Any]:
        """Return plain values."""
        return {**asdict(self), "limit_px": OFF_PX}


class AlignmentStatistic:
    """Measures pair by pair; keeps a few numbers of each."""

    def __init__(self) -> None:
        self._measured = 0
        self._told: list[tuple[str, Shift]] = []

    def add(self, sample: Sample) -> None:
        """Measure one pair (20 ms at 640x480); pairs that are too small tell nothing."""
        self._measured += 1
        size = (sample.rgb.shape[0], sample.rgb.shape[1])
        if not large_enough(size):
            return
        shift = best_shift(tile_scores(sample.rgb, sample.thermal))
        if shift.prominence >= _LEAST_PROMINENCE:
            self._told.append((sample.name, shift))

    def result(self) -> Alignment:
        """Return what was found so far."""
        shifts = [shift for _, shift in self._told]
        if not shifts:
            return Alignment(self._measured, 0)
        off = sorted(
            ((name, round(shift.rms_px, 2)) for name, shift in self._told),
            key=lambda item: -item[1],
        )
        return Alignment(
            self._measured,
            len(shifts),
            round(median(shift.rms_px for shift in shifts), 2),
            round(median(shift.dx for shift in shifts), 2),
            round(median(shift.dy for shift in shifts), 2),
            round(sum(shift.rms_px > OFF_PX for shift in shifts) / len(shifts), 4),
            tuple(item for item in off[:_NAMED] if item[1] > OFF_PX),
        )
