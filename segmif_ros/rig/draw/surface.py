# SPDX-License-Identifier: Apache-2.0
"""The ground in a camera's view: where pixels touch it, tiles that slide along it, its shadows."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.rig.cameras.cameras import Pose
from segmif_ros.rig.draw.items import Polygons, Sprite
from segmif_ros.rig.draw.placement import SUBPIXEL, Placed
from segmif_ros.rig.draw.raster import NEAR_M, Canvas, Shape, depth_code

Image = NDArray[np.uint8]

FULL = 128
"""Light factors are stored in 8 bits with this for 1."""


class ShadowCanvas(Canvas):
    """Fills how much light is left on the ground, at half the resolution."""

    def _values(
        self, batch: list[Polygons], rows: NDArray[np.intp], _depth: NDArray[np.float64], /
    ) -> list[Any]:
        left: list[Any] = np.concatenate([item.bgr[:, 0] for item in batch])[rows].tolist()
        return left

    def _fill(self, _label: int, shapes: list[Shape], values: list[Any], /) -> None:
        for shape, value in zip(shapes, values, strict=True):
            cv2.fillConvexPoly(self.labels, shape, value, cv2.LINE_8, SUBPIXEL + 1)

    def _paste(self, item: Sprite, placed: Placed) -> None:
        raise NotImplementedError


class GroundView:
    """Geometry of the ground in one camera: where each pixel below the horizon touches it.

    Attributes:
        top: first row with ground in it.
        x: (rows, W) street coordinate to the right, metres.
        z: (rows, W) distance ahead of the rig, metres.
        depth: (rows, W) uint8 depth codes.
    """

    def __init__(self, pose: Pose) -> None:
        k = pose.intrinsics
        street = pose.rays()
        down = -street[..., 1]
        rows = np.flatnonzero((down > 1e-4).all(axis=1))
        self.top = int(rows[0]) if len(rows) else k.height
        street, down = street[self.top :], np.maximum(down[self.top :], 1e-4)
        scale = float(pose.centre[1]) / down
        self.x = float(pose.centre[0]) + street[..., 0] * scale
        self.z = float(pose.centre[2]) + street[..., 2] * scale
        self.depth = depth_code(np.maximum(scale, NEAR_M))

    def lookup(self, metres: float, size: int) -> NDArray[np.int16]:
        """Return remap coordinates into a `size`-pixel tile that is `metres` wide."""
        step = size / metres
        table = np.empty((*self.x.shape, 2), np.int16)
        for index, place in enumerate((self.x, self.z)):
            # Sizes are powers of two; what is far away is faded out, wherever it falls.
            texel = np.clip(place * step, -1e6, 1e6).astype(np.int32)
            table[..., index] = texel & (size - 1)
        return table

    def fade(self, until: float) -> NDArray[np.float32]:
        """Return (rows, W) weights that fall from 1 near by to 0 beyond `until` metres."""
        weight: NDArray[np.float32] = np.clip(1.35 - self.z / until, 0.0, 1.0)
        return weight


class Scroller:
    """A ground tile that slides towards the rig as it drives."""

    def __init__(self, tile: Image, metres: float, view: GroundView, strength: Image) -> None:
        self._tile = np.vstack([tile, tile])
        self._size, self._metres = tile.shape[0], metres
        self._map = view.lookup(metres, self._size)
        self._strength = strength
        base = FULL - strength.astype(np.float32) * (FULL / 255.0)
        self._base = np.clip(base + 0.5, 0, 255).astype(np.uint8)

    def at(self, travelled: float) -> Image:
        """Return brightness factors (FULL = 1) after `travelled` metres."""
        start = int(travelled / self._metres * self._size) % self._size
        tile = self._tile[start : start + self._size]
        shown = cv2.remap(tile, self._map, None, cv2.INTER_NEAREST)
        faded: Image = cv2.add(cv2.multiply(shown, self._strength, scale=1 / 255), self._base)
        return faded


def shadow_map(areas: list[Polygons], pose: Pose, top: int) -> Image | None:
    """Return how much light is left on the ground below row `top`, 255 = all; None without shadow.

    Args:
        areas: `Shadows.at`.
        pose: the camera.
        top: first row of the result.
    """
    if not areas:
        return None
    k = pose.intrinsics
    left = np.full(((k.height + 1) // 2, (k.width + 1) // 2), 255, np.uint8)
    ShadowCanvas(pose, left).draw(areas)
    soft = cv2.blur(left[top // 2 :], (7, 3))
    shade: Image = cv2.resize(soft, (k.width, k.height - top), interpolation=cv2.INTER_LINEAR)
    return shade
