# SPDX-License-Identifier: Apache-2.0
"""Where to a picture moves from frame to frame, comparable between the cameras.

A turn or a bump of the vehicle moves both pictures at the same moment, whatever they show. What
passes by does not: two cameras side by side see it at different times, so only the shift of the
whole picture is measured.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 160, 120
_BLUR = 1.5
_FLAT = 1e-6
_LARGEST_VALUE = 1e6
"""No pixel is larger: neither counts nor degrees."""

Plane = NDArray[np.float32]
Motion = NDArray[np.float64]


class MotionMeter:
    """Measures one camera, frame after frame; keeps one small picture."""

    def __init__(self) -> None:
        self._last: Plane | None = None
        self._grid: NDArray[Any] | None = None
        self._window = cv2.createHanningWindow((WIDTH, HEIGHT), cv2.CV_32F)

    def add(self, image: NDArray[Any]) -> tuple[Motion, bool]:
        """Take the next image.

        Args:
            image: HxWx3 uint8 RGB, or HxW thermal of any depth.

        Returns:
            Shift in x and y as shares of width and height, NaN for the first image; and whether
            the image equals the one before (told from every fourth row and column, which a live
            sensor's noise never leaves alone).
        """
        grid = np.ascontiguousarray(image[::4, ::4])
        same = (
            self._grid is not None
            and self._grid.shape == grid.shape
            and np.array_equal(self._grid, grid)
        )
        self._grid = grid
        small = normalised(image)
        last, self._last = self._last, small
        if last is None:
            return np.full(2, np.nan), False
        if not (last.any() and small.any()):
            return np.zeros(2), same  # of flat pictures a correlation says anything
        (dx, dy), _ = cv2.phaseCorrelate(_edges(last), _edges(small), self._window)
        return np.array([dx / WIDTH, dy / HEIGHT]), same


def normalised(image: NDArray[Any]) -> Plane:
    """HxW[x3] of any depth -> HEIGHTxWIDTH float32 of mean 0 and deviation 1; zeros if flat."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
    grey = grey.astype(np.float32)
    sound = np.abs(grey) < _LARGEST_VALUE  # not so for NaN
    if not sound.all():
        # In the colour of the rest: a hole in the same place of every frame would hold it still.
        grey[~sound] = grey[sound].mean() if sound.any() else 0.0
    small = cv2.resize(grey, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), _BLUR)
    mean, spread = float(small.mean()), float(small.std())
    if spread <= _FLAT * max(1.0, abs(mean)):
        return np.zeros_like(small)
    return np.asarray((small - mean) / spread, np.float32)


def _edges(picture: Plane) -> Plane:
    """Strength of edges: looks alike in both cameras, and an even change of light is nothing."""
    x = cv2.Sobel(picture, cv2.CV_32F, 1, 0)
    y = cv2.Sobel(picture, cv2.CV_32F, 0, 1)
    return np.asarray(np.sqrt(cv2.magnitude(x, y)), np.float32)
