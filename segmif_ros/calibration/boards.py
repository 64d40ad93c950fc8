# SPDX-License-Identifier: Apache-2.0
"""Both cameras and their mounting from views of a board, or one homography at its distance.

Inconsistent views (motion blur, wrong corner order, partial boards) are detected by their residual,
first per camera and then between the cameras, and left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.calibration.board_corners import Pattern
from segmif_ros.calibration.points import (
    MOST,
    OUTLIER_PX,
    CalibrationError,
    Points,
    fit_points,
    project,
)
from segmif_ros.registration import Calibration, Intrinsics, RigCalibration

FEWEST_VIEWS = 8
"""Least number of views for the lens parameters."""
_LENS = cv2.CALIB_FIX_K3
"""k1, k2, p1, p2: a third radial term is not constrained outside the boards."""
_ENOUGH_PX = 0.4
"""No view is left out for a residual below this."""
_TIMES_MEDIAN = 3.0
_FEWEST_HALF = 6
_STEREO = _LENS | cv2.CALIB_USE_INTRINSIC_GUESS
_PRECISION = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 100, 1e-9)

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class BoardSighting:
    """One board in simultaneous pictures of both cameras.

    Attributes:
        name: of the view.
        rgb: Nx2 corners in the RGB picture, in the order of `Pattern.points`.
        thermal: Nx2, the same corners in the thermal picture.
    """

    name: str
    rgb: Points
    thermal: Points


@dataclass(frozen=True, slots=True)
class ViewResidual:
    """Residuals of one view, pixels RMS.

    Attributes:
        name: of the view.
        depth_m: depth of the board along the RGB camera's axis, metres.
        rgb_px: RGB camera alone.
        thermal_px: thermal camera alone.
        between_px: from the pose seen by RGB to the thermal picture.
        reason: why it was left out; empty if used.
    """

    name: str
    depth_m: float
    rgb_px: float
    thermal_px: float
    between_px: float
    reason: str = ""

    def line(self) -> str:
        """Return the view as one line."""
        if self.reason:
            return f"{self.name}: left out, {self.reason}"
        return (
            f"{self.name}: at {self.depth_m:.2f} m, RGB {self.rgb_px:.2f}, thermal "
            f"{self.thermal_px:.2f}, between the cameras {self.between_px:.2f} px"
        )


@dataclass(frozen=True, slots=True, eq=False)
class BoardFit:
    """Result of the calibration from boards.

    Attributes:
        calibration: ready to be saved.
        residual_px: between the cameras, RMS over the views in use, thermal pixels.
        views: one for each sighting.
        halves_px: registration by every other view against that by the rest, RMS over the RGB
            image: accuracy of the result; NaN with too few views.
        coverage: share of the RGB picture inside the outermost corners of the views in use.
    """

    calibration: RigCalibration
    residual_px: float
    views: tuple[ViewResidual, ...]
    halves_px: float
    coverage: float


@dataclass(frozen=True, slots=True, eq=False)
class FlatFit:
    """A homography from boards.

    Attributes:
        calibration: ready to be saved.
        residual_px: RMS over the views in use, RGB pixels.
        left_out: one line for each view at another distance.
    """

    calibration: Calibration
    residual_px: float
    left_out: tuple[str, ...]


class _Lens(NamedTuple):
    """One camera in OpenCV's parameters."""

    matrix: Vector
    distortion: Vector


class _Mounting(NamedTuple):
    """From the RGB to the thermal optical frame: rotation vector and translation."""

    rotation: Vector
    translation: Vector


class _Rig(NamedTuple):
    """The result in OpenCV's parameters."""

    rgb: _Lens
    thermal: _Lens
    mounting: _Mounting


class _Setup(NamedTuple):
    """Given values: board and picture sizes (height, width)."""

    pattern: Pattern
    rgb_size: tuple[int, int]
    thermal_size: tuple[int, int]


def fit_rig(
    sightings: Sequence[BoardSighting],
    pattern: Pattern,
    rgb_size: tuple[int, int],
    thermal_size: tuple[int, int],
    depth_m: tuple[float, float],
) -> BoardFit:
    """Calibrate both lenses and the mounting.

    Args:
        sightings: eight or more, spread over both pictures, with different tilts of the board.
        pattern: of the board.
        rgb_size: (height, width).
        thermal_size: (height, width).
        depth_m: nearest and furthest depth of the expected scene, metres.

    Raises:
        CalibrationError: too few views, or too few that agree.
        RegistrationError: the depth does not lie in front of both cameras.
    """
    setup = _Setup(pattern, rgb_size, thermal_size)
    reasons: dict[str, str] = {}
    used = _without_wrong_ones(list(sightings), setup, reasons)
    rig = _solve(used, setup)
    views = tuple(_residual(view, setup, rig, reasons.get(view.name, "")) for view in sightings)
    residual = float(np.sqrt(np.mean([view.between_px**2 for view in views if not view.reason])))
    calibration = _calibration(rig, setup, depth_m)
    halves = math.nan
    if len(used) >= 2 * _FEWEST_HALF:
        one, other = (_calibration(_solve(used[i::2], setup), setup, depth_m) for i in (0, 1))
        halves = difference_px(one, other)
    source = (
        f"{pattern.describe()}, {len(used)} of {len(sightings)} views, residual "
        f"{residual:.2f} px RMS"
    )
    if math.isfinite(halves):
        source += f", halves of the views agree within {halves:.2f} px"
    coverage = _coverage([view.rgb for view in used], rgb_size)
    return BoardFit(replace(calibration, source=source), residual, views, halves, coverage)


