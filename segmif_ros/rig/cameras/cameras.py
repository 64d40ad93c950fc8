# SPDX-License-Identifier: Apache-2.0
"""The two cameras of the rig: pinhole intrinsics, mounting, and the calibrations that are true."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmif_ros.registration import Calibration, Intrinsics, save_calibration
from segmif_ros.registration.calibration import Mounting, Transform

Matrix = NDArray[np.float64]
Vector3 = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Pinhole:
    """Intrinsics of an ideal camera: pixels, origin in the centre of the top left pixel."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    @classmethod
    def from_hfov(cls, width: int, height: int, hfov_deg: float) -> Pinhole:
        """Return the camera with square pixels, centred, `hfov_deg` wide.

        Raises:
            ValueError: a size below 16 pixels, or a field of view outside (1, 170) degrees.
        """
        if min(width, height) < 16 or not 1.0 < hfov_deg < 170.0:
            raise ValueError(
                f"camera of {width}x{height} pixels and {hfov_deg} degrees: expected at least "
                "16x16 pixels and a horizontal field of view between 1 and 170 degrees"
            )
        focal = width / 2.0 / math.tan(math.radians(hfov_deg) / 2.0)
        return cls(width, height, focal, focal, (width - 1) / 2.0, (height - 1) / 2.0)

    @property
    def matrix(self) -> Matrix:
        """The 3x3 intrinsic matrix K."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def pixels(self, points: NDArray[Any], depth: NDArray[Any]) -> tuple[Matrix, Matrix]:
        """Return u and v of points (..., 3) in the optical frame, taken as `depth` (...) away."""
        u = self.fx * points[..., 0] / depth + self.cx
        return u, self.fy * points[..., 1] / depth + self.cy


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera of the rig with its pose.

    Attributes:
        intrinsics: the pinhole model.
        rate_hz: frames per second.
        frame_id: ROS optical frame (x right, y down, z forward).
        position_m: where it sits, in the optical frame of the RGB camera, metres.
        rotation_rad: roll about z, pitch about x, yaw about y relative to the RGB camera, radians.
    """

    intrinsics: Pinhole
    rate_hz: float
    frame_id: str
    position_m: Vector3 = (0.0, 0.0, 0.0)
    rotation_rad: Vector3 = (0.0, 0.0, 0.0)

    @property
    def rotation(self) -> Matrix:
        """3x3 matrix that turns RGB optical coordinates into this camera's optical coordinates."""
        roll, pitch, yaw = self.rotation_rad
        return rotation_z(roll) @ rotation_x(pitch) @ rotation_y(yaw)


def rotation_x(angle: float) -> Matrix:
    """Rotation about x by `angle` radians."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def rotation_y(angle: float) -> Matrix:
    """Rotation about y by `angle` radians."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def rotation_z(angle: float) -> Matrix:
    """Rotation about z by `angle` radians."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def turn(points: NDArray[Any], rotation: Matrix) -> NDArray[Any]:
    """Multiply a 3x3 matrix with points (..., 3); the type of the points stays.

    A matrix product may round differently from call to call, depending on where in memory its
    operands lie; written out, it cannot, and pictures stay the same to the last bit.
    """
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    turned = np.empty(points.shape, points.dtype)
    for index, (a, b, c) in enumerate(rotation.tolist()):
        turned[..., index] = a * x + b * y + c * z
    return turned


LIDAR_TO_RGB = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
"""Turns LiDAR axes (x forward, y left, z up) into RGB's optical ones."""


@dataclass(frozen=True, slots=True)
class Lidar:
    """A spinning LiDAR above the RGB camera; only the part ahead of its turn.

    Attributes:
        rings: 16 or 64 lasers.
        rate_hz: turns a second.
        frame_id: x forward, y left, z up.
        position_m: where it sits, in RGB's optical frame, metres.
    """

    rings: int = 16
    rate_hz: float = 10.0
    frame_id: str = "lidar"
    position_m: Vector3 = (0.05, -0.30, -0.10)

    def directions(self) -> NDArray[np.float64]:
        """Return (N, 3) rays in RGB's axes, depth 1: ring after ring, left to right.

        Raises:
            ValueError: neither 16 nor 64 rings.
        """
        spans = {16: (15.0, -15.0), 64: (2.0, -24.8)}
        if self.rings not in spans:
            raise ValueError(f"LiDAR of {self.rings} rings, expected 16 or 64")
        elevation = np.radians(np.linspace(*spans[self.rings], self.rings))[:, None]
        azimuth = np.radians(np.arange(-37.0, 37.0, 0.2))[None, :]
        x = np.tan(azimuth) + 0.0 * elevation
        y = -np.tan(elevation) / np.cos(azimuth)
        return np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3)


