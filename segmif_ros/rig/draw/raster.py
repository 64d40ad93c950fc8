# SPDX-License-Identifier: Apache-2.0
"""Draws one list of street surfaces for a visible and for a thermal camera.

Surfaces come back to front (painter's order), so the label mask, the picture and the temperatures
are filled by the same polygons and cannot disagree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.rig.cameras.cameras import Pose
from segmif_ros.rig.draw.items import HEAT_ZERO, Item, Points, Polygons, Sprite, Texture
from segmif_ros.rig.draw.placement import SUBPIXEL, Placed, fixed_point

Shape = NDArray[np.int32]
"""Corners in pixels, times 2**SUBPIXEL."""

NEAR_M = 0.6
"""Surfaces nearer than this to a camera are cut off."""
SKEW_PX = 1.0
"""Sprites that deviate less than this from an upright rectangle are drawn as one."""
_ALL = (0.0, 0.0, 1.0, 1.0)
SPECK_PX = 0.3
"""Polygons that are narrower than this are left out."""
GLOW_DEPTH = 0
"""Depth code of luminous pixels."""
SKY_DEPTH = 255
_DEPTH_SCALE = 253.0 / math.log(400.0)


def depth_code(metres: NDArray[Any] | float) -> NDArray[np.uint8]:
    """Return the 8-bit logarithmic depth code (1 to 254) of distances in metres."""
    code = 1.0 + _DEPTH_SCALE * np.log(np.maximum(metres, 1.0))
    return np.clip(code + 0.5, 1, 254).astype(np.uint8)


def _code(metres: float) -> int:
    """Return `depth_code` of one distance, without going through an array."""
    return min(int(1.5 + _DEPTH_SCALE * math.log(max(metres, 1.0))), 254)


def depth_of_codes() -> Points:
    """Return the distance in metres for each of the 256 depth codes; infinite for the sky."""
    metres: Points = np.exp((np.arange(256) - 1.0) / _DEPTH_SCALE)
    metres[GLOW_DEPTH] = 1.0
    metres[SKY_DEPTH] = np.inf
    return metres


class Canvas:
    """What both kinds of picture share: projecting, clipping and culling.

    Attributes:
        pose: the camera.
        labels: HxW uint8 class ids.
    """

    def __init__(self, pose: Pose, labels: NDArray[np.uint8]) -> None:
        self.pose = pose
        self.labels = labels

    def draw(self, items: Sequence[Item]) -> None:
        """Draw `items` in their order."""
        shapes = self._flatten([item for item in items if isinstance(item, Polygons)])
        placed = self._place_all([item for item in items if isinstance(item, Sprite)])
        for item in items:
            if isinstance(item, Polygons):
                if id(item) in shapes:
                    self._fill(item.label, *shapes[id(item)])
            elif id(item) in placed:
                self._paste(item, placed[id(item)])

    def _fill(self, label: int, shapes: list[Shape], values: list[Any], /) -> None:
        """Fill polygons with what `_values` made of them."""
        raise NotImplementedError

    def _values(self, batch: list[Polygons], rows: NDArray[np.intp], depth: Points, /) -> list[Any]:
        """Return what to fill the faces `rows` of a batch with; `depth` is theirs, in metres."""
        raise NotImplementedError

    def _paste(self, item: Sprite, placed: Placed) -> None:
        raise NotImplementedError

    def _mark(self, label: int, covered: NDArray[np.uint8], placed: Placed) -> None:
        """Write a label where a sprite covers its region."""
        flat = _sheet(int(label), *self.labels.shape)
        cv2.copyTo(flat[placed.region], covered, self.labels[placed.region])

    def _flatten(self, items: list[Polygons]) -> dict[int, tuple[list[Shape], list[Any]]]:
        """Project all polygons, one batch for each corner count; leave out what is out of sight."""
        found: dict[int, tuple[list[Shape], list[Any]]] = {}
        for corners in {item.points.shape[1] for item in items}:
            batch = [item for item in items if item.points.shape[1] == corners]
            self._flatten_batch(batch, found)
        return found

    def _flatten_batch(
        self, batch: list[Polygons], found: dict[int, tuple[list[Shape], list[Any]]]
    ) -> None:
        k = self.pose.intrinsics
        camera = self.pose.to_camera(np.concatenate([item.points for item in batch]))
        depth = camera[..., 2]
        nearest = depth.min(axis=1)
        u, v = k.pixels(camera, np.maximum(depth, NEAR_M))
        left, right = u.min(axis=1), u.max(axis=1)
        top, bottom = v.min(axis=1), v.max(axis=1)
        shown = (depth.max(axis=1) > NEAR_M) & (right > -1) & (left < k.width)
        shown &= (bottom > -1) & (top < k.height)
        shown &= (right - left > SPECK_PX) & (bottom - top > SPECK_PX)
        crossing = nearest < NEAR_M
        counts = [len(item.points) for item in batch]
        # Twice the signed area from the diagonals of the first four corners: its sign is enough.
        middle = u.shape[1] // 2
        area = (u[:, middle] - u[:, 0]) * (v[:, -1] - v[:, 1]) - (u[:, -1] - u[:, 1]) * (
            v[:, middle] - v[:, 0]
        )
        cull = np.repeat([item.cull for item in batch], counts)
        shown &= ~cull | (area > 0) | crossing
        rows = np.flatnonzero(shown)
        shapes: list[Shape] = list(fixed_point(np.stack([u[rows], v[rows]], axis=-1)))
        for index in np.flatnonzero(crossing[rows]).tolist():
            shapes[index] = self._clip(camera[rows[index]])
        values = self._values(batch, rows, np.maximum(depth[rows].mean(axis=1), NEAR_M))
        ends = np.searchsorted(rows, np.cumsum(counts)).tolist()
        start = 0
        for item, stop in zip(batch, ends, strict=True):
            if stop > start:
                found[id(item)] = (shapes[start:stop], values[start:stop])
            start = stop

    def _clip(self, camera: Points) -> Shape:
        """Cut one polygon, part of which lies in front of the near plane, at that plane."""
        kept = []
        for i in range(len(camera)):
            a, b = camera[i], camera[(i + 1) % len(camera)]
            if a[2] >= NEAR_M:
                kept.append(a)
            if (a[2] >= NEAR_M) != (b[2] >= NEAR_M):
                kept.append(a + (b - a) * ((NEAR_M - a[2]) / (b[2] - a[2])))
        p = np.array(kept)
        return fixed_point(np.stack(self.pose.intrinsics.pixels(p, p[:, 2]), 1))

    def _place_all(self, items: list[Sprite]) -> dict[int, Placed]:
        """Find where the sprites lie in the image; those out of sight are left out."""
        if not items:
            return {}
        k = self.pose.intrinsics
        camera = self.pose.to_camera(np.stack([item.corners for item in items]))
        depth = camera[..., 2]
        u, v = k.pixels(camera, np.maximum(depth, NEAR_M))
        seen = (depth.max(axis=1) > NEAR_M) & (u.max(axis=1) > 0) & (u.min(axis=1) < k.width)
        seen &= (v.max(axis=1) > 0) & (v.min(axis=1) < k.height)
        near = depth.min(axis=1) < NEAR_M
        placed: dict[int, Placed] = {}
        for index in np.flatnonzero(seen).tolist():
            item = items[index]
            if near[index]:
                found = self._place_cut(item, camera[index])
            else:
                corners = (u[index].tolist(), v[index].tolist(), depth[index].tolist())
                found = self._place(item.texture, *corners, 0.0, 1.0)
            if found is not None:
                placed[id(item)] = found
        return placed

    def _place_cut(self, item: Sprite, camera: Points) -> Placed | None:
        """Place a sprite that begins behind the near plane; it is cut along a vertical line."""
        left_near = bool(camera[[0, 3], 2].min() < NEAR_M)
        right_near = bool(camera[[1, 2], 2].min() < NEAR_M)
        span = float(camera[0, 2] - camera[1, 2])
        if left_near == right_near or abs(span) < 1e-6:
            return None
        part = float(camera[0, 2] - NEAR_M - 0.2) / span
        left, right = (part, 1.0) if left_near else (0.0, part)
        top, bottom = camera[1] - camera[0], camera[2] - camera[3]
        cut = np.stack([camera[0] + left * top, camera[0] + right * top,
                        camera[3] + right * bottom, camera[3] + left * bottom])  # fmt: skip
        z = cut[:, 2]
        if z.min() < NEAR_M / 2:
            return None
        u, v = self.pose.intrinsics.pixels(cut, z)
        return self._place(item.texture, u.tolist(), v.tolist(), z.tolist(), left, right)

    def _place(
        self,
        texture: Texture,
        u: list[float],
        v: list[float],
        z: list[float],
        left: float,
        right: float,
    ) -> Placed | None:
        k = self.pose.intrinsics
        x0, x1 = max(math.floor(min(u)), 0), min(math.ceil(max(u)) + 1, k.width)
        y0, y1 = max(math.floor(min(v)), 0), min(math.ceil(max(v)) + 1, k.height)
        if x1 <= x0 or y1 <= y0:
            return None
        w, h = texture.width, texture.height
        shrink = (
            _shrink(w * (right - left), math.hypot(u[1] - u[0], v[1] - v[0])),
            _shrink(h, max(v[3] - v[0], v[2] - v[1])),
        )
        code = _code((z[0] + z[1]) / 2)
        skew = max(abs(u[0] - u[3]), abs(u[1] - u[2]), abs(v[0] - v[1]), abs(v[2] - v[3]))
        if skew < SKEW_PX and not texture.opaque:
            return self._place_upright((u[0], v[0], u[1], v[3]), shrink, code)
        wl, wr = left * w - 0.5, right * w - 0.5
        source = np.array([[wl, -0.5], [wr, -0.5], [wr, h - 0.5], [wl, h - 0.5]], np.float32)
        corners = np.array([[u[i] - x0, v[i] - y0] for i in range(4)], np.float32)
        matrix = cv2.getPerspectiveTransform(source, corners)
        depth: NDArray[np.uint8] | int = code
        if abs(u[1] - u[0]) >= 1.0 and abs(z[1] - z[0]) > 0.5:
            # Inverse depth is linear in the image of a plane.
            share = np.clip((np.arange(x0, x1) - u[0]) / (u[1] - u[0]), 0.0, 1.0)
            depth = depth_code(1.0 / ((1.0 - share) / z[0] + share / z[1]))
        return Placed((slice(y0, y1), slice(x0, x1)), corners, matrix, _ALL, shrink, depth)

    def _place_upright(
        self, box: tuple[float, float, float, float], shrink: tuple[int, int], code: int
    ) -> Placed | None:
        """Place a rectangle that stays one in the image, to the nearest pixel: much cheaper."""
        k = self.pose.intrinsics
        left, top, right, bottom = (round(value) for value in box)
        width, height = right - left, bottom - top
        x0, x1, y0, y1 = max(left, 0), min(right, k.width), max(top, 0), min(bottom, k.height)
        if x1 <= x0 or y1 <= y0:
            return None
        part = ((x0 - left) / width, (y0 - top) / height,
                (x1 - left) / width, (y1 - top) / height)  # fmt: skip
        corners = np.array([[0, 0], [x1 - x0, 0], [x1 - x0, y1 - y0], [0, y1 - y0]], np.float32)
        return Placed((slice(y0, y1), slice(x0, x1)), corners, None, part, shrink, code)


def _shrink(texels: float, pixels: float) -> int:
    ratio = max(texels / max(pixels, 1.0), 1.0)
    return min(int(math.log2(ratio) + 0.35), 6)


@lru_cache(maxsize=32)
def _sheet(label: int, height: int, width: int) -> NDArray[np.uint8]:
    """Return a picture full of one label, to copy from through a mask."""
    return np.full((height, width), label, np.uint8)


class VisibleCanvas(Canvas):
    """Colour, coded depth and labels in the RGB camera's view.

    Attributes:
        bgrd: HxWx4 uint8: blue, green, red as lit so far, and the depth code.
    """

    def __init__(self, pose: Pose, bgrd: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        super().__init__(pose, labels)
        self.bgrd = bgrd

    def _values(self, batch: list[Polygons], rows: NDArray[np.intp], depth: Points, /) -> list[Any]:
        values = np.empty((len(rows), 4))
        values[:, :3] = np.concatenate([item.bgr for item in batch])[rows]
        values[:, 3] = depth_code(depth)
        dark = [np.zeros(len(i.points), bool) if i.glow is None else i.glow for i in batch]
        values[np.concatenate(dark)[rows], 3] = GLOW_DEPTH
        colours: list[Any] = np.clip(values, 0, 255).tolist()
        return colours

    def _fill(self, label: int, shapes: list[Shape], values: list[Any], /) -> None:
        for shape, value in zip(shapes, values, strict=True):
            cv2.fillConvexPoly(self.bgrd, shape, value, cv2.LINE_AA, SUBPIXEL)
            cv2.fillConvexPoly(self.labels, shape, label, cv2.LINE_8, SUBPIXEL)

    def _paste(self, item: Sprite, placed: Placed) -> None:
        plane = item.texture.picture(*placed.shrink)
        region = self.bgrd[placed.region]
        source = placed.warp(item.texture, plane, cv2.INTER_LINEAR)
        alpha = cv2.extractChannel(source, 3)
        if item.texture.opaque:
            covered = placed.outline()
            outside = cv2.inRange(alpha, 128, 255)
            cv2.insertChannel(cv2.min(outside, placed.depths()), source, 3)
            cv2.copyTo(source, covered, region)
        else:
            # Colours blend at an edge, depth does not: half a leaf in front of the sky is near.
            # (inRange, because cv2.compare takes a picture of one pixel for a number and fails.)
            covered = cv2.inRange(alpha, 128, 255)
            cv2.insertChannel(cv2.min(covered, placed.depths()), source, 3)
            rest = cv2.bitwise_not(alpha)
            keep = cv2.merge([rest, rest, rest, cv2.bitwise_not(covered)])
            cv2.multiply(region, keep, dst=region, scale=1 / 255)
            cv2.add(region, source, dst=region)
        self._mark(item.label, covered, placed)


class ThermalCanvas(Canvas):
    """Temperatures in the thermal camera's view.

    Attributes:
        centikelvin: HxW uint16, 0.01 K.
        with_labels: also fill `labels`; costs a little.
    """

    def __init__(
        self,
        pose: Pose,
        labels: NDArray[np.uint8],
        centikelvin: NDArray[np.uint16],
        *,
        with_labels: bool = False,
    ) -> None:
        super().__init__(pose, labels)
        self.centikelvin, self.with_labels = centikelvin, with_labels

    def _values(
        self, batch: list[Polygons], rows: NDArray[np.intp], _depth: Points, /
    ) -> list[Any]:
        kelvin = np.concatenate([np.asarray(item.kelvin) for item in batch])[rows]
        values: list[Any] = (kelvin * 100.0).tolist()
        return values

    def _fill(self, label: int, shapes: list[Shape], values: list[Any], /) -> None:
        for shape, value in zip(shapes, values, strict=True):
            cv2.fillConvexPoly(self.centikelvin, shape, value, cv2.LINE_8, SUBPIXEL)
            if self.with_labels:
                cv2.fillConvexPoly(self.labels, shape, label, cv2.LINE_8, SUBPIXEL)

    def _paste(self, item: Sprite, placed: Placed) -> None:
        plane = item.texture.heat(*placed.shrink)
        heat = placed.warp(item.texture, plane, cv2.INTER_NEAREST)
        mask = placed.outline() if item.texture.opaque else cv2.inRange(heat, 1, 65535)
        heat += np.uint16((round(item.kelvin * 100.0) - HEAT_ZERO) & 0xFFFF)
        cv2.copyTo(heat, mask, self.centikelvin[placed.region])
        if self.with_labels:
            self._mark(item.label, mask, placed)