def fit_plane(
    sightings: Sequence[BoardSighting],
    pattern: Pattern,
    rgb_size: tuple[int, int],
    thermal_size: tuple[int, int],
) -> FlatFit:
    """Fit one homography to all corners, valid at the distance of the board.

    Args:
        sightings: one or more; preferably several at one distance, spread over the picture.
        pattern: of the board.
        rgb_size: (height, width).
        thermal_size: (height, width).

    Raises:
        CalibrationError: no view, or corners that contradict each other.
    """
    if not sightings:
        raise CalibrationError(f"no view shows the whole {pattern.describe()} in both pictures")
    rgb = np.vstack([each.rgb for each in sightings])
    thermal = np.vstack([each.thermal for each in sightings])
    picked = np.unique(np.linspace(0, len(rgb) - 1, MOST).round().astype(int))
    try:
        fit = fit_points(thermal[picked], rgb[picked], thermal_size, rgb_size)
    except CalibrationError as err:
        raise CalibrationError(
            f"no homography fits the board in {len(sightings)} views: {err}; hold it at one "
            "distance, facing the cameras, or leave out --flat"
        ) from err
    squares, left_out = [], []
    for each in sightings:
        offsets = project(fit.calibration.homography, each.thermal) - each.rgb
        square = float(np.mean(np.sum(offsets**2, axis=1)))
        if square > OUTLIER_PX**2:
            left_out.append(f"{each.name}: left out, {square**0.5:.1f} px off the others")
        else:
            squares.append(square)
    residual = float(np.sqrt(np.mean(squares)))
    source = (
        f"{pattern.describe()}, homography of {len(squares)} of {len(sightings)} views at the "
        f"board's distance, residual {residual:.2f} px RMS"
    )
    return FlatFit(replace(fit.calibration, source=source), residual, tuple(left_out))


def difference_px(first: RigCalibration, second: RigCalibration) -> float:
    """Return the registration difference of two rigs, RMS over the common RGB view, pixels."""
    height, width = first.rgb_size
    ys, xs = np.mgrid[0 : height - 1 : 24j, 0 : width - 1 : 32j]
    grid = np.column_stack([xs.ravel(), ys.ravel()])
    (one, seen), (other, also) = first.to_thermal(grid), second.to_thermal(grid)
    limit = np.array(first.thermal_size)[::-1] - 1
    inside = seen & also & ((one >= 0) & (one <= limit)).all(axis=1)
    if not inside.any():
        return float("nan")
    scale = first.rgb.matrix[0, 0] / first.thermal.matrix[0, 0]
    apart = np.sum((one[inside] - other[inside]) ** 2, axis=1)
    return float(np.sqrt(np.mean(apart)) * scale)


def _without_wrong_ones(
    views: list[BoardSighting], setup: _Setup, reasons: dict[str, str]
) -> list[BoardSighting]:
    """Return the consistent views; write the reasons of the others to `reasons`."""

    def check(errors: Vector, what: str) -> bool:
        """Leave out outliers; return whether there were any."""
        limit = max(_ENOUGH_PX, _TIMES_MEDIAN * float(np.median(errors)))
        for view, error in zip(list(views), errors.tolist(), strict=True):
            if error > limit:
                reasons[view.name] = f"{error:.1f} px off {what}, at most {limit:.1f}"
                views.remove(view)
        return bool((errors > limit).any())

    while True:
        if len(views) < FEWEST_VIEWS:
            raise CalibrationError(
                f"{len(views)} good views of the whole board in both pictures, {FEWEST_VIEWS} are "
                f"needed ({len(reasons)} left out); hold it still all over the picture, at several "
                "distances and tilts, or fit its own distance only with --flat"
            )
        rgb, errors = _lens([view.rgb for view in views], setup.pattern, setup.rgb_size)
        if check(errors, "in the RGB camera alone"):
            continue
        thermal, errors = _lens([view.thermal for view in views], setup.pattern, setup.thermal_size)
        if check(errors, "in the thermal camera alone"):
            continue
        rig = _Rig(rgb, thermal, _median_mounting(views, setup, rgb, thermal))
        errors = np.array([_between(view, setup, rig) for view in views])
        if not check(errors, "between the cameras"):
            return views


