# SPDX-License-Identifier: Apache-2.0
"""Where sensors sit relative to the RGB camera: rigid transforms, and how ROS writes them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segmif_ros.registration.calibration import as_rotation
from segmif_ros.registration.geometry import RegistrationError
from segmif_ros.registration.lens import Intrinsics


@dataclass(frozen=True, slots=True, eq=False)
class Transform:
    """A point at `p` in the sensor's frame lies at `rotation @ p + translation_m` in RGB's.

    Attributes:
        rotation: 3x3.
        translation_m: (3,) metres: where the sensor sits, seen from the RGB camera.
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
        """Return the transform of a sensor that is the RGB camera itself."""
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
    """What a calibration file says about sensors other than the thermal camera.

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
