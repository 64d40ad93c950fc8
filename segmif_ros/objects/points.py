# SPDX-License-Identifier: Apache-2.0
"""Labels points of a LiDAR or a depth camera by the picture that they project into.

Frames are optical (x right, y down, z forward), metres. The vehicle's own motion between the
point's time and the picture's is not corrected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.frames import UNLABELLED, Image8
from segmif_ros.objects.clouds import PointLabels
from segmif_ros.registration.calibration import Transform
from segmif_ros.registration.lens import Intrinsics

NEAREST_M = 0.1
"""Points nearer to the RGB camera's plane are not seen."""
CELL_SHARE = 1 / 160
"""Side of a cell of the depth buffer, as a share of the picture's width: 4 of 640 pixels."""
HIDDEN_SHARE, HIDDEN_M = 0.3, 0.5
"""A point is hidden when another in its cell or beside it is nearer by this share and length."""
Axes = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class LabelPicture:
    """What points are labelled from; all images HxW of the RGB camera.

    Attributes:
        mask: uint8 class ids.
        confidence: uint8, probability times 255.
        rgb: HxWx3 uint8, None without the RGB camera.
        temperature: float32, NaN where the thermal camera does not see; None without it.
    """

    mask: Image8
    confidence: Image8
    rgb: Image8 | None = None
    temperature: NDArray[np.float32] | None = None

    def at(self, pixels: NDArray[np.intp], where: NDArray[Any], count: int) -> PointLabels:
        """Return the labels of `count` points, of which those at `where` lie at flat `pixels`."""
        label = np.full(count, UNLABELLED, np.uint8)
        confidence = np.zeros(count, np.uint8)
        rgb = np.zeros(count, np.uint32)
        temperature = np.full(count, np.nan, np.float32)
        label[where] = self.mask.reshape(-1)[pixels]
        confidence[where] = self.confidence.reshape(-1)[pixels]
        if self.rgb is not None:
            r, g, b = self.rgb.reshape(-1, 3)[pixels].astype(np.uint32).T
            rgb[where] = (r << 16) | (g << 8) | b
        if self.temperature is not None:
            temperature[where] = self.temperature.reshape(-1)[pixels]
        return PointLabels(label, confidence, rgb, temperature)

    def everywhere(self) -> PointLabels:
        """Return the labels of all pixels, row after row."""
        count = self.mask.size
        rgb, temperature = np.zeros(count, np.uint32), np.full(count, np.nan, np.float32)
        if self.rgb is not None:
            packed = cv2.cvtColor(self.rgb, cv2.COLOR_RGB2BGRA).view("<u4").reshape(-1)
            rgb = np.bitwise_and(packed, 0xFFFFFF, dtype=np.uint32)
        if self.temperature is not None:
            temperature = self.temperature.reshape(-1)
        return PointLabels(self.mask.reshape(-1), self.confidence.reshape(-1), rgb, temperature)


def label_points(
    xyz: Axes, picture: LabelPicture, camera: Intrinsics, to_camera: Transform
) -> PointLabels:
    """Label every point by the pixel that it is seen at.

    Args:
        xyz: coordinates (N,) each, in the sensor's frame; NaN and infinity are allowed.
        picture: results of the RGB image's size.
        camera: the RGB camera, its lens distortion included.
        to_camera: sensor frame to RGB optical frame.
    """
    pixels, where, _ = _seen(xyz, camera, to_camera)
    return picture.at(pixels, where, len(xyz[0]))


def organised(depth_m: NDArray[np.float32], rays: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the cloud (H, W, 3) of a depth image; NaN where there is no depth.

    Args:
        depth_m: HxW along the optical axis; 0, NaN and infinity are no depth.
        rays: from `rays_of`.
    """
    depth = np.where(np.isfinite(depth_m) & (depth_m > 0.0), depth_m, np.float32(np.nan))
    cloud = np.empty((*depth.shape, 3), np.float32)
    np.multiply(rays, depth[..., None], out=cloud[..., :2])
    cloud[..., 2] = depth
    return cloud


def rays_of(camera: Intrinsics) -> NDArray[np.float32]:
    """Return (H, W, 2): x and y at depth 1 of every pixel; NaN where the lens does not reach."""
    height, width = camera.size
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float64)
    rays, reached = camera.to_normalised(np.column_stack([xs.ravel(), ys.ravel()]))
    rays[~reached] = np.nan
    return np.asarray(rays.reshape(height, width, 2), np.float32)


def depth_in_rgb(
    cloud: NDArray[np.float32], camera: Intrinsics, to_camera: Transform, spread: int
) -> NDArray[np.float32]:
    """Return depth of the RGB image's size (0 = none) from the cloud of another depth camera.

    Args:
        cloud: (h, w, 3) in the depth camera's optical frame, from `organised`.
        camera: the RGB camera.
        to_camera: depth optical frame to RGB optical frame.
        spread: RGB pixels between two neighbouring depth pixels, rounded up; gaps of this size are
            closed with the nearest depth beside them.
    """
    flat = cloud.reshape(-1, 3)
    pixels, _, z = _seen((flat[:, 0], flat[:, 1], flat[:, 2]), camera, to_camera, hide=False)
    depth = np.full(camera.size, np.inf, np.float32)
    np.minimum.at(depth.reshape(-1), pixels, z)
    if spread > 1:
        side = 2 * (spread // 2) + 1
        beside = cv2.erode(depth, np.ones((side, side), np.uint8))
        depth = np.where(np.isinf(depth), beside, depth)
    return np.where(np.isinf(depth), np.float32(0.0), depth)


def _seen(
    xyz: Axes, camera: Intrinsics, to_camera: Transform, *, hide: bool = True
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Return flat pixel, index and depth of the points in the camera's view."""
    height, width = camera.size
    r = to_camera.rotation.astype(np.float32)
    t = to_camera.translation_m.astype(np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        sx, sy, sz = (np.asarray(axis, np.float32) for axis in xyz)
        z = r[2, 0] * sx + r[2, 1] * sy + r[2, 2] * sz + t[2]
        where = np.flatnonzero((z > NEAREST_M) & (z < np.float32(1e6)))
        sx, sy, sz, z = sx[where], sy[where], sz[where], z[where]
        x = (r[0, 0] * sx + r[0, 1] * sy + r[0, 2] * sz + t[0]) / z
        y = (r[1, 0] * sx + r[1, 1] * sy + r[1, 2] * sz + t[1]) / z
        # A first cut, so that the lens is computed for few points: what it can see at all.
        widest = camera.widest
        near = np.flatnonzero((np.abs(x) < widest) & (np.abs(y) < widest))
        where, z = where[near], z[near]
        pixels, reached = camera.to_pixels(np.column_stack([x[near], y[near]]).astype(np.float64))
        column, row = np.rint(pixels.T).astype(np.intp)
    inside = reached & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    column, row, z, where = column[inside], row[inside], z[inside], where[inside]
    if hide and len(z):
        side = max(1, round(CELL_SHARE * width))
        cells = np.full((height // side + 1, width // side + 1), np.inf, np.float32)
        cell = (row // side) * cells.shape[1] + column // side
        np.minimum.at(cells.reshape(-1), cell, z)
        nearest = cv2.erode(cells, np.ones((3, 3), np.uint8)).reshape(-1)[cell]
        shown = z <= nearest * (1.0 + HIDDEN_SHARE) + HIDDEN_M
        column, row, z, where = column[shown], row[shown], z[shown], where[shown]
    return row * width + column, where, z