def _lens(
    corners: Sequence[Points], pattern: Pattern, size: tuple[int, int]
) -> tuple[_Lens, Vector]:
    """Calibrate one camera; return it and the residual of every view."""
    objects = [pattern.points()] * len(corners)
    images = [np.asarray(each, np.float32).reshape(-1, 1, 2) for each in corners]
    found = cv2.calibrateCameraExtended(
        objects, images, size[::-1], np.eye(3), np.zeros(5), flags=_LENS, criteria=_PRECISION
    )
    return _Lens(found[1], found[2].ravel()), found[7].ravel()


def _solve(views: Sequence[BoardSighting], setup: _Setup) -> _Rig:
    """Find both lenses and the mounting from consistent views."""
    rgb, _ = _lens([view.rgb for view in views], setup.pattern, setup.rgb_size)
    thermal, _ = _lens([view.thermal for view in views], setup.pattern, setup.thermal_size)
    found = cv2.stereoCalibrate(
        [setup.pattern.points()] * len(views),
        [np.asarray(view.rgb, np.float32).reshape(-1, 1, 2) for view in views],
        [np.asarray(view.thermal, np.float32).reshape(-1, 1, 2) for view in views],
        rgb.matrix,
        rgb.distortion,
        thermal.matrix,
        thermal.distortion,
        setup.rgb_size[::-1],
        flags=_STEREO,
        criteria=_PRECISION,
    )
    vector, _ = cv2.Rodrigues(found[5])
    return _Rig(
        _Lens(found[1], found[2].ravel()),
        _Lens(found[3], found[4].ravel()),
        _Mounting(vector.ravel(), found[6].ravel()),
    )


def _median_mounting(
    views: Sequence[BoardSighting], setup: _Setup, rgb: _Lens, thermal: _Lens
) -> _Mounting:
    """Return a mounting that is robust against a few wrong views."""
    vectors = []
    for view in views:
        seen = _pose(view.rgb, setup.pattern, rgb)
        warm = _pose(view.thermal, setup.pattern, thermal)
        back, _ = cv2.Rodrigues(seen.rotation)
        forth, _ = cv2.Rodrigues(warm.rotation)
        turn, _ = cv2.Rodrigues(forth @ back.T)
        vectors.append([turn.ravel(), warm.translation - forth @ back.T @ seen.translation])
    rotation, translation = np.median(np.array(vectors), axis=0)
    return _Mounting(rotation, translation)


def _pose(corners: Points, pattern: Pattern, lens: _Lens) -> _Mounting:
    _, turn, shift = cv2.solvePnP(pattern.points(), corners, lens.matrix, lens.distortion)
    return _Mounting(turn.ravel(), shift.ravel())


def _off(corners: Points, pose: _Mounting, pattern: Pattern, lens: _Lens) -> float:
    """Return the reprojection error of a pose, pixels RMS."""
    shown, _ = cv2.projectPoints(
        pattern.points(), pose.rotation, pose.translation, lens.matrix, lens.distortion
    )
    return float(np.sqrt(np.mean(np.sum((shown.reshape(-1, 2) - corners) ** 2, axis=1))))


def _between(view: BoardSighting, setup: _Setup, rig: _Rig) -> float:
    """Return the reprojection error in the thermal picture of the pose from RGB."""
    pose = _pose(view.rgb, setup.pattern, rig.rgb)
    moved = cv2.composeRT(pose.rotation, pose.translation, *rig.mounting)
    return _off(view.thermal, _Mounting(moved[0], moved[1]), setup.pattern, rig.thermal)


def _residual(view: BoardSighting, setup: _Setup, rig: _Rig, reason: str) -> ViewResidual:
    pattern = setup.pattern
    seen, warm = _pose(view.rgb, pattern, rig.rgb), _pose(view.thermal, pattern, rig.thermal)
    turn, _ = cv2.Rodrigues(seen.rotation)
    middle = turn @ pattern.points().mean(axis=0) + seen.translation
    return ViewResidual(
        view.name,
        float(middle[2]),
        _off(view.rgb, seen, pattern, rig.rgb),
        _off(view.thermal, warm, pattern, rig.thermal),
        _between(view, setup, rig),
        reason,
    )


def _calibration(rig: _Rig, setup: _Setup, depth_m: tuple[float, float]) -> RigCalibration:
    forth, _ = cv2.Rodrigues(rig.mounting.rotation)
    rgb, thermal = (
        Intrinsics(size, lens.matrix, "plumb_bob", tuple(lens.distortion.tolist()))
        for size, lens in ((setup.rgb_size, rig.rgb), (setup.thermal_size, rig.thermal))
    )
    return RigCalibration(rgb, thermal, forth.T, -forth.T @ rig.mounting.translation, *depth_m)


def _coverage(corners: Sequence[Points], size: tuple[int, int]) -> float:
    """Return the share of a picture inside the outermost corners of all views."""
    hull = cv2.convexHull(np.vstack(corners).astype(np.float32))
    return float(cv2.contourArea(hull)) / (size[0] * size[1])
