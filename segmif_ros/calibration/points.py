# SPDX-License-Identifier: Apache-2.0
"""Computes a homography from corresponding points, with its residual.

A homography needs four points of which no three lie on a line, in both images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.files import read_text
from segmif_ros.registration import Calibration

Points = NDArray[np.float64]
"""Nx2, (x, y) in pixels; the centre of the upper left pixel is (0, 0)."""

FEWEST = 4
MOST = 500
ROBUST_FROM = 7
"""Least number of pairs with which a wrong one can be detected."""
OUTLIER_PX = 3.0
"""RGB pixels from which a pair counts as wrong."""
_ON_LINE = 0.01
"""Share of the image diagonal within which points count as lying on one line."""


class CalibrationError(ValueError):
    """The input allows no calibration; the message names it and the next step."""


@dataclass(frozen=True, slots=True, eq=False)
class PointFit:
    """Result of the calibration from points.

    Attributes:
        calibration: ready to be saved.
        rms_px: residual of the pairs in use, RGB pixels; 0 with four pairs, without meaning.
        used: N bool, False for pairs that contradict the others.
    """

    calibration: Calibration
    rms_px: float
    used: NDArray[np.bool_]


def read_pairs(arguments: Sequence[str]) -> tuple[Points, Points]:
    """Read point pairs: one file name, or the pairs themselves as "tx,ty,rx,ry".

    A file has one pair per line, four numbers between commas or blanks; # starts a comment.

    Returns:
        Thermal and RGB points.

    Raises:
        CalibrationError: the file cannot be read, or a line is not four numbers.
    """
    if len(arguments) == 1 and "," not in arguments[0]:
        path = Path(arguments[0])
        try:
            lines = read_text(path).splitlines()
        except (OSError, UnicodeDecodeError) as err:
            raise CalibrationError(
                f"point file {str(path)!r} cannot be read: {err}; give a text file with "
                "thermal x, y and RGB x, y on each line"
            ) from err
        named = [(f"{path} line {number}", line) for number, line in enumerate(lines, 1)]
    else:
        named = [(f"pair {number}", text) for number, text in enumerate(arguments, 1)]
    rows = []
    for name, line in named:
        text = line.partition("#")[0].strip()
        if text:
            rows.append(_four_numbers(name, text))
    table = np.array(rows, np.float64).reshape(-1, 4)
    return table[:, :2], table[:, 2:]


def fit_points(
    thermal: Points,
    rgb: Points,
    thermal_size: tuple[int, int],
    rgb_size: tuple[int, int],
) -> PointFit:
    """Fit the homography that takes the thermal points to the RGB points.

    Args:
        thermal: Nx2, N >= 4.
        rgb: Nx2, the same points in the RGB image.
        thermal_size: (height, width) of the thermal image.
        rgb_size: (height, width) of the RGB image.

    Raises:
        CalibrationError: too few points, outside the image, on a line, mirrored, or
            contradicting each other.
    """
    count = len(thermal)
    if not FEWEST <= count <= MOST:
        raise CalibrationError(f"{count} point pairs; give {FEWEST} to {MOST}")
    for camera, points, size in (("thermal", thermal, thermal_size), ("RGB", rgb, rgb_size)):
        _check_inside(camera, points, size)
        _check_spread(camera, points, size, np.arange(count))
    robust = count >= ROBUST_FROM
    matrix, mask = cv2.findHomography(thermal, rgb, cv2.RANSAC if robust else 0, OUTLIER_PX)
    if matrix is None:
        raise CalibrationError(
            f"no homography fits the {count} point pairs; check that each line names the same "
            "spot in both images"
        )
    used = mask.ravel().astype(bool) if robust else np.ones(count, bool)
    if 2 * used.sum() <= count or used.sum() < FEWEST:
        raise CalibrationError(
            f"only {used.sum()} of {count} point pairs agree with each other within "
            f"{OUTLIER_PX:g} px; check that each line names the same spot in both images, "
            "thermal x, y first"
        )
    for camera, points, size in (("thermal", thermal, thermal_size), ("RGB", rgb, rgb_size)):
        _check_spread(camera, points[used], size, np.flatnonzero(used))
    homography = np.asarray(matrix, np.float64)
    depth = np.column_stack([thermal[used], np.ones(used.sum())]) @ homography[2]
    if np.linalg.det(homography) <= 0 or depth.min() <= 0:
        raise CalibrationError(
            "the point pairs turn the picture inside out or mirror it; check the order of the "
            "points: thermal x, y, then RGB x, y"
        )
    residual = np.linalg.norm(project(homography, thermal[used]) - rgb[used], axis=1)
    rms = float(np.sqrt(np.mean(residual**2)))
    source = f"{used.sum()} of {count} points, residual {rms:.2f} px RMS"
    if count == FEWEST:
        source = f"{count} of {count} points, residual not known with so few"
    return PointFit(Calibration(rgb_size, thermal_size, homography, source), rms, used)


def project(homography: NDArray[np.float64], points: Points) -> Points:
    """Map points (Nx2) through a homography."""
    mapped = np.column_stack([points, np.ones(len(points))]) @ homography.T
    result: Points = mapped[:, :2] / mapped[:, 2:]
    return result


def rms_between(
    first: NDArray[np.float64], second: NDArray[np.float64], calibration: Calibration
) -> float:
    """Return the difference of two homographies, RMS over the RGB image, pixels.

    Args:
        first: 3x3, thermal to RGB.
        second: 3x3, thermal to RGB.
        calibration: for the size of the RGB image.
    """
    height, width = calibration.rgb_size
    ys, xs = np.mgrid[0 : height - 1 : 24j, 0 : width - 1 : 32j]
    grid = np.column_stack([xs.ravel(), ys.ravel()])
    moved = project(second @ np.linalg.inv(first), grid)
    return float(np.sqrt(np.mean(np.sum((moved - grid) ** 2, axis=1))))


def _four_numbers(name: str, text: str) -> list[float]:
    try:
        numbers = [float(word) for word in text.replace(",", " ").split()]
    except ValueError as err:
        raise CalibrationError(f"{name}: {err}; expected thermal x, y, RGB x, y") from err
    if len(numbers) != 4 or not np.isfinite(numbers).all():
        raise CalibrationError(
            f"{name}: {text!r} is not four finite numbers; expected thermal x, y, RGB x, y"
        )
    return numbers


def _check_inside(camera: str, points: Points, size: tuple[int, int]) -> None:
    limit = np.array([size[1], size[0]]) - 0.5
    for number, (x, y) in enumerate(points, 1):
        if not (-0.5 <= x <= limit[0] and -0.5 <= y <= limit[1]):
            raise CalibrationError(
                f"pair {number}: ({x:g}, {y:g}) lies outside the {camera} image of "
                f"{size[1]}x{size[0]} pixels; check the size and the order of the numbers"
            )


def _check_spread(
    camera: str, points: Points, size: tuple[int, int], index: NDArray[np.int_]
) -> None:
    """Refuse points that are on one line, except at most one."""
    tolerance = _ON_LINE * float(np.hypot(*size))
    for i in range(len(points)):
        offset = points - points[i]
        length = np.linalg.norm(offset, axis=1)
        away = length > tolerance
        along = offset[away] / length[away, None]
        off_line = np.abs(along[:, :1] * offset[:, 1] - along[:, 1:] * offset[:, 0])
        on_line = off_line <= tolerance
        worst = on_line[int(on_line.sum(axis=1).argmax())] if len(along) else ~away
        if worst.sum() >= len(points) - 1:
            names = ", ".join(str(number + 1) for number in index[worst])
            raise CalibrationError(
                f"pairs {names} lie on one line in the {camera} image; a homography needs four "
                "points of which no three do, spread over the picture"
            )
