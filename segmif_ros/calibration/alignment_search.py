# SPDX-License-Identifier: Apache-2.0
"""Tries every scale, roll and shift on small pictures, all pairs together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.calibration.edge_agreement import Level, Mask, inside
from segmif_ros.calibration.fields import Field, orientation_field
from segmif_ros.calibration.points import CalibrationError, rms_between
from segmif_ros.calibration.turned_camera import Matrix
from segmif_ros.registration import Calibration

_LEAST_OVERLAP = 0.5
_ELSEWHERE = 0.08
"""Share of the width from which an alignment counts as another one."""


class Range(NamedTuple):
    """What to try.

    Attributes:
        scales: RGB pixels per thermal pixel of the full pictures.
        rolls_deg: degrees.
        reach: furthest shift between the centres of the pictures as a share of the RGB width.
    """

    scales: NDArray[np.float64]
    rolls_deg: tuple[float, ...]
    reach: float


def search(level: Level, tried: Range) -> tuple[Matrix, float]:
    """Return the best homography between full pictures, and how far it stands out.

    Raises:
        CalibrationError: nothing agrees anywhere.
    """
    height, width = level.rgb_size
    padded = (_even(2 * height), _even(2 * width))
    seen = _Spectra.of(_unit(level.rgb), np.ones((height, width), np.float32), padded)
    found: list[tuple[float, Matrix]] = []
    for factor in tried.scales * level.thermal_factor / level.factor:
        for roll in tried.rolls_deg:
            turned = _turned(level, float(factor), roll, padded)
            if turned is not None:
                matrix, fields, mask = turned
                score = _scores(seen, _Spectra.of(_unit(fields), mask, padded), padded)
                score[_too_far(mask, (height, width), tried.reach, padded)] = -1.0
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
        score for score, matrix in found if rms_between(best[1], matrix, frame) > _ELSEWHERE * width
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
    def of(cls, fields: Sequence[Field], mask: Mask, padded: tuple[int, int]) -> _Spectra:
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
    level: Level, factor: float, roll_deg: float, padded: tuple[int, int]
) -> tuple[Matrix, list[Field], Mask] | None:
    """Thermal fields scaled and rolled, the matrix that did it, and where they have data."""
    height, width = level.thermal_size
    size = (round(height * factor), round(width * factor))
    if size[0] > padded[0] or size[1] > padded[1] or min(size) < 16:
        return None
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    turn = cv2.getRotationMatrix2D((float(middle[0]), float(middle[1])), roll_deg, factor)
    turn[:, 2] += np.array([(size[1] - 1) / 2, (size[0] - 1) / 2]) - middle
    fields = []
    for grey, data in zip(level.grey, level.masks, strict=True):
        moved = cv2.warpAffine(grey, turn, size[::-1], borderMode=cv2.BORDER_REPLICATE)
        whole = cv2.warpAffine(data, turn, size[::-1], borderMode=cv2.BORDER_REPLICATE)
        field = orientation_field(np.asarray(moved, np.float32))
        fields.append(field * inside(np.asarray(whole, np.float32))[..., None])
    mask = np.ones(size, np.float32)
    return np.vstack([turn, [0.0, 0.0, 1.0]]), fields, mask


def _too_far(
    mask: Mask, rgb_size: tuple[int, int], reach: float, padded: tuple[int, int]
) -> NDArray[np.bool_]:
    """Tell which shifts move the centre of the picture further than `reach`."""
    far = []
    for axis in (0, 1):
        shift = np.arange(padded[axis])
        shift = np.where(2 * shift < padded[axis], shift, shift - padded[axis])
        centred = (rgb_size[axis] - mask.shape[axis]) / 2
        far.append(np.abs(shift - centred) > reach * rgb_size[1])
    return np.asarray(far[0][:, None] | far[1][None, :])


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
