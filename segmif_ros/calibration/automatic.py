# SPDX-License-Identifier: Apache-2.0
"""Finds the homography from the edges of ordinary pairs, without a target.

The search first tests all scales, small rolls and shifts on small pictures, with the sum over all
frames to suppress wrong ones, and then refines on larger pictures. Without a distinct peak it only
tests alignments close to plain scaling, against the chance level of mirrored pictures. It refines
two halves of the picture separately and rejects the result if they disagree.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.calibration.edge_agreement import Field, Level, Mask, inside, orientation_field
from segmif_ros.calibration.points import CalibrationError, rms_between
from segmif_ros.calibration.turned_camera import Matrix, Placement, TurnedCamera, climb
from segmif_ros.registration import Calibration

_LEAST_OVERLAP = 0.5
_ELSEWHERE = 0.08
"""Distance between different alignments as a share of the width."""


class Range(NamedTuple):
    """Search range.

    Attributes:
        scales: RGB pixels per thermal pixel of the full pictures.
        rolls_deg: degrees.
        reach: furthest shift between the centres of the pictures as a share of the RGB width.
    """

    scales: NDArray[np.float64]
    rolls_deg: tuple[float, ...]
    reach: float


def search(level: Level, tried: Range) -> tuple[Matrix, float]:
    """Return the best homography between full pictures, and its prominence.

    Raises:
        CalibrationError: no correlation at any alignment.
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
        """Transform zero-padded fields and their valid masks."""
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
    """Scaled and rolled thermal fields, the matrix, and the valid masks."""
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
    """Return which shifts move the centre of the picture further than `reach`."""
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


MOST_FRAMES = 12
LARGEST_DISAGREEMENT_PX = 6.0
"""Largest difference between the two halves of the picture, pixels at a width of 640."""
LARGEST_DISAGREEMENT_SHARE = 1 / 3
"""The same as a share of the change by the calibration, if larger."""
LEAST_PROMINENCE = 2.0
"""Least ratio of the best alignment to the best different one, or to chance.

Pairs of different places reach 1.4, several good pairs of one rig 2.2 and more.
"""
ACCURACY_PX = 2.0
"""Accuracy of edges at many distances, pixels at a width of 640; smaller changes are ignored."""
USUAL_HFOV_DEG = 60.0
"""Default focal length of the RGB camera; affects only the perspective of a rotation."""
_FINE_WIDTHS = (160, 320)
_WIDE_SCALES = np.geomspace(0.7, 1.6, 29)
_NEAR_SCALES = np.geomspace(0.93, 1.07, 8)
_KNOWN_SCALES = np.geomspace(0.97, 1.03, 3)
_WIDE_ROLLS_DEG = (-3.0, 0.0, 3.0)
_NEAR_ROLLS_DEG = (-4.0, -2.0, 0.0, 2.0, 4.0)
_NEAR_REACH = 0.09
_TURNED = (0.0, 0.5, 1.0)
_LEAST_CHANCE = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class AutomaticFit:
    """Result of the automatic calibration.

    Attributes:
        calibration: ready to be saved.
        change_px: measured shift against thermal only scaled, RMS over the RGB image.
            Below the accuracy of the method, the calibration leaves thermal only scaled.
        disagreement_px: between two halves of the picture, RMS over the RGB image.
        prominence: ratio to the best other alignment; 1 is not distinct.
        agreement_before: correlation of the edges when thermal is only scaled, -1 to 1.
        agreement: the same with the calibration.
        frames: pairs used.
    """

    calibration: Calibration
    change_px: float
    disagreement_px: float
    prominence: float
    agreement_before: float
    agreement: float
    frames: int


class _Fitted(NamedTuple):
    """A refined homography, one for each half of the picture, and its agreement."""

    matrix: Matrix
    halves: tuple[Matrix, Matrix]
    agreement: float


class _Verdict(NamedTuple):
    """Change by a fit, difference of its halves (RMS, px), and reason of a refusal."""

    change_px: float
    disagreement_px: float
    reason: str


