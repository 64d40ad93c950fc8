# SPDX-License-Identifier: Apache-2.0
"""What a depth camera and a LiDAR measure of a stage, and which object every pixel belongs to.

One picture holds the number of the surface that is seen at each pixel. Label and object are looked
up by it, and depth is where the pixel's ray meets the plane of that surface: exact, not sampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.frames import Image8
from segmif_ros.rig.cameras.cameras import Camera, Lidar, Pinhole, Pose, Vector3, place
from segmif_ros.rig.draw.items import Points, Polygons, Sprite
from segmif_ros.rig.draw.placement import SUBPIXEL, Placed
from segmif_ros.rig.draw.raster import NEAR_M, Canvas, Shape
from segmif_ros.rig.draw.sky import skyline
from segmif_ros.rig.draw.stage import Moment, Stage
from segmif_ros.rig.scene.scene import Label

_PLANE_TOLERANCE = 1e-3
"""A surface seen edge on has no usable plane: its mean depth is taken."""
_FARTHEST_M = 120.0


@dataclass(frozen=True, slots=True)
class TrueObject:
    """One vehicle, person or cycle as far as it is seen.

    Attributes:
        id: the same number in every picture.
        label: class id.
        box: left, top, right, bottom of its visible pixels; the last two exclusive.
        area: visible pixels.
    """

    id: int
    label: int
    box: tuple[int, int, int, int]
    area: int


class Truth:
    """The surfaces in one camera's view at one moment."""

    def __init__(self, pose: Pose, faces: NDArray[np.int32], tables: _Tables) -> None:
        """Take what `TruthCamera` has drawn."""
        self.pose, self.faces, self._tables = pose, faces, tables

    @cached_property
    def labels(self) -> Image8:
        """HxW class ids."""
        return self._tables.label[self.faces]

    @cached_property
    def depth_m(self) -> NDArray[np.float32]:
        """HxW float32 along the optical axis, metres; infinite for the sky."""
        k = self.pose.intrinsics
        v, u = np.mgrid[0 : k.height, 0 : k.width]
        depth = self._tables.depth(self.faces, (u - k.cx) / k.fx, (v - k.cy) / k.fy)
        return np.asarray(depth, np.float32)

    def objects(self) -> list[TrueObject]:
        """Return what moves and is seen, by number."""
        owner = self._tables.owner[self.faces]
        found = []
        for number in np.unique(owner[owner > 0]).tolist():
            own = (owner == number).view(np.uint8)
            x, y, w, h = cv2.boundingRect(own)
            label = int(self.labels[y : y + h, x : x + w][own[y : y + h, x : x + w] > 0][0])
            found.append(TrueObject(number, label, (x, y, x + w, y + h), cv2.countNonZero(own)))
        return found

    def cast(self, directions: NDArray[np.float64]) -> tuple[NDArray[np.float32], Image8]:
        """Return where rays meet the street, (N, 3) optical metres, and the labels there.

        Args:
            directions: (M, 3) at depth 1; those into the sky or too far away are left out.
        """
        k = self.pose.intrinsics
        x, y = directions[:, 0], directions[:, 1]
        u, v = np.rint(k.fx * x + k.cx).astype(int), np.rint(k.fy * y + k.cy).astype(int)
        inside = (u >= 0) & (u < k.width) & (v >= 0) & (v < k.height)
        faces = self.faces[v[inside], u[inside]]
        depth = self._tables.depth(faces, x[inside], y[inside])
        hit = depth < _FARTHEST_M
        points = directions[inside][hit] * depth[hit, None]
        return points.astype(np.float32), self._tables.label[faces[hit]]


@dataclass(slots=True, eq=False)
class _Tables:
    """Facts of every surface: `inverse` (F, 3) gives 1 / depth of x, y and 1; `span` its limits."""

    inverse: NDArray[np.float64]
    span: NDArray[np.float64]
    label: Image8
    owner: NDArray[np.int32]

    def depth(self, faces: NDArray[Any], x: Points, y: Points) -> Points:
        a, b, c = self.inverse[faces].transpose(-1, *range(faces.ndim))
        nearest, farthest = self.span[faces].transpose(-1, *range(faces.ndim))
        with np.errstate(divide="ignore"):
            depth = 1.0 / np.maximum(a * x + b * y + c, 0.0)
        return np.asarray(np.clip(depth, nearest, farthest))