@dataclass(frozen=True, slots=True)
class Rig:
    """A visible and a thermal camera side by side. The RGB camera is the origin."""

    rgb: Camera
    thermal: Camera

    @classmethod
    def default(cls, *, rgb_rate_hz: float = 30.0, thermal_rate_hz: float = 30.0) -> Rig:
        """640x480 RGB, 60 degrees wide; 640x512 thermal, 68 degrees, 9 cm to its left."""
        return cls(
            Camera(Pinhole.from_hfov(640, 480, 60.0), rgb_rate_hz, "rgb_optical_frame"),
            Camera(
                Pinhole.from_hfov(640, 512, 68.0),
                thermal_rate_hz,
                "thermal_optical_frame",
                position_m=(-0.09, 0.01, 0.0),
                rotation_rad=(math.radians(0.5), math.radians(-0.4), math.radians(0.7)),
            ),
        )

    @classmethod
    def aligned(cls, *, rgb_rate_hz: float = 30.0, thermal_rate_hz: float = 30.0) -> Rig:
        """Both cameras in one place with one set of intrinsics (640x480): nothing to register."""
        rig = cls.default(rgb_rate_hz=rgb_rate_hz, thermal_rate_hz=thermal_rate_hz)
        same = replace(rig.rgb, rate_hz=thermal_rate_hz, frame_id=rig.thermal.frame_id)
        return cls(rig.rgb, same)

    def with_size(self, width: int, height: int) -> Rig:
        """Return the same rig with an RGB image of `width` x `height` and the same field of view.

        An aligned rig stays aligned; otherwise the thermal camera is left as it is.
        """
        old = self.rgb.intrinsics
        hfov = 2.0 * math.degrees(math.atan(old.width / 2.0 / old.fx))
        new = Pinhole.from_hfov(width, height, hfov)
        rgb = replace(self.rgb, intrinsics=new)
        together = self.thermal.intrinsics == old
        return Rig(rgb, replace(self.thermal, intrinsics=new) if together else self.thermal)

    def thermal_to_rgb_homography(self, distance_m: float = 18.0) -> Matrix:
        """Return the 3x3 matrix that maps thermal pixels (x, y, 1) to RGB pixels.

        It is exact on the plane `distance_m` in front of the RGB camera, facing it; other
        depths are off by the parallax of the baseline.

        Raises:
            ValueError: the plane does not lie in front of both cameras.
        """
        position = np.asarray(self.thermal.position_m)
        depth = distance_m - position[2]
        if distance_m <= 0.1 or depth <= 0.1:
            raise ValueError(
                f"plane at {distance_m} m: it must lie at least 0.1 m in front of both cameras"
            )
        rotation = self.thermal.rotation
        back = rotation.T + np.outer(position, rotation[:, 2]) / depth
        thermal = np.linalg.inv(self.thermal.intrinsics.matrix)
        homography: Matrix = self.rgb.intrinsics.matrix @ back @ thermal
        homography /= homography[2, 2]
        return homography


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """A camera placed in the street: camera point = rotation @ (street point - centre).

    Street coordinates: x right, y up, z along the road, metres, origin on the ground.

    Attributes:
        intrinsics: the pinhole model.
        rotation: 3x3, street to optical frame.
        centre: (3,) camera position in street coordinates.
    """

    intrinsics: Pinhole
    rotation: Matrix
    centre: Matrix

    def to_camera(self, points: Matrix) -> Matrix:
        """Turn street points (..., 3) into the optical frame (..., 3)."""
        return turn(points - self.centre, self.rotation)

    def rays(self, step: int = 1) -> NDArray[np.float32]:
        """Return the street directions (rows, columns, 3) of every `step`-th pixel, depth 1."""
        k = self.intrinsics
        v, u = np.mgrid[0 : k.height : step, 0 : k.width : step].astype(np.float32)
        optical = np.stack([(u - k.cx) / k.fx, (v - k.cy) / k.fy, np.ones_like(u)], axis=-1)
        street: NDArray[np.float32] = turn(optical, self.rotation.T)
        return street

    def project(self, points: Matrix) -> Matrix:
        """Project street points (..., 3) to pixels (..., 2); points must lie in front."""
        p = self.to_camera(points)
        return np.stack(self.intrinsics.pixels(p, p[..., 2]), axis=-1)


def place(camera: Camera, centre: Vector3, yaw_rad: float, pitch_rad: float) -> Pose:
    """Place `camera` on a rig whose RGB camera stands at `centre` in street coordinates.

    Args:
        camera: the camera, with its mounting on the rig.
        centre: position of the RGB camera, metres.
        yaw_rad: heading of the rig, positive to the right.
        pitch_rad: positive looks down.
    """
    flip = np.diag([1.0, -1.0, 1.0])
    rig = rotation_x(pitch_rad) @ rotation_y(-yaw_rad) @ flip
    offset = rig.T @ np.asarray(camera.position_m)
    return Pose(camera.intrinsics, camera.rotation @ rig, np.asarray(centre) + offset)


PLANE_M = 18.0
"""Distance at which the homography is exact: the middle of a street scene."""


def homography_calibration(rig: Rig, *, seed: int, distance_m: float = PLANE_M) -> Calibration:
    """Return the homography of one plane.

    Args:
        rig: whose geometry.
        seed: named in `source`, for people.
        distance_m: the homography is exact for a plane this far in front of the RGB camera.

    Raises:
        ValueError: the plane does not lie in front of both cameras.
    """
    rgb, thermal = rig.rgb.intrinsics, rig.thermal.intrinsics
    return Calibration(
        (rgb.height, rgb.width),
        (thermal.height, thermal.width),
        rig.thermal_to_rgb_homography(distance_m),
        f"virtual rig, seed {seed}, plane at {distance_m:g} m",
    )


def write_calibration(path: Path, rig: Rig, *, seed: int, distance_m: float = PLANE_M) -> None:
    """Write `homography_calibration` to `path`, with the RGB camera's lens and the LiDAR's place.

    A half-written file is never seen.

    Raises:
        ValueError: the plane does not lie in front of both cameras.
        OSError: the file cannot be written.
    """
    lidar, rgb = Lidar(), rig.rgb.intrinsics
    place = Transform(LIDAR_TO_RGB, np.array(lidar.position_m))
    lens = Intrinsics((rgb.height, rgb.width), rgb.matrix)
    found = homography_calibration(rig, seed=seed, distance_m=distance_m)
    save_calibration(found, path, Mounting(lens, place, lidar.frame_id))
