# SPDX-License-Identifier: Apache-2.0
"""Finds the homography from ordinary pairs: no target, no clicks, edges only.

First every scale, small roll and shift on small pictures, all frames together, so that a wrong
frame is outvoted; then a refinement on larger ones. Two halves of the picture are refined on their
own: where they disagree, or nothing stands out, the scene cannot tell and there is no result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.calibration.fields import Field, orientation_field, shrink
from segmif_ros.calibration.points import CalibrationError, rms_between
from segmif_ros.registration import Calibration

Matrix = NDArray[np.float64]

MOST_FRAMES = 12
LARGEST_DISAGREEMENT_PX = 6.0
"""At 640 pixels of width: what the two halves of the picture may differ."""
LEAST_PROMINENCE = 2.0
"""How far the best alignment must stand out over the best one elsewhere.

Pairs of different places reach 1.4, several good pairs of one rig 2.2 and more.
"""
_COARSE_WIDTH = 160
_FINE_WIDTHS = (160, 320)
_SCALES = np.geomspace(0.7, 1.6, 29)
_ROLLS_DEG = (-3.0, 0.0, 3.0)
_LEAST_OVERLAP = 0.5
_FINEST_STEP_PX = 0.1
_GROUND_WEIGHT = 0.1
"""What an edge on the lowest row counts; what is above the middle of the picture counts 1."""


@dataclass(frozen=True, slots=True, eq=False)
class AutomaticFit:
    """What the pictures gave.

    Attributes:
        calibration: ready to be saved.
        disagreement_px: between two halves of the picture, RMS over the RGB image.
        prominence: how far the alignment stands out over the best one elsewhere; 1 is not at all.
        agreement_before: correlation of the edges when thermal is only scaled, -1 to 1.
        agreement: the same with the calibration.
        frames: pairs used.
    """

    calibration: Calibration
    disagreement_px: float
    prominence: float
    agreement_before: float
    agreement: float
    frames: int


def align(
    rgb: Sequence[NDArray[Any]],
    thermal: Sequence[NDArray[Any]],
    *,
    scale: float | None = None,
) -> AutomaticFit:
    """Find where thermal pixels lie in the RGB image.

    Args:
        rgb: grey HxW pictures of one size; evenly spaced ones are picked where there are many.
        thermal: hxw of any depth, one for each of `rgb`.
        scale: RGB pixels per thermal pixel where it is known (from the fields of view).

    Raises:
        CalibrationError: no pictures, sizes that change, or the scene cannot tell.
    """
    rgb, thermal = _checked(rgb, thermal)
    rgb_size = (int(rgb[0].shape[0]), int(rgb[0].shape[1]))
    thermal_size = (int(thermal[0].shape[0]), int(thermal[0].shape[1]))
    level = _Level(rgb, thermal, _COARSE_WIDTH)
    start, prominence = _search(level, scale)
    matrix, halves = start, [start, start]
    for width in _FINE_WIDTHS:
        level = _Level(rgb, thermal, width)
        halves = [
            _refine(level, half, tiles)
            for half, tiles in zip(halves, level.checkerboard(), strict=True)
        ]
        matrix = _refine(level, matrix, None)
    plain = np.diag([rgb_size[1] / thermal_size[1], rgb_size[0] / thermal_size[0], 1.0])
    plain[:2, 2] = (np.diag(plain)[:2] - 1.0) / 2.0
    calibration = Calibration(rgb_size, thermal_size, matrix)
    disagreement = rms_between(halves[0], halves[1], calibration)
    allowed = LARGEST_DISAGREEMENT_PX * rgb_size[1] / 640
    if prominence < LEAST_PROMINENCE or disagreement > allowed:
        raise CalibrationError(
            f"the {len(rgb)} pairs do not tell where thermal lies in the RGB image (halves of the "
            f"picture disagree by {disagreement:.1f} px, at most {allowed:.1f}; prominence "
            f"{prominence:.2f}, at least {LEAST_PROMINENCE}); take daylight pairs with buildings, "
            "vehicles or people over the whole picture, or calibrate from points"
        )
    source = f"automatic from {len(rgb)} pairs, halves agree within {disagreement:.1f} px RMS"
    return AutomaticFit(
        Calibration(rgb_size, thermal_size, matrix, source),
        disagreement,
        prominence,
        level.agreement(plain),
        level.agreement(matrix),
        len(rgb),
    )


class _Level:
    """All pairs at one resolution."""

    def __init__(
        self, rgb: Sequence[NDArray[Any]], thermal: Sequence[NDArray[Any]], width: int
    ) -> None:
        self.factor = max(rgb[0].shape[1] / width, 1.0)
        self.rgb = [_less_below(orientation_field(shrink(image, self.factor))) for image in rgb]
        # Both at about one resolution; what the thermal camera does not resolve is left as it is.
        self.thermal_factor = max(thermal[0].shape[1] / width, 1.0)
        self.grey = [shrink(image, self.thermal_factor) for image in thermal]
        self.thermal = [orientation_field(image) for image in self.grey]
        self.rgb_size = (int(self.rgb[0].shape[0]), int(self.rgb[0].shape[1]))
        self.thermal_size = (int(self.thermal[0].shape[0]), int(self.thermal[0].shape[1]))
        ys, xs = np.mgrid[0 : self.rgb_size[0], 0 : self.rgb_size[1]]
        self._grid = np.stack([xs.ravel(), ys.ravel(), np.ones(xs.size)])

    def to_level(self, matrix: Matrix) -> Matrix:
        """From full pictures to this level."""
        return np.asarray(
            np.linalg.inv(_zoom(self.factor)) @ matrix @ _zoom(self.thermal_factor), np.float64
        )

    def to_full(self, matrix: Matrix) -> Matrix:
        """From this level to full pictures."""
        return np.asarray(
            _zoom(self.factor) @ matrix @ np.linalg.inv(_zoom(self.thermal_factor)), np.float64
        )

    def checkerboard(self) -> Iterator[NDArray[np.float32]]:
        """Two halves of the picture that both reach all over it."""
        ys, xs = np.mgrid[0 : self.rgb_size[0], 0 : self.rgb_size[1]]
        cell = self.rgb_size[1] / 8
        odd = ((xs // cell + ys // cell) % 2).astype(np.float32)
        yield odd
        yield 1.0 - odd

    def agreement(self, matrix: Matrix, tiles: NDArray[np.float32] | None = None) -> float:
        """Correlation of the edges, mean over the pairs."""
        return self.score(self.to_level(matrix), tiles)

    def score(self, matrix: Matrix, tiles: NDArray[np.float32] | None) -> float:
        """The same for a matrix of this level."""
        source = np.linalg.inv(matrix) @ self._grid
        x, y = (source[:2] / source[2]).astype(np.float32).reshape(2, *self.rgb_size)
        inside = (x >= 0) & (y >= 0) & (x <= self.thermal_size[1] - 1)
        inside &= y <= self.thermal_size[0] - 1
        weight = inside.astype(np.float32)
        share = float(weight.mean())
        if tiles is not None:
            weight *= tiles
        first, second = cv2.convertMaps(x, y, cv2.CV_16SC2)
        total = 0.0
        for seen, warm in zip(self.rgb, self.thermal, strict=True):
            warped = cv2.remap(warm, first, second, cv2.INTER_LINEAR) * weight[..., None]
            visible = seen * weight[..., None]
            power = float(np.vdot(warped, warped)) * float(np.vdot(visible, visible))
            total += float(np.vdot(warped, visible)) / (power**0.5 + 1e-6)
        # Without it, ever smaller overlaps would win by chance.
        return float(total / len(self.rgb) * share**0.5)


def _less_below(field: Field) -> Field:
    """Let the ground count less: it is near, and shifted against the rest by parallax."""
    rows = np.linspace(0.0, 1.0, len(field))
    weight = np.interp(rows, (0.55, 1.0), (1.0, _GROUND_WEIGHT)).astype(np.float32)
    return np.asarray(field * weight[:, None, None], np.float32)


def _zoom(factor: float) -> Matrix:
    """From a reduced picture to the full one, pixel centres kept."""
    offset = (factor - 1.0) / 2.0
    return np.array([[factor, 0.0, offset], [0.0, factor, offset], [0.0, 0.0, 1.0]])


def _checked(
    rgb: Sequence[NDArray[Any]], thermal: Sequence[NDArray[Any]]
) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    if not rgb or len(rgb) != len(thermal):
        raise CalibrationError(f"{len(rgb)} RGB and {len(thermal)} thermal pictures; give pairs")
    for name, images in (("RGB", rgb), ("thermal", thermal)):
        sizes = sorted({image.shape for image in images})
        if len(sizes) > 1 or len(sizes[0]) != 2 or min(sizes[0]) < 32:
            raise CalibrationError(
                f"{name} pictures of (height, width) {sizes}; expected grey ones of one size, "
                "32 pixels or more"
            )
    picked = np.unique(np.linspace(0, len(rgb) - 1, MOST_FRAMES).round().astype(int))
    return [rgb[i] for i in picked], [thermal[i] for i in picked]


def _search(level: _Level, scale: float | None) -> tuple[Matrix, float]:
    """Try every scale, roll and shift; return the best and how far it stands out."""
    height, width = level.rgb_size
    base = width / level.thermal_size[1]
    scales = base * _SCALES
    if scale is not None:
        scales = scale * level.thermal_factor / level.factor * np.geomspace(0.97, 1.03, 3)
    padded = (_even(2 * height), _even(2 * width))
    seen = _Spectra.of(_unit(level.rgb), np.ones((height, width), np.float32), padded)
    found: list[tuple[float, Matrix]] = []
    for factor in scales:
        for roll in _ROLLS_DEG:
            turned = _turned(level, float(factor), roll, padded)
            if turned is not None:
                matrix, fields, mask = turned
                score = _scores(seen, _Spectra.of(_unit(fields), mask, padded), padded)
                found.extend(_peaks(score, matrix, padded))
    found.sort(key=lambda item: -item[0])
    if not found or found[0][0] <= 0.0:
        raise CalibrationError(
            "the pictures hold no edges that both cameras share; take pairs with buildings, "
            "vehicles or people, or calibrate from points"
        )
    best = found[0]
    frame = Calibration((height, width), (1, 1), np.eye(3))
    elsewhere = [
        score for score, matrix in found if rms_between(best[1], matrix, frame) > 0.08 * width
    ]
    prominence = best[0] / max(max(elsewhere, default=0.0), 0.02)
    return level.to_full(best[1]), prominence


class _Spectra(NamedTuple):
    """Fourier transforms of all pictures of one camera."""

    fields: list[NDArray[Any]]
    power: NDArray[Any]
    area: NDArray[Any]
    pixels: float

    @classmethod
    def of(
        cls, fields: Sequence[Field], mask: NDArray[np.float32], padded: tuple[int, int]
    ) -> _Spectra:
        """Transform fields and where they have data, padded with 0."""
        power = np.sum([np.sum(each**2, axis=2) for each in fields], axis=0)
        return cls(
            [np.fft.rfft2(each, padded, axes=(0, 1)) for each in fields],
            np.fft.rfft2(power, padded),
            np.fft.rfft2(mask, padded),
            float(mask.sum()),
        )


def _scores(seen: _Spectra, warm: _Spectra, padded: tuple[int, int]) -> NDArray[np.float64]:
    """Correlation for every shift at once, all pairs together; -1 where the overlap is small."""
    cross = np.sum(
        [np.sum(a * np.conj(b), axis=2) for a, b in zip(seen.fields, warm.fields, strict=True)],
        axis=0,
    )
    match, area, left, right = (
        np.fft.irfft2(each, padded)
        for each in (
            cross,
            seen.area * np.conj(warm.area),
            seen.power * np.conj(warm.area),
            seen.area * np.conj(warm.power),
        )
    )
    share = np.sqrt(np.maximum(area, 0.0) / seen.pixels)
    score = match / np.sqrt(np.maximum(left * right, 1e-6)) * share
    score[area < _LEAST_OVERLAP * min(seen.pixels, warm.pixels)] = -1.0
    return np.asarray(score, np.float64)


def _unit(fields: Sequence[Field]) -> list[Field]:
    return [each / (float(np.linalg.norm(each)) + 1e-6) for each in fields]


def _turned(
    level: _Level, factor: float, roll_deg: float, padded: tuple[int, int]
) -> tuple[Matrix, list[Field], NDArray[np.float32]] | None:
    """Thermal fields scaled and rolled, the matrix that did it, and where they have data."""
    height, width = level.thermal_size
    size = (round(height * factor), round(width * factor))
    if size[0] > padded[0] or size[1] > padded[1] or min(size) < 16:
        return None
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    turn = cv2.getRotationMatrix2D((float(middle[0]), float(middle[1])), roll_deg, factor)
    turn[:, 2] += np.array([(size[1] - 1) / 2, (size[0] - 1) / 2]) - middle
    fields = [
        orientation_field(
            np.asarray(
                cv2.warpAffine(grey, turn, size[::-1], borderMode=cv2.BORDER_REPLICATE), np.float32
            )
        )
        for grey in level.grey
    ]
    mask = np.ones(size, np.float32)
    return np.vstack([turn, [0.0, 0.0, 1.0]]), fields, mask


def _peaks(
    score: NDArray[np.float64], matrix: Matrix, padded: tuple[int, int]
) -> Iterator[tuple[float, Matrix]]:
    """Best shifts of one scale and roll."""
    rest = score.copy()
    for _ in range(3):
        y, x = np.unravel_index(int(rest.argmax()), rest.shape)
        value = float(rest[y, x])
        dx = int(x) if 2 * x < padded[1] else int(x) - padded[1]
        dy = int(y) if 2 * y < padded[0] else int(y) - padded[0]
        shift = np.array([[1.0, 0.0, dx], [0.0, 1.0, dy], [0.0, 0.0, 1.0]])
        yield value, shift @ matrix
        rows, columns = np.arange(y - 8, y + 9) % padded[0], np.arange(x - 8, x + 9) % padded[1]
        rest[np.ix_(rows, columns)] = -1.0


def _even(length: int) -> int:
    return int(cv2.getOptimalDFTSize(length))


def _refine(level: _Level, matrix: Matrix, tiles: NDArray[np.float32] | None) -> Matrix:
    """Climb to the best agreement nearby: scale, roll and shift.

    Tilt is left out: edges at many distances would pull it more than they tell about it.
    """
    start = level.to_level(matrix)
    best, here = np.zeros(4), level.score(start, tiles)
    step = 2.0
    while step > _FINEST_STEP_PX:
        improved = False
        for axis in range(4):
            for sign in (1.0, -1.0):
                trial = best.copy()
                trial[axis] += sign * step
                score = level.score(_nudge(trial, level.rgb_size) @ start, tiles)
                if score > here:
                    best, here, improved = trial, score, True
                    break
        if not improved:
            step /= 2.0
    return level.to_full(_nudge(best, level.rgb_size) @ start)


def _nudge(by: NDArray[np.float64], size: tuple[int, int]) -> Matrix:
    """A small change around the picture's centre; each entry moves its rim by so many pixels."""
    scale, roll, dx, dy = by
    half = size[1] / 2.0
    c, s = 1.0 + scale / half, roll / half
    change = np.array([[c, -s, dx], [s, c, dy], [0.0, 0.0, 1.0]])
    centre = np.eye(3)
    centre[:2, 2] = (size[1] - 1) / 2.0, (size[0] - 1) / 2.0
    return np.asarray(centre @ change @ np.linalg.inv(centre), np.float64)