class TruthCamera:
    """Ray casting on one stage from one place.

    Args:
        stage: the street.
        pose: the camera, or the LiDAR as one.
    """

    def __init__(self, stage: Stage, pose: Pose) -> None:
        self.pose = pose
        canvas = _Canvas(pose)
        canvas.draw(list(skyline(stage.scene, stage.light, stage.climate)))
        canvas.draw(stage.ground.fixed())
        self._background = canvas

    def at(self, moment: Moment) -> Truth:
        """Return what is seen at a moment."""
        canvas = _Canvas(self.pose, self._background)
        canvas.draw(moment.ground)
        canvas.owners = moment.owners
        canvas.draw(moment.items)
        return Truth(self.pose, canvas.faces, canvas.tables())


def lidar_pose(lidar: Lidar, centre: Vector3, yaw_rad: float, pitch_rad: float) -> Pose:
    """Place a LiDAR on the rig as a camera that looks where RGB looks, 74 by 55 degrees."""
    eye = Camera(Pinhole.from_hfov(1152, 800, 75.0), lidar.rate_hz, "", lidar.position_m)
    return place(eye, centre, yaw_rad, pitch_rad)


class _Canvas(Canvas):
    """Numbers of surfaces; 0 is the sky."""

    def __init__(self, pose: Pose, before: _Canvas | None = None) -> None:
        k = pose.intrinsics
        super().__init__(pose, np.empty((0, 0), np.uint8))
        self.owners: dict[int, int] = {}
        if before is None:
            self.faces = np.zeros((k.height, k.width), np.int32)
            sky = (np.zeros((1, 3)), np.full((1, 2), np.inf), [int(Label.SKY)], [0])
            self._rows = [sky]
            self._count = 1
        else:
            self.faces = before.faces.copy()
            self._rows, self._count = list(before._rows), before._count

    def tables(self) -> _Tables:
        inverse, span, label, owner = zip(*self._rows, strict=True)
        return _Tables(
            np.concatenate(inverse),
            np.concatenate(span),
            np.concatenate(label).astype(np.uint8),
            np.concatenate(owner).astype(np.int32),
        )

    def _number(self, camera: Points, labels: Sequence[int], owners: Sequence[int]) -> list[int]:
        """Return numbers for surfaces with these corners (F, K, 3) in the optical frame."""
        normal = np.cross(camera, np.roll(camera, -1, axis=1)).sum(axis=1)
        depth = camera[..., 2]
        offset = (normal * camera.mean(axis=1)).sum(axis=1)
        steep = np.abs(offset) > _PLANE_TOLERANCE * np.linalg.norm(normal, axis=1)
        mean = np.maximum(depth.mean(axis=1), NEAR_M)
        flat = np.stack([0.0 * mean, 0.0 * mean, 1.0 / mean], axis=1)
        inverse = np.where(steep[:, None], normal / np.where(steep, offset, 1.0)[:, None], flat)
        span = np.stack([depth.min(axis=1), depth.max(axis=1)], axis=1)
        self._rows.append((inverse, np.maximum(span, NEAR_M / 2), list(labels), list(owners)))
        numbers = list(range(self._count, self._count + len(camera)))
        self._count += len(camera)
        return numbers

    def _values(self, batch: list[Polygons], rows: NDArray[np.intp], _: Points, /) -> list[Any]:
        camera = self.pose.to_camera(np.concatenate([item.points for item in batch])[rows])
        counts = [len(item.points) for item in batch]
        labels = np.repeat([int(item.label) for item in batch], counts)[rows].tolist()
        owners = np.repeat([self.owners.get(id(item), 0) for item in batch], counts)[rows].tolist()
        return self._number(camera, labels, owners)

    def _fill(self, _label: int, shapes: list[Shape], values: list[Any], /) -> None:
        for shape, value in zip(shapes, values, strict=True):
            cv2.fillConvexPoly(self.faces, shape, value, cv2.LINE_8, SUBPIXEL)

    def _paste(self, item: Sprite, placed: Placed) -> None:
        if item.texture.opaque:
            covered = placed.outline()
        else:
            plane = item.texture.picture(*placed.shrink)
            source = placed.warp(item.texture, plane, cv2.INTER_LINEAR)
            covered = cv2.inRange(cv2.extractChannel(source, 3), 128, 255)
        camera = self.pose.to_camera(item.corners)[None]
        (number,) = self._number(camera, [int(item.label)], [self.owners.get(id(item), 0)])
        self.faces[placed.region][covered > 0] = number