def align(
    rgb: Sequence[NDArray[Any]],
    thermal: Sequence[NDArray[Any]],
    *,
    scale: float | None = None,
    focal_px: float | None = None,
) -> AutomaticFit:
    """Find the homography from thermal to RGB pixels.

    Args:
        rgb: grey HxW pictures of one size; evenly spaced ones are picked where there are many.
        thermal: hxw of any depth, one for each of `rgb`.
        scale: RGB pixels per thermal pixel where it is known (from the fields of view).
        focal_px: focal length of the RGB camera in pixels where it is known.

    Raises:
        CalibrationError: no pictures, sizes that change, or an inconclusive scene.
    """
    rgb, thermal = _checked(rgb, thermal)
    rgb_size = (int(rgb[0].shape[0]), int(rgb[0].shape[1]))
    thermal_size = (int(thermal[0].shape[0]), int(thermal[0].shape[1]))
    if focal_px is None:
        focal_px = rgb_size[1] / 2 / math.tan(math.radians(USUAL_HFOV_DEG) / 2)
    camera = TurnedCamera(rgb_size, thermal_size, focal_px)
    levels = [Level(rgb, thermal, width) for width in _FINE_WIDTHS]
    plain = np.diag([rgb_size[1] / thermal_size[1], rgb_size[0] / thermal_size[0], 1.0])
    plain[:2, 2] = (np.diag(plain)[:2] - 1.0) / 2.0

    base = rgb_size[1] / thermal_size[1]
    scales = base * _WIDE_SCALES if scale is None else scale * _KNOWN_SCALES
    start, prominence = search(levels[0], Range(scales, _WIDE_ROLLS_DEG, math.inf))
    fitted = _refined(levels, camera, start) if prominence >= LEAST_PROMINENCE else None
    verdict = _judged(fitted, prominence, plain, camera, 0.0)
    if verdict.reason and scale is None:
        near = Range(base * _NEAR_SCALES, _NEAR_ROLLS_DEG, _NEAR_REACH)
        start, _ = search(levels[0], near)
        fitted = _refined(levels, camera, start)
        prominence = fitted.agreement / _chance(rgb, thermal, camera, near)
        verdict = _judged(fitted, prominence, plain, camera, LARGEST_DISAGREEMENT_SHARE)
    if fitted is None or verdict.reason:
        raise CalibrationError(
            f"no reliable alignment of thermal and RGB in {len(rgb)} pairs "
            f"({verdict.reason}); take daylight pairs with buildings, vehicles or people over the "
            "whole picture, or calibrate from points"
        )
    source = f", halves agree within {verdict.disagreement_px:.1f} px RMS"
    matrix = fitted.matrix
    if verdict.change_px < ACCURACY_PX * rgb_size[1] / 640:
        matrix = plain
        change = f"{verdict.change_px:.1f} px RMS is below the accuracy of the method"
        source = f": registered already, {change}"
    return AutomaticFit(
        Calibration(rgb_size, thermal_size, matrix, f"automatic from {len(rgb)} pairs{source}"),
        verdict.change_px,
        verdict.disagreement_px,
        prominence,
        levels[-1].agreement(plain),
        levels[-1].agreement(matrix),
        len(rgb),
    )


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


def _judged(
    fitted: _Fitted | None, prominence: float, plain: Matrix, camera: TurnedCamera, share: float
) -> _Verdict:
    """Evaluate a fit; `share`: largest difference of the halves as a share of the change."""
    if fitted is None or prominence < LEAST_PROMINENCE:
        reason = f"prominence {prominence:.2f}, at least {LEAST_PROMINENCE}"
        return _Verdict(math.nan, math.nan, reason)
    frame = Calibration(camera.rgb_size, camera.thermal_size, fitted.matrix)
    change = rms_between(plain, fitted.matrix, frame)
    disagreement = rms_between(*fitted.halves, frame)
    allowed = max(LARGEST_DISAGREEMENT_PX * camera.rgb_size[1] / 640, share * change)
    reason = ""
    if disagreement > allowed:
        reason = f"halves of the picture disagree by {disagreement:.1f} px, at most {allowed:.1f}"
    return _Verdict(change, disagreement, reason)


def _refined(levels: Sequence[Level], camera: TurnedCamera, start: Matrix) -> _Fitted:
    """Optimise from `start` for several shares of rotation; return the best."""
    place = camera.placement(start)
    tried = [replace(camera, turned=turned) for turned in _TURNED]
    found = [_climbed(levels, turning, place) for turning in tried]
    best = int(np.argmax([agreement for agreement, _ in found]))
    agreement, whole = found[best]
    camera = tried[best]
    halves = []
    for half in (0, 1):
        # From the initial value: starting at the common result would hardly change a half.
        _, alone = _climbed(levels, camera, place, half)
        halves.append(camera.matrix(alone))
    return _Fitted(camera.matrix(whole), (halves[0], halves[1]), agreement)


def _climbed(
    levels: Sequence[Level], camera: TurnedCamera, place: Placement, half: int | None = None
) -> tuple[float, Placement]:
    """Refine from level to level, on the whole picture or on one half of it."""
    agreement = -1.0
    for level in levels:
        tiles = None if half is None else level.checkerboard()[half]
        score = partial(level.agreement, tiles=tiles)
        place, agreement = climb(score, camera, place, level.factor)
    return agreement, place


def _chance(
    rgb: Sequence[NDArray[Any]],
    thermal: Sequence[NDArray[Any]],
    camera: TurnedCamera,
    tried: Range,
) -> float:
    """Return the chance level: the result of the same search with mirrored thermal pictures."""
    best = _LEAST_CHANCE
    for mirror in (np.s_[::-1], np.s_[:, ::-1]):
        levels = [Level(rgb, [image[mirror] for image in thermal], w) for w in _FINE_WIDTHS]
        start, _ = search(levels[0], tried)
        agreement, _ = _climbed(levels, camera, camera.placement(start))
        best = max(best, agreement)
    return best
