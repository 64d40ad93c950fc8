# SPDX-License-Identifier: Apache-2.0
"""Draws one list of street surfaces for a visible and for a thermal camera.

Surfaces come back to front (painter's order), so the label mask, the picture and the temperatures
are filled by the same polygons and cannot disagree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.rig.cameras import Pose

Points = NDArray[np.float64]

NEAR_M = 0.6
"""Surfaces nearer than this to a camera are cut off."""
SUBPIXEL = 4
GLOW_DEPTH = 0
"""Depth code of pixels that shine by themselves."""
SKY_DEPTH = 255
HEAT_ZERO = 30000
"""Value of a heat texture that means "as warm as the surface it is put on"; 1 step is 0.01 K."""
_DEPTH_SCALE = 253.0 / math.log(400.0)


def depth_code(metres: NDArray[Any] | float) -> NDArray[np.uint8]:
    """Return the 8-bit logarithmic depth code (1 to 254) of distances in metres."""
    code = 1.0 + _DEPTH_SCALE * np.log(np.maximum(metres, 1.0))
    return np.clip(code + 0.5, 1, 254).astype(np.uint8)


def depth_of_codes() -> Points:
    """Return the distance in metres for each of the 256 depth codes; infinite for the sky."""
    metres: Points = np.exp((np.arange(256) - 1.0) / _DEPTH_SCALE)
    metres[GLOW_DEPTH] = 1.0
    metres[SKY_DEPTH] = np.inf
    return metres


@dataclass(slots=True, eq=False)
class Polygons:
    """Convex polygons of one object, in painter's order.

    Attributes:
        points: (F, K, 3) street coordinates, metres; fewer corners repeat the last one.
        bgr: (F, 3) lit colour, 0-255.
        kelvin: (F,) surface temperature.
        label: class id of the whole object.
        glow: (F,) true for surfaces that shine by themselves, or None.
        cull: leave out faces that show their back (corners run clockwise as seen from outside).
    """

    points: Points
    bgr: NDArray[Any]
    kelvin: NDArray[Any]
    label: int
    glow: NDArray[np.bool_] | None = None
    cull: bool = False


class Texture:
    """A picture to put on a surface: premultiplied BGRA, and heat as 0.01 K around HEAT_ZERO."""

    def __init__(self, bgra: NDArray[np.uint8], heat: NDArray[np.uint16] | None = None) -> None:
        self._bgra = bgra
        self._heat = heat
        self._levels: dict[tuple[str, int, int], NDArray[Any]] = {}
        self.height, self.width = bgra.shape[:2]

    @classmethod
    def from_straight(
        cls, bgr: NDArray[np.uint8], alpha: NDArray[np.uint8], heat: NDArray[np.uint16] | None
    ) -> Texture:
        """Return a texture from a colour image and a separate coverage mask."""
        wide = cv2.merge([alpha, alpha, alpha])
        return cls(cv2.merge([cv2.multiply(bgr, wide, scale=1 / 255), alpha]), heat)

    def lighten(self, factor: NDArray[Any]) -> None:
        """Multiply the colours by (3,) factors, as light does."""
        planes = list(cv2.split(self._bgra))
        for index in range(3):
            planes[index] = cv2.convertScaleAbs(planes[index], alpha=float(factor[index]))
        self._bgra = cv2.merge(planes)
        self._levels.clear()

    def level(self, kind: str, shrink_x: int, shrink_y: int) -> NDArray[Any]:
        """Return the "bgra", "alpha" or "heat" plane, shrunk by 2**shrink in either direction."""
        key = (kind, shrink_x, shrink_y)
        if key not in self._levels:
            plane: NDArray[Any] | None = self._heat if kind == "heat" else self._bgra
            if kind == "alpha":
                plane = np.ascontiguousarray(self._bgra[..., 3])
            if plane is None:
                plane = np.full((self.height, self.width), HEAT_ZERO, np.uint16)
            size = (max(self.width >> shrink_x, 2), max(self.height >> shrink_y, 2))
            if shrink_x or shrink_y:
                plane = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
            self._levels[key] = plane
        return self._levels[key]


@dataclass(slots=True, eq=False)
class Sprite:
    """A textured rectangle.

    Attributes:
        corners: (4, 3) street coordinates: top left, top right, bottom right, bottom left.
        texture: what is on it.
        kelvin: temperature at HEAT_ZERO of its heat plane.
        label: class id where the texture covers more than half of a pixel.
        glow: the texture shines by itself; it leaves labels and temperatures alone.
    """

    corners: Points
    texture: Texture
    kelvin: float
    label: int
    glow: bool = False


Item = Polygons | Sprite


@dataclass(slots=True, eq=False)
class Placed:
    """A sprite in one image: the warp of its texture into a region of interest."""

    region: tuple[slice, slice]
    corners: NDArray[np.float32]
    matrix: NDArray[np.float64]
    shrink: tuple[int, int]
    depth: NDArray[np.uint8]

    def warp(self, texture: Texture, kind: str) -> NDArray[Any]:
        """Return the texture plane as it appears in the region."""
        rows, cols = self.region
        plane = texture.level(kind, *self.shrink)
        scale = np.diag([texture.width / plane.shape[1], texture.height / plane.shape[0], 1.0])
        size = (cols.stop - cols.start, rows.stop - rows.start)
        # Outside its edge a texture is transparent, but it has no temperature there: repeat the edge.
        border = cv2.BORDER_REPLICATE if kind == "heat" else cv2.BORDER_CONSTANT
        warped: NDArray[Any] = cv2.warpPerspective(
            plane, self.matrix @ scale, size, flags=cv2.INTER_LINEAR, borderMode=border
        )
        return warped


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
        flat = self._flatten([item for item in items if isinstance(item, Polygons)])
        for item in items:
            if isinstance(item, Polygons):
                self._fill(item, flat[id(item)])
            else:
                placed = self._place(item)
                if placed is not None:
                    self._paste(item, placed)

    def _fill(self, item: Polygons, faces: list[Face]) -> None:
        raise NotImplementedError

    def _paste(self, item: Sprite, placed: Placed) -> None:
        raise NotImplementedError

    def _flatten(self, items: list[Polygons]) -> dict[int, list[Face]]:
        """Project all polygons, one batch for each corner count."""
        faces: dict[int, list[Face]] = {id(item): [] for item in items}
        for corners in {item.points.shape[1] for item in items}:
            batch = [item for item in items if item.points.shape[1] == corners]
            self._flatten_batch(batch, faces)
        return faces

    def _flatten_batch(self, batch: list[Polygons], faces: dict[int, list[Face]]) -> None:
        k = self.pose.intrinsics
        camera = self.pose.to_camera(np.concatenate([item.points for item in batch]))
        depth = camera[..., 2]
        nearest = depth.min(axis=1)
        safe = np.maximum(depth, NEAR_M)
        u = k.fx * camera[..., 0] / safe + k.cx
        v = k.fy * camera[..., 1] / safe + k.cy
        inside = (
            (depth.max(axis=1) > NEAR_M)
            & (u.max(axis=1) > -1)
            & (u.min(axis=1) < k.width)
            & (v.max(axis=1) > -1)
            & (v.min(axis=1) < k.height)
        )
        # Twice the signed area from the diagonals of the first four corners: its sign is enough.
        middle = u.shape[1] // 2
        area = (u[:, middle] - u[:, 0]) * (v[:, -1] - v[:, 1]) - (u[:, -1] - u[:, 1]) * (
            v[:, middle] - v[:, 0]
        )
        crossing = nearest < NEAR_M
        codes = depth_code(np.maximum(depth.mean(axis=1), NEAR_M)).tolist()
        pixels = np.stack([u, v], axis=-1)
        np.clip(pixels, -20000.0, 20000.0, out=pixels)
        fixed = np.rint(pixels * (1 << SUBPIXEL)).astype(np.int32)
        start = 0
        for item in batch:
            stop = start + len(item.points)
            drawn = inside[start:stop]
            if item.cull:
                drawn = drawn & ((area[start:stop] > 0) | crossing[start:stop])
            out = faces[id(item)]
            for face in np.flatnonzero(drawn).tolist():
                row = start + face
                shape = self._clip(camera[row]) if crossing[row] else fixed[row]
                if shape is not None:
                    out.append(Face(face, shape, codes[row]))
            start = stop

    def _clip(self, camera: Points) -> NDArray[np.int32] | None:
        """Cut one polygon at the near plane; None where nothing is left."""
        kept = []
        for i in range(len(camera)):
            a, b = camera[i], camera[(i + 1) % len(camera)]
            if a[2] >= NEAR_M:
                kept.append(a)
            if (a[2] >= NEAR_M) != (b[2] >= NEAR_M):
                kept.append(a + (b - a) * ((NEAR_M - a[2]) / (b[2] - a[2])))
        if len(kept) < 3:
            return None
        p = np.array(kept)
        k = self.pose.intrinsics
        pixels = np.stack([k.fx * p[:, 0] / p[:, 2] + k.cx, k.fy * p[:, 1] / p[:, 2] + k.cy], 1)
        clipped: NDArray[np.int32] = np.rint(
            np.clip(pixels, -20000.0, 20000.0) * (1 << SUBPIXEL)
        ).astype(np.int32)
        return clipped

    def _place(self, item: Sprite) -> Placed | None:
        """Find where a sprite lies in the image; None when it is out of sight."""
        k = self.pose.intrinsics
        camera = self.pose.to_camera(item.corners)
        texture = item.texture
        left, right = 0.0, 1.0
        near = (camera[0, 2] < NEAR_M or camera[3, 2] < NEAR_M, camera[1:3, 2].min() < NEAR_M)
        if all(near):
            return None
        if any(near):
            cut = (camera[0] - camera[1])[2]
            part = (camera[0, 2] - NEAR_M - 0.2) / cut if cut else 0.0
            left, right = (part, 1.0) if near[0] else (0.0, part)
            top, bottom = camera[1] - camera[0], camera[2] - camera[3]
            camera = np.array([
                camera[0] + left * top, camera[0] + right * top,
                camera[3] + right * bottom, camera[3] + left * bottom,
            ])  # fmt: skip
        if camera[:, 2].min() < NEAR_M / 2:
            return None
        u = k.fx * camera[:, 0] / camera[:, 2] + k.cx
        v = k.fy * camera[:, 1] / camera[:, 2] + k.cy
        x0, x1 = max(math.floor(u.min()), 0), min(math.ceil(u.max()) + 1, k.width)
        y0, y1 = max(math.floor(v.min()), 0), min(math.ceil(v.max()) + 1, k.height)
        if x1 - x0 < 1 or y1 - y0 < 1:
            return None
        corners = np.stack([u - x0, v - y0], axis=1).astype(np.float32)
        w, h = texture.width, texture.height
        source = np.array(
            [[left * w, 0], [right * w, 0], [right * w, h], [left * w, h]], np.float32
        )
        matrix = cv2.getPerspectiveTransform(source - 0.5, corners)
        shrink = (
            _shrink(w * (right - left), float(np.hypot(u[1] - u[0], v[1] - v[0]))),
            _shrink(h, max(v[3] - v[0], v[2] - v[1])),
        )
        depth = self._column_depth(u, camera[:, 2], x0, x1)
        return Placed((slice(y0, y1), slice(x0, x1)), corners, matrix, shrink, depth)

    @staticmethod
    def _column_depth(u: Points, z: Points, x0: int, x1: int) -> NDArray[np.uint8]:
        """Depth code for each column: inverse depth is linear in the image of a plane."""
        width = u[1] - u[0]
        if abs(width) < 1.0 or abs(z[1] - z[0]) < 0.5:
            return np.full(x1 - x0, depth_code(float(z.mean())), np.uint8)
        share = np.clip((np.arange(x0, x1) - u[0]) / width, 0.0, 1.0)
        return depth_code(1.0 / ((1.0 - share) / z[0] + share / z[1]))


def _shrink(texels: float, pixels: float) -> int:
    return int(np.clip(math.floor(math.log2(max(texels / max(pixels, 1.0), 1.0)) + 0.35), 0, 6))


@dataclass(slots=True, eq=False)
class Face:
    index: int
    pixels: NDArray[np.int32]
    depth: int


class VisibleCanvas(Canvas):
    """Colour, coded depth and labels of what the RGB camera sees.

    Attributes:
        bgrd: HxWx4 uint8: blue, green, red as lit so far, and the depth code.
    """

    def __init__(self, pose: Pose, bgrd: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        super().__init__(pose, labels)
        self.bgrd = bgrd

    def _fill(self, item: Polygons, faces: list[Face]) -> None:
        if not faces:
            return
        colours = np.clip(item.bgr, 0, 255).tolist()
        glow = item.glow.tolist() if item.glow is not None else None
        for face in faces:
            depth = GLOW_DEPTH if glow is not None and glow[face.index] else face.depth
            colour = (*colours[face.index], depth)
            cv2.fillConvexPoly(self.bgrd, face.pixels, colour, cv2.LINE_AA, SUBPIXEL)
            cv2.fillConvexPoly(self.labels, face.pixels, item.label, cv2.LINE_8, SUBPIXEL)

    def _paste(self, item: Sprite, placed: Placed) -> None:
        source = placed.warp(item.texture, "bgra")
        alpha = cv2.extractChannel(source, 3)
        if item.glow:
            cv2.insertChannel(np.zeros_like(alpha), source, 3)
        else:
            column = np.broadcast_to(placed.depth, alpha.shape)
            cv2.insertChannel(cv2.multiply(alpha, column, scale=1 / 255), source, 3)
            cv2.copyTo(
                np.full_like(alpha, item.label),
                cv2.compare(alpha, 127, cv2.CMP_GT),
                self.labels[placed.region],
            )
        rest = cv2.bitwise_not(alpha)
        region = self.bgrd[placed.region]
        cv2.multiply(region, cv2.merge([rest, rest, rest, rest]), dst=region, scale=1 / 255)
        cv2.add(region, source, dst=region)


@dataclass(slots=True, eq=False)
class ThermalCanvas(Canvas):
    """Temperatures of what the thermal camera sees.

    Attributes:
        centikelvin: HxW uint16, 0.01 K.
        with_labels: also fill `labels`; costs a little.
    """

    pose: Pose
    labels: NDArray[np.uint8]
    centikelvin: NDArray[np.uint16] = field(default_factory=lambda: np.zeros((0, 0), np.uint16))
    with_labels: bool = False

    def _fill(self, item: Polygons, faces: list[Face]) -> None:
        if not faces:
            return
        values = (np.asarray(item.kelvin) * 100.0).tolist()
        for face in faces:
            cv2.fillConvexPoly(
                self.centikelvin, face.pixels, values[face.index], cv2.LINE_8, SUBPIXEL
            )
            if self.with_labels:
                cv2.fillConvexPoly(self.labels, face.pixels, item.label, cv2.LINE_8, SUBPIXEL)

    def _paste(self, item: Sprite, placed: Placed) -> None:
        if item.glow:
            return
        mask = cv2.compare(placed.warp(item.texture, "alpha"), 127, cv2.CMP_GT)
        heat = placed.warp(item.texture, "heat")
        heat += np.uint16(round(item.kelvin * 100.0) - HEAT_ZERO & 0xFFFF)
        cv2.copyTo(heat, mask, self.centikelvin[placed.region])
        if self.with_labels:
            cv2.copyTo(np.full_like(mask, item.label), mask, self.labels[placed.region])
