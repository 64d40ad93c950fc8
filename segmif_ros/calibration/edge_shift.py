# SPDX-License-Identifier: Apache-2.0
"""Correlates the edges of a registered pair over a range of shifts, cheaply enough to run live.

The picture is divided into tiles with separate scores, because a roll of the camera shifts every
tile in another direction. Scores of several pairs are averaged before they are evaluated: chance
peaks are at different shifts in each pair.

Pictures of half the width are also compared as a whole: the shift of uncalibrated cameras exceeds
the range of the tiles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.calibration.edge_agreement import (
    Field,
    has_data,
    inside,
    less_below,
    orientation_field,
    shrink,
)
from segmif_ros.frames import Image8

WIDTH = 320
"""Pictures are compared at this width."""
REACH = 24
"""Furthest shift that is tried, pixels at that width; 7.5 % of the picture, twice that coarsely."""
_FAR_PX = 18
"""From this shift along one axis, pixels at that width, half the width is used."""
_ROWS, _COLUMNS = 3, 4
_ROLLS_DEG = np.arange(-4.0, 4.01, 0.5)
_ROLL_GAIN = 2.0
"""Margin by which a roll must score above a pure shift, in standard deviations of chance."""
_PEAK_PX = 7
"""Radius of a peak; scores beyond it are chance."""
_SCENE_FACTOR = 4

Surface = NDArray[np.float32]
"""(2 * REACH + 1) squared: score for each shift of thermal down and to the right."""


@dataclass(frozen=True, slots=True, eq=False)
class TileScores:
    """Result of one pair, or the mean of several.

    Attributes:
        tiles: rows x columns x Surface; their sum is the correlation of the edges, -1 to 1.
        rgb_size: (height, width) of the RGB picture.
        scene: edges of the RGB picture, a quarter as wide; of the newest pair of several.
        coarse: the correlation at half the width; 0 for pictures that are too small for it.
    """

    tiles: NDArray[np.float32]
    rgb_size: tuple[int, int]
    scene: Field
    coarse: Surface

    @classmethod
    def mean(cls, several: Sequence[TileScores]) -> TileScores:
        """Average pairs of one size."""
        tiles, coarse = (
            np.asarray(np.mean(surfaces, axis=0, dtype=np.float32), np.float32)
            for surfaces in zip(*((each.tiles, each.coarse) for each in several), strict=True)
        )
        return cls(tiles, several[-1].rgb_size, several[-1].scene, coarse)

    def likeness(self, other: TileScores) -> float:
        """Correlation of the RGB edges of two pairs, -1 to 1: near 0 for two places."""
        power = cv2.norm(self.scene) * cv2.norm(other.scene)
        return float((self.scene * other.scene).sum()) / (power + 1e-6)


class Shift(NamedTuple):
    """Shift of thermal edges against those of the RGB picture.

    Attributes:
        dx, dy: shift to the right and down at the centre of the picture, RGB pixels.
        roll_deg: clockwise rotation, degrees.
        rms_px: the two together: RMS over the RGB picture, pixels.
        score: correlation of the edges there, -1 to 1.
        score_here: correlation without a shift.
        prominence: score above the mean of chance, in standard deviations of chance.
        loss: `score` minus `score_here`, in the same unit.
    """

    dx: float
    dy: float
    roll_deg: float
    rms_px: float
    score: float
    score_here: float
    prominence: float
    loss: float

    @property
    def agreement(self) -> float:
        """Score without a shift divided by the best score nearby, 0 to 1."""
        if self.score <= 0.0:
            return 0.0
        return min(1.0, max(0.0, self.score_here / self.score))


def large_enough(size: tuple[int, int]) -> bool:
    """Return whether pictures of this (height, width) are large enough to compare."""
    height, width = size
    factor = max(width / WIDTH, 1.0)
    return min(height, width) / factor >= REACH


def tile_scores(rgb: Image8, thermal: Image8, valid: NDArray[Any] | None = None) -> TileScores:
    """Compare one pair.

    Args:
        rgb: HxWx3.
        thermal: HxW, registered.
        valid: HxW, not 0 where `thermal` has data; None if everywhere. Narrow empty strips along
            the sides are left out in any case.

    Raises:
        ValueError: the two are not of one size, or too small (`large_enough`).
    """
    if rgb.shape[:2] != thermal.shape or rgb.ndim != 3:
        raise ValueError(f"RGB of shape {rgb.shape}, thermal {thermal.shape}; expected one size")
    if not large_enough((rgb.shape[0], rgb.shape[1])):
        raise ValueError(
            f"pictures of {rgb.shape[1]}x{rgb.shape[0]} pixels are too small to compare, expected "
            f"{REACH} pixels a side (of a picture up to {WIDTH} wide)"
        )
    factor = max(thermal.shape[1] / WIDTH, 1.0)
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    data = has_data(thermal) if valid is None else has_data(thermal) & (valid != 0)
    field, seen, border = _fields(grey, thermal, data, factor)
    height, width = seen.shape[:2]
    side = 2 * REACH + 1
    tiles = np.empty((_ROWS, _COLUMNS, side, side), np.float32)
    for row, column in np.ndindex(_ROWS, _COLUMNS):
        top, bottom = height * row // _ROWS, height * (row + 1) // _ROWS
        left, right = width * column // _COLUMNS, width * (column + 1) // _COLUMNS
        around = border[top : bottom + 2 * REACH, left : right + 2 * REACH]
        tiles[row, column] = _correlation(around, seen[top:bottom, left:right])
    coarse = np.zeros((side, side), np.float32)
    if min(height, width) >= 4 * REACH:
        _, halved, around = _fields(grey, thermal, data, 2.0 * factor)
        coarse = _correlation(around, halved) / _power(halved, around)
    small = (max(width // _SCENE_FACTOR, 1), max(height // _SCENE_FACTOR, 1))
    return TileScores(
        tiles / _power(seen, border),
        (int(rgb.shape[0]), int(rgb.shape[1])),
        np.asarray(cv2.resize(field, small, interpolation=cv2.INTER_AREA), np.float32),
        coarse,
    )


def _fields(
    grey: Image8, thermal: Image8, data: NDArray[np.bool_], factor: float
) -> tuple[Field, Field, Field]:
    """RGB edges, RGB edges with less weight on the ground, zero-padded thermal edges."""
    field = orientation_field(shrink(grey, factor))
    warm = orientation_field(shrink(thermal, factor)) * inside(shrink(data, factor))[..., None]
    return field, less_below(field), np.pad(warm, ((REACH, REACH), (REACH, REACH), (0, 0)))


def _power(seen: Field, warm: Field) -> np.float32:
    return np.float32(cv2.norm(seen, cv2.NORM_L2) * cv2.norm(warm, cv2.NORM_L2) + 1e-6)


def best_shift(scores: TileScores) -> Shift:
    """Return the shift with the highest score: a small one with its roll, or a large one.

    A large one is accurate to a few pixels only.
    """
    near, factor = _near_shift(scores), max(scores.rgb_size[1] / WIDTH, 1.0)
    level, deviation = _chance(scores.coarse)
    top, here = float(scores.coarse.max()), float(scores.coarse[REACH, REACH])
    dx, dy = (2.0 * factor * each for each in _peak(scores.coarse))
    prominence = (top - level) / deviation
    if max(abs(dx), abs(dy)) < _FAR_PX * factor or prominence <= near.prominence:
        return near
    return Shift(
        dx, dy, 0.0, math.hypot(dx, dy), top, here, prominence, loss=(top - here) / deviation
    )


def _near_shift(scores: TileScores) -> Shift:
    height, width = scores.rgb_size
    factor = max(width / WIDTH, 1.0)
    middle = len(_ROLLS_DEG) // 2
    surfaces = [_surface(scores, float(roll), factor) for roll in _ROLLS_DEG]
    tops = np.array([float(surface.max()) for surface in surfaces])
    plain = surfaces[middle]
    here = float(plain[REACH, REACH])
    chosen = int(tops.argmax())
    if tops[chosen] - tops[middle] < _ROLL_GAIN * _chance(plain)[1]:
        chosen = middle
    surface = surfaces[chosen]
    dx, dy = (factor * each for each in _peak(surface))
    level, deviation = _chance(surface)
    roll = float(_ROLLS_DEG[chosen])
    if 0 < chosen < len(tops) - 1 and chosen != middle:
        roll += float(_ROLLS_DEG[1] - _ROLLS_DEG[0]) * _vertex(*tops[chosen - 1 : chosen + 2])
    # A rotation moves a pixel in proportion to its distance from the centre: mean square of it.
    turned = math.radians(roll) ** 2 * (width**2 + height**2) / 12.0
    return Shift(
        dx=dx,
        dy=dy,
        roll_deg=roll,
        rms_px=math.sqrt(dx * dx + dy * dy + turned),
        score=float(tops[chosen]),
        score_here=here,
        prominence=(float(tops[chosen]) - level) / deviation,
        loss=(float(tops[chosen]) - here) / deviation,
    )


def _correlation(around: Field, tile: Field) -> Surface:
    total = sum(
        cv2.matchTemplate(
            np.ascontiguousarray(around[..., part]),
            np.ascontiguousarray(tile[..., part]),
            cv2.TM_CCORR,
        )
        for part in (0, 1)
    )
    return np.asarray(total, np.float32)


def _surface(scores: TileScores, roll_deg: float, factor: float) -> Surface:
    """Sum of all tiles, each sampled at its shift under a roll about the centre."""
    height, width = scores.rgb_size
    angle = math.radians(roll_deg)
    total = np.zeros(scores.tiles.shape[2:], np.float32)
    for row, column in np.ndindex(_ROWS, _COLUMNS):
        tile = scores.tiles[row, column]
        x = ((column + 0.5) / _COLUMNS - 0.5) * width / factor
        y = ((row + 0.5) / _ROWS - 0.5) * height / factor
        across = (math.cos(angle) - 1.0) * x - math.sin(angle) * y
        down = math.sin(angle) * x + (math.cos(angle) - 1.0) * y
        if roll_deg != 0.0:
            moved = np.array([[1.0, 0.0, across], [0.0, 1.0, down]])
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            tile = np.asarray(cv2.warpAffine(tile, moved, tile.shape[::-1], flags=flags))
        total += tile
    return total


def _chance(surface: Surface) -> tuple[float, float]:
    """Mean and standard deviation away from the peak."""
    v, u = np.unravel_index(int(surface.argmax()), surface.shape)
    far = np.ones(surface.shape, np.bool_)
    far[max(v - _PEAK_PX, 0) : v + _PEAK_PX + 1, max(u - _PEAK_PX, 0) : u + _PEAK_PX + 1] = False
    return float(surface[far].mean()), max(float(surface[far].std()), 1e-6)


def _peak(surface: Surface) -> tuple[float, float]:
    """Return (dx, dy) of the maximum with subpixel accuracy."""
    v, u = (int(each) for each in np.unravel_index(int(surface.argmax()), surface.shape))
    dx = dy = 0.0
    if 0 < u < surface.shape[1] - 1:
        dx = _vertex(*surface[v, u - 1 : u + 2])
    if 0 < v < surface.shape[0] - 1:
        dy = _vertex(*surface[v - 1 : v + 2, u])
    return u - REACH + dx, v - REACH + dy


def _vertex(before: float, top: float, after: float) -> float:
    """Vertex of the parabola through three points relative to the middle one, -0.5 to 0.5."""
    bend = float(before) - 2.0 * float(top) + float(after)
    return 0.0 if bend >= 0.0 else 0.5 * (float(before) - float(after)) / bend
