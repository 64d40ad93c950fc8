# SPDX-License-Identifier: Apache-2.0
"""Mapping of thermal pixels to the RGB image: a homography, or two cameras and their mounting."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segmif_ros.registration.lens import Intrinsics, check_size
from segmif_ros.registration.warp import Points, RegistrationError

FURTHEST_MOUNTING_M = 10.0
"""Largest distance between two cameras of a rig, metres; more suggests millimetres."""


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """A homography.

    Attributes:
        rgb_size: RGB image (height, width) the homography was made for.
        thermal_size: thermal image (height, width).
        homography: 3x3 float64, maps thermal (x, y, 1) to RGB (x, y, 1) up to scale.
        source: origin, one line.
    """

    rgb_size: tuple[int, int]
    thermal_size: tuple[int, int]
    homography: NDArray[np.float64]
    source: str = ""

    def __post_init__(self) -> None:
        check_size("rgb", self.rgb_size)
        check_size("thermal", self.thermal_size)
        matrix = np.asarray(self.homography)
        if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
            raise RegistrationError(
                f"homography {matrix.tolist()} of shape {matrix.shape}, expected 3x3 finite numbers"
            )
        scale = float(np.abs(matrix).max())
        if scale == 0.0 or abs(float(np.linalg.det(matrix / scale))) < 1e-12:
            raise RegistrationError(
                f"the homography {matrix.tolist()} is singular, expected one that can be inverted"
            )

    def to_thermal(self, rgb_pixels: Points) -> tuple[Points, NDArray[np.bool_]]:
        """See `Geometry`."""
        source = np.linalg.inv(self.homography) @ _homogeneous(rgb_pixels)
        # The image centre is on the visible side of the line at infinity.
        height, width = self.thermal_size
        source *= np.sign(self.homography[2] @ np.array([(width - 1) / 2, (height - 1) / 2, 1.0]))
        ahead = source[2] > 1e-9 * np.abs(source[2]).max()
        return (source[:2] / np.where(ahead, source[2], 1.0)).T, ahead

    def describe(self) -> str:
        """See `Geometry`."""
        return f"homography ({self.source or 'no source given'})"


@dataclass(frozen=True, slots=True, eq=False)
class RigCalibration:
    """Two calibrated cameras, their mounting, and the depth of the scene.

    A point of the scene at `p` in the thermal optical frame lies at `rotation @ p + translation_m`
    in the RGB optical frame (x right, y down, z forward: REP 103). `translation_m` is the position
    of the thermal camera in the RGB frame.

    Attributes:
        rgb: intrinsics of the RGB camera, of the image as published (distortion included).
        thermal: intrinsics of the thermal camera, likewise.
        rotation: 3x3, thermal optical frame to RGB optical frame.
        translation_m: (3,) metres.
        nearest_m: smallest depth of the scene along the RGB camera's axis, metres.
        furthest_m: largest depth, the same number for a plane, infinity allowed.
        source: origin, one line.
    """

    rgb: Intrinsics
    thermal: Intrinsics
    rotation: NDArray[np.float64]
    translation_m: NDArray[np.float64]
    nearest_m: float
    furthest_m: float
    source: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rotation", as_rotation(np.asarray(self.rotation, np.float64)))
        translation = np.asarray(self.translation_m, np.float64)
        if translation.shape != (3,) or not np.isfinite(translation).all():
            raise RegistrationError(
                f"translation_m is {translation.tolist()}, expected three finite numbers"
            )
        if float(np.linalg.norm(translation)) > FURTHEST_MOUNTING_M:
            raise RegistrationError(
                f"translation_m is {translation.tolist()}, more than {FURTHEST_MOUNTING_M:g} m "
                "between the cameras; give metres"
            )
        object.__setattr__(self, "translation_m", translation)
        if not (0.0 < self.nearest_m <= self.furthest_m and math.isfinite(self.nearest_m)):
            raise RegistrationError(
                f"the depth is {self.nearest_m:g} to {self.furthest_m:g} m, expected "
                "plane_distance_m above 0, or depth_range_m: [nearest, furthest] above 0"
            )
        if self.plane_m <= float(translation[2]) + 0.05:
            raise RegistrationError(
                f"the plane at {self.plane_m:g} m does not lie in front of the thermal camera, "
                f"which sits at {translation.tolist()} m; give a larger depth"
            )

    @property
    def rgb_size(self) -> tuple[int, int]:
        """RGB image (height, width)."""
        return self.rgb.size

    @property
    def thermal_size(self) -> tuple[int, int]:
        """Thermal image (height, width)."""
        return self.thermal.size

    @property
    def plane_m(self) -> float:
        """Depth at which thermal and RGB agree, metres.

        For a range it is the middle in 1/depth, where the parallax is the same at both ends.
        """
        return 2.0 / (1.0 / self.nearest_m + 1.0 / self.furthest_m)

    def to_thermal(self, rgb_pixels: Points) -> tuple[Points, NDArray[np.bool_]]:
        """See `Geometry`; for points at the depth `plane_m`."""
        rays, reached = self.rgb.to_normalised(rgb_pixels)
        points = self.plane_m * _homogeneous(rays).T - self.translation_m
        points = points @ self.rotation  # the inverse rotation, applied to rows
        ahead = points[:, 2] > 1e-6
        normalised = points[:, :2] / np.where(ahead, points[:, 2], 1.0)[:, None]
        pixels, seen = self.thermal.to_pixels(normalised)
        return pixels, reached & ahead & seen

    def parallax_px(self, depth_m: float) -> float:
        """Return the largest error of things at `depth_m`, in RGB pixels.

        Args:
            depth_m: along the RGB camera's axis, metres; infinity allowed.

        Returns:
            0 at `plane_m`; infinity if that depth is outside the thermal view.
        """
        height, width = self.rgb_size
        ys, xs = np.mgrid[0 : height - 1 : 13j, 0 : width - 1 : 17j]
        grid = np.column_stack([xs.ravel(), ys.ravel()])
        thermal, used = self.to_thermal(grid)
        bottom, right = np.array(self.thermal_size) - 1
        used &= ((thermal >= 0) & (thermal <= (right, bottom))).all(axis=1)
        rays, _ = self.thermal.to_normalised(thermal[used])
        directions = _homogeneous(rays).T @ self.rotation.T
        # From the position of the thermal camera to that depth; at infinity only directions count.
        along = (depth_m - self.translation_m[2]) / directions[:, 2]
        ahead = (directions[:, 2] > 1e-6) & (along > 0.0)
        if not ahead.any():
            return math.inf
        rays = directions[ahead]
        rays = rays / rays[:, 2:]
        if math.isfinite(depth_m):
            offset = self.translation_m - self.translation_m[2] * rays
            rays = rays + offset / depth_m
        shown, reached = self.rgb.to_pixels(rays[:, :2])
        errors = np.linalg.norm(shown - grid[used][ahead], axis=1)[reached]
        return float(errors.max()) if len(errors) else math.inf

    def describe(self) -> str:
        """See `Geometry`."""
        text = f"rig ({self.source or 'no source given'}), exact at {self.plane_m:.3g} m"
        if self.nearest_m < self.furthest_m:
            ends = " and ".join(
                f"{self.parallax_px(depth):.1f} px at {depth:g} m"
                for depth in (self.nearest_m, self.furthest_m)
            )
            text += f", off by up to {ends}"
        return text


def _homogeneous(points: Points) -> Points:
    """(N, 2) points as (3, N) with ones."""
    return np.vstack([points.T, np.ones(len(points))])


def as_rotation(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rotation nearest to a 3x3 matrix, to correct rounding.

    Raises:
        RegistrationError: the matrix is not a rotation.
    """
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        raise RegistrationError(
            f"the rotation {matrix.tolist()} is not 3x3 finite numbers or a quaternion x, y, z, w"
        )
    error = float(np.abs(matrix @ matrix.T - np.eye(3)).max())
    if error > 5e-3 or np.linalg.det(matrix) < 0.0:
        raise RegistrationError(
            f"the rotation {matrix.tolist()} is none (off by {error:.2g}, determinant "
            f"{np.linalg.det(matrix):.3g}), expected orthonormal rows and determinant 1"
        )
    u, _, vt = np.linalg.svd(matrix)
    return np.asarray(u @ vt)


