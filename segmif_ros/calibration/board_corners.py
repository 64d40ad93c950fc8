# SPDX-License-Identifier: Apache-2.0
"""Finds a checkerboard or a grid of discs in a picture of either camera, to a tenth of a pixel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.calibration.edge_agreement import shrink
from segmif_ros.calibration.points import Points, project
from segmif_ros.frames import Image8

_SURROUND = 0.06
"""Window of the brightness normalisation as a share of the width; wider than a field."""
_ENLARGE_BELOW = 400
"""Narrower pictures are also searched enlarged: fields of 6 pixels are too small."""
_WINDOW = 0.4
"""Half the refinement window as a share of the smallest distance between corners."""
_SMALLEST_WINDOW_PX = 4
_STRAIGHT = 0.4
"""Largest distortion of the board as a share of the distance between its corners."""
_MOST_BLOBS = 6
"""Largest ratio of spots in a picture to discs; above it the search takes minutes."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """The printed pattern of the board.

    Attributes:
        columns: inner corners, or discs, in a row; 3 or more.
        rows: the same in a column, 3 or more.
        square_m: distance between neighbours, metres.
        circles: a grid of discs, row below row, instead of a checkerboard.
    """

    columns: int
    rows: int
    square_m: float
    circles: bool = False

    def __post_init__(self) -> None:
        if min(self.columns, self.rows) < 3 or max(self.columns, self.rows) > 50:
            raise ValueError(
                f"pattern of {self.columns}x{self.rows}: expected 3 to 50 inner corners (or discs) "
                "in a row and in a column"
            )
        if not 0.001 <= self.square_m <= 10.0:
            raise ValueError(
                f"square of {self.square_m} m: expected 0.001 to 10 m between neighbours"
            )

    @property
    def count(self) -> int:
        """Corners, or discs, of the whole board."""
        return self.columns * self.rows

    def points(self) -> NDArray[np.float32]:
        """Return the corners row by row on the board, Nx3 metres, the first at the origin."""
        ys, xs = np.mgrid[0 : self.rows, 0 : self.columns]
        flat = np.column_stack([xs.ravel(), ys.ravel(), np.zeros(xs.size)])
        return np.asarray(flat * self.square_m, np.float32)

    def describe(self) -> str:
        """Return the pattern as text."""
        kind = "circle grid" if self.circles else "checkerboard"
        return f"{kind} of {self.columns}x{self.rows}, {self.square_m * 1000:g} mm"


def find_board(image: NDArray[Any], pattern: Pattern) -> Points | None:
    """Return corners or centres row by row, Nx2 pixels, or None without a complete board.

    Dark print is bright on a warm board, so both contrasts are tried.

    Args:
        image: grey HxW of any depth.
        pattern: what to look for.
    """
    plain = stretched(image)
    for picture, factor in _variants(image, plain):
        found = _circles(picture, pattern) if pattern.circles else _corners(picture, pattern)
        if found is not None and _is_grid(found, pattern):
            points = (found + 0.5) / factor - 0.5
            return points if pattern.circles else _refined(plain, points, pattern)
    return None


def same_order(rgb: Points, thermal: Points, pattern: Pattern) -> Points:
    """Return the thermal points in the order of the RGB points.

    A board is symmetric under rotation by 180 degrees. The cameras have about the same orientation,
    so the order of corners with the same directions in both pictures is chosen.
    """
    grid = thermal.reshape(pattern.rows, pattern.columns, 2)
    ways = [grid, grid[::-1, ::-1], grid[:, ::-1], grid[::-1]]
    if pattern.rows == pattern.columns:
        ways += [np.swapaxes(way, 0, 1) for way in ways]
    wanted = _directions(rgb.reshape(pattern.rows, pattern.columns, 2))
    best = max(ways, key=lambda way: float(np.sum(_directions(way) * wanted)))
    return np.ascontiguousarray(best.reshape(-1, 2))


def stretched(image: NDArray[Any]) -> Image8:
    """Return HxW uint8: a linear stretch of the main range of a picture of any depth."""
    grey = shrink(image, 1.0)
    low, high = np.percentile(grey, (1.0, 99.9))
    return np.asarray(
        np.clip((grey - low) * (255.0 / max(high - low, 1e-6)), 0, 255).astype(np.uint8)
    )


def _levelled(image: NDArray[Any]) -> Image8:
    """Return HxW uint8 with locally normalised brightness and contrast."""
    grey = shrink(image, 1.0)
    around = _SURROUND * image.shape[1]
    grey -= cv2.GaussianBlur(grey, (0, 0), around)
    contrast = np.sqrt(cv2.GaussianBlur(grey * grey, (0, 0), around))
    grey /= contrast + max(0.1 * float(contrast.max()), 1e-6)
    return np.asarray(np.clip(grey * 64.0 + 128.0, 0, 255).astype(np.uint8))


def _variants(image: NDArray[Any], plain: Image8) -> Iterator[tuple[Image8, int]]:
    """Yield pictures to search and their scale, the most likely first."""
    levelled = _levelled(image)
    yield plain, 1
    yield levelled, 1
    if image.shape[1] < _ENLARGE_BELOW:
        for factor in (2, 3):
            for picture in (plain, levelled):
                size = (picture.shape[1] * factor, picture.shape[0] * factor)
                yield np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)), factor


def _corners(picture: Image8, pattern: Pattern) -> Points | None:
    # Of its flags, "normalize" loses small boards before a large flat background.
    for flags in (0, cv2.CALIB_CB_EXHAUSTIVE):
        found, corners = cv2.findChessboardCornersSB(
            picture, (pattern.columns, pattern.rows), flags=flags
        )
        if found:
            return np.asarray(corners, np.float64).reshape(-1, 2)
    return None


def _circles(picture: Image8, pattern: Pattern) -> Points | None:
    # The only name in OpenCV 4.5 of apt; the stubs have the newer one.
    settings = cv2.SimpleBlobDetector_Params()  # type: ignore[attr-defined]
    settings.minArea, settings.maxArea = 12.0, picture.size / 60.0
    settings.minDistBetweenBlobs = 4.0
    detector = cv2.SimpleBlobDetector.create(settings)
    for contrast in (picture, np.asarray(cv2.bitwise_not(picture))):
        if not pattern.count <= len(detector.detect(contrast)) <= _MOST_BLOBS * pattern.count:
            continue
        for flags in (
            cv2.CALIB_CB_SYMMETRIC_GRID,
            cv2.CALIB_CB_SYMMETRIC_GRID | cv2.CALIB_CB_CLUSTERING,
        ):
            found, centres = cv2.findCirclesGrid(
                contrast, (pattern.columns, pattern.rows), flags=flags, blobDetector=detector
            )
            if found:
                return np.asarray(centres, np.float64).reshape(-1, 2)
    return None


def _is_grid(points: Points, pattern: Pattern) -> bool:
    """Return whether points form a board: its rows and columns are straight after rectification."""
    flat = pattern.points()[:, :2] / pattern.square_m
    matrix, _ = cv2.findHomography(flat, points)
    if matrix is None:
        return False
    off = project(np.asarray(matrix, np.float64), flat.astype(np.float64)) - points
    grid = points.reshape(pattern.rows, pattern.columns, 2)
    spacing = float(np.median(np.linalg.norm(np.diff(grid, axis=1), axis=2)))
    return float(np.abs(off).max()) < _STRAIGHT * spacing


def _refined(plain: Image8, corners: Points, pattern: Pattern) -> Points:
    """Refine each corner by the gradients around it."""
    grid = corners.reshape(pattern.rows, pattern.columns, 2)
    nearest = min(float(np.linalg.norm(np.diff(grid, axis=axis), axis=2).min()) for axis in (0, 1))
    # A window of two pixels holds too few gradients; the picture between pixels is smooth.
    factor = max(1, int(np.ceil(_SMALLEST_WINDOW_PX / (_WINDOW * nearest))))
    size = (plain.shape[1] * factor, plain.shape[0] * factor)
    picture = cv2.resize(plain, size, interpolation=cv2.INTER_CUBIC) if factor > 1 else plain
    half = int(_WINDOW * nearest * factor)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 50, 1e-3)
    start = np.asarray((corners + 0.5) * factor - 0.5, np.float32).reshape(-1, 1, 2)
    moved = cv2.cornerSubPix(picture, start.copy(), (half, half), (-1, -1), criteria)
    # Discard corners that moved too far.
    stayed = np.linalg.norm(moved - start, axis=2) < half / 2
    kept = np.where(stayed[..., None], moved, start).reshape(-1, 2).astype(np.float64)
    return np.asarray((kept + 0.5) / factor - 0.5)


def _directions(grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return unit vectors along the rows and down the columns of a grid of points, 2x2."""
    along = (grid[:, -1] - grid[:, 0]).mean(axis=0)
    down = (grid[-1] - grid[0]).mean(axis=0)
    return np.stack([along / np.linalg.norm(along), down / np.linalg.norm(down)])
