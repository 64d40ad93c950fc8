# SPDX-License-Identifier: Apache-2.0
"""Where a textured rectangle lies in one picture, and how its texture gets there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.rig.draw.items import Texture

SUBPIXEL = 4
"""Corners are handed to OpenCV in 1 / 2**SUBPIXEL pixels."""


def fixed_point(pixels: NDArray[Any]) -> NDArray[np.int32]:
    """Return corners (..., 2) as OpenCV takes them; far away is as far as its integers allow."""
    near = np.clip(pixels, -20000.0, 20000.0)
    return np.asarray(np.rint(near * (1 << SUBPIXEL)).astype(np.int32))


@dataclass(slots=True, eq=False)
class Placed:
    """A sprite in one image: where it is, and how its texture gets there.

    Attributes:
        region: rows and columns of the image.
        corners: (4, 2) in the region, pixels.
        matrix: 3x3, full-size texture to region; None for an upright rectangle.
        part: share of the texture that an upright rectangle shows: left, top, right, bottom.
        shrink: how far the texture may be shrunk beforehand.
        depth: depth code of the sprite, or one for each column of the region.
    """

    region: tuple[slice, slice]
    corners: NDArray[np.float32]
    matrix: NDArray[np.float64] | None
    part: tuple[float, float, float, float]
    shrink: tuple[int, int]
    depth: NDArray[np.uint8] | int

    def outline(self) -> NDArray[np.uint8]:
        """Return a mask of the region: 255 where the sprite is."""
        mask = np.zeros(self._shape(), np.uint8)
        cv2.fillConvexPoly(mask, fixed_point(self.corners), 255, cv2.LINE_8, SUBPIXEL)
        return mask

    def _shape(self) -> tuple[int, int]:
        rows, cols = self.region
        return rows.stop - rows.start, cols.stop - cols.start

    def depths(self) -> NDArray[np.uint8]:
        """Return the depth code of every pixel of the region."""
        # Not a broadcast view: OpenCV reads past the end of one that is a single pixel wide.
        codes = np.empty(self._shape(), np.uint8)
        codes[:] = self.depth
        return codes

    def warp(self, texture: Texture, plane: NDArray[Any], flags: int) -> NDArray[Any]:
        """Return one plane of `texture` as it appears in the region."""
        size = self._shape()[::-1]
        height, width = plane.shape[:2]
        warped: NDArray[Any]
        if self.matrix is None:
            left, top, right, bottom = self.part
            x0, y0 = int(left * width), int(top * height)
            x1, y1 = max(round(right * width), x0 + 1), max(round(bottom * height), y0 + 1)
            warped = cv2.resize(plane[y0:y1, x0:x1], size, interpolation=flags)
            return warped
        matrix = self.matrix
        if width != texture.width or height != texture.height:
            matrix = matrix * (texture.width / width, texture.height / height, 1.0)
        border = cv2.BORDER_REPLICATE if texture.opaque else cv2.BORDER_CONSTANT
        warped = cv2.warpPerspective(plane, matrix, size, flags=flags, borderMode=border)
        return warped