@dataclass(frozen=True, slots=True, eq=False)
class Transform:
    """A point at `p` in the sensor's frame lies at `rotation @ p + translation_m` in RGB's.

    Attributes:
        rotation: 3x3.
        translation_m: (3,) metres: position of the sensor in the RGB frame.
    """

    rotation: NDArray[np.float64]
    translation_m: NDArray[np.float64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "rotation", as_rotation(np.asarray(self.rotation, np.float64)))
        translation = np.asarray(self.translation_m, np.float64)
        if translation.shape != (3,) or not np.isfinite(translation).all():
            raise RegistrationError(
                f"translation_m is {translation.tolist()}, expected three finite numbers"
            )
        object.__setattr__(self, "translation_m", translation)

    @classmethod
    def identity(cls) -> Transform:
        """Return the identity transform."""
        return cls(np.eye(3), np.zeros(3))

    @property
    def quaternion(self) -> tuple[float, float, float, float]:
        """The rotation as x, y, z, w, with w not negative."""
        m = self.rotation
        # The largest of the four first: the others are divided by it.
        squares = np.array([
            1 + m[0, 0] - m[1, 1] - m[2, 2], 1 - m[0, 0] + m[1, 1] - m[2, 2],
            1 - m[0, 0] - m[1, 1] + m[2, 2], 1 + m[0, 0] + m[1, 1] + m[2, 2],
        ])  # fmt: skip
        products = np.array([
            [squares[0], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0], m[2, 1] - m[1, 2]],
            [m[0, 1] + m[1, 0], squares[1], m[1, 2] + m[2, 1], m[0, 2] - m[2, 0]],
            [m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], squares[2], m[1, 0] - m[0, 1]],
            [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], squares[3]],
        ])  # fmt: skip
        q = products[int(np.argmax(squares))]
        q = q / math.copysign(float(np.linalg.norm(q)), q[3] if q[3] else 1.0)
        return float(q[0]), float(q[1]), float(q[2]), float(q[3])

    def publisher_line(self, parent: str, child: str) -> str:
        """Return the command that publishes it on /tf_static, `parent` being the RGB camera."""
        x, y, z = (f"{value:.6f}" for value in self.translation_m)
        qx, qy, qz, qw = (f"{value:.8f}" for value in self.quaternion)
        return (
            f"ros2 run tf2_ros static_transform_publisher --x {x} --y {y} --z {z} --qx {qx} "
            f"--qy {qy} --qz {qz} --qw {qw} --frame-id {parent} --child-frame-id {child}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Mounting:
    """Sensors in a calibration file other than the thermal camera.

    Attributes:
        rgb: intrinsics of the RGB camera, None where the file has only its size.
        lidar: LiDAR frame to RGB optical frame, None without one.
        lidar_frame: frame id that its clouds must have, empty for any.
        depth: intrinsics of a depth camera of its own, None where depth is registered to RGB.
        depth_transform: its optical frame to RGB's.
    """

    rgb: Intrinsics | None = None
    lidar: Transform | None = None
    lidar_frame: str = ""
    depth: Intrinsics | None = None
    depth_transform: Transform | None = None
