# SPDX-License-Identifier: Apache-2.0
"""Camera intrinsics with lens distortion, in the three models of `sensor_msgs/CameraInfo`.

The centre of the upper left pixel is (0, 0). Optical frame: x right, y down, z forward (REP 103).
Formulas: OpenCV's camera model, which CameraInfo refers to; the tests compare with OpenCV itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmif_ros.error_codes import brief
from segmif_ros.registration.warp import Points, RegistrationError

LONGEST_SIDE = 16384
"""Pixels; a longer one is a mistake. `cv2.remap` takes no image of twice that."""

COEFFICIENTS = {"plumb_bob": 5, "rational_polynomial": 8, "equidistant": 4}
"""Distortion model -> how many coefficients it has."""

_WIDEST = np.radians(89.0)
"""Largest angle from the optical axis that is projected onto a plane."""
_SAMPLES = 30_001
_TANGENTIAL_STEPS = 30
_SETTLED = 1e-10


@dataclass(frozen=True, eq=False)
class Intrinsics:
    """One camera's lens and sensor.

    Attributes:
        size: image (height, width), pixels.
        matrix: 3x3 K.
        model: "plumb_bob" (k1, k2, p1, p2, k3), "rational_polynomial" (the same and k4, k5, k6)
            or "equidistant" (k1 to k4, a fisheye).
        coefficients: D; empty means no distortion ("plumb_bob" and "rational_polynomial" with
            zeros; an equidistant lens needs its four).
    """

    size: tuple[int, int]
    matrix: NDArray[np.float64]
    model: str = "plumb_bob"
    coefficients: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_size("size", self.size)
        matrix = np.asarray(self.matrix, np.float64)
        if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
            raise RegistrationError(f"k is {matrix.tolist()}, expected 3x3 finite numbers")
        if matrix[0, 0] == 0.0:
            raise RegistrationError("k[0] is 0: the camera is not calibrated; calibrate it")
        if (
            min(matrix[0, 0], matrix[1, 1]) <= 0.0
            or matrix[1, 0] != 0.0
            or matrix[2].tolist() != [0.0, 0.0, 1.0]
        ):
            raise RegistrationError(
                f"k is {matrix.tolist()}, expected [[fx, s, cx], [0, fy, cy], [0, 0, 1]] with fx "
                "and fy above 0, in pixels"
            )
        if self.model not in COEFFICIENTS:
            raise RegistrationError(
                f"distortion_model is '{brief(self.model)}', expected {', '.join(COEFFICIENTS)}"
            )
        known = COEFFICIENTS[self.model]
        if not any(self.coefficients[known:]):
            # Drivers pad with zeros, up to the 14 coefficients of OpenCV's largest model.
            object.__setattr__(self, "coefficients", tuple(self.coefficients[:known]))
        if not np.isfinite(self.coefficients).all() or not self._right_count():
            raise RegistrationError(
                f"d is {list(self.coefficients)}, expected {COEFFICIENTS[self.model]} finite "
                f"numbers for {self.model}"
            )
        object.__setattr__(self, "matrix", matrix)

    def to_normalised(self, pixels: Points) -> tuple[Points, NDArray[np.bool_]]:
        """Turn pixels (N, 2) into points (N, 2) on the plane at depth 1, distortion removed.

        Returns:
            The points, and which of them the lens model reaches; the others are 0.
        """
        homogeneous = np.column_stack([pixels, np.ones(len(pixels))])
        distorted = (homogeneous @ np.linalg.inv(self.matrix).T)[:, :2]
        bare = distorted
        if self._tangential.any():
            for _ in range(_TANGENTIAL_STEPS):
                undistorted, reached = self._undo_radial(bare)
                before, bare = bare, distorted - self._tangential_shift(undistorted)
                if np.abs(bare - before).max() < _SETTLED:
                    break
        undistorted, reached = self._undo_radial(bare)
        # Where the iteration has not converged, reprojection does not return to the pixel.
        back, forth = self._distort(undistorted)
        reached = reached & forth & (np.abs(back - distorted).max(axis=1) < 1e-5)
        return np.where(reached[:, None], undistorted, 0.0), reached

    def to_pixels(self, normalised: Points) -> tuple[Points, NDArray[np.bool_]]:
        """Project points (N, 2) on the plane at depth 1 to pixels (N, 2).

        Returns:
            The pixels, and which of them the lens model reaches: far outside its field of view a
            distortion polynomial is not monotonic and would map to the same pixels again.
        """
        distorted, reached = self._distort(normalised)
        distorted[~reached] = 0.0
        return distorted @ self.matrix[:2, :2].T + self.matrix[:2, 2], reached

    @cached_property
    def widest(self) -> float:
        """Largest x or y at depth 1 in the image, with a margin beyond its corners."""
        height, width = self.size
        ys, xs = np.mgrid[-1:height:25j, -1:width:33j]
        rays, reached = self.to_normalised(np.column_stack([xs.ravel(), ys.ravel()]))
        if not reached.all():
            return float(self._profile[0][-1])
        return 1.05 * float(np.abs(rays).max())

    def _right_count(self) -> bool:
        count = len(self.coefficients)
        if self.model == "plumb_bob":
            return count in (0, 4, 5)
        if self.model == "rational_polynomial":
            return count in (0, 8)
        return count == 4

    @cached_property
    def _padded(self) -> NDArray[np.float64]:
        d = np.zeros(8)
        d[: len(self.coefficients)] = self.coefficients
        return d

    @cached_property
    def _tangential(self) -> NDArray[np.float64]:
        return np.zeros(2) if self.model == "equidistant" else self._padded[2:4]

    def _radius(self, radius: Points) -> Points:
        """Distance from the centre after distortion, of points at `radius` before; plane z = 1."""
        d = self._padded
        if self.model == "equidistant":
            theta = np.arctan(radius)
            q = theta * theta
            return np.asarray(theta * (1 + q * (d[0] + q * (d[1] + q * (d[2] + q * d[3])))))
        q = radius * radius
        above = 1 + q * (d[0] + q * (d[1] + q * d[4]))
        below = 1 + q * (d[5] + q * (d[6] + q * d[7]))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(radius * above / below)

    @cached_property
    def _profile(self) -> tuple[Points, Points]:
        """Radii before and after distortion, up to where both increase."""
        before = np.tan(np.linspace(0.0, _WIDEST, _SAMPLES))
        after = self._radius(before)
        grows = np.diff(after) > 0.0
        end = _SAMPLES if grows.all() else int(np.argmin(grows)) + 1
        return before[:end], after[:end]

    def _undo_radial(self, distorted: Points) -> tuple[Points, NDArray[np.bool_]]:
        before, after = self._profile
        radius = np.linalg.norm(distorted, axis=1)
        ratio = np.interp(radius, after, before) / np.where(radius > 0.0, radius, 1.0)
        return distorted * ratio[:, None], radius <= after[-1]

    def _distort(self, normalised: Points) -> tuple[Points, NDArray[np.bool_]]:
        radius = np.linalg.norm(normalised, axis=1)
        reached = radius <= self._profile[0][-1]
        # Off the axis only: there the ratio is 0 / 0, and 1.
        inside = np.where(reached & (radius > 0.0), radius, 1e-9)
        distorted = normalised * (self._radius(inside) / inside)[:, None]
        if self._tangential.any():
            distorted = distorted + self._tangential_shift(normalised)
        return distorted, reached

    def _tangential_shift(self, normalised: Points) -> Points:
        p1, p2 = self._tangential
        x, y = normalised.T
        q = x * x + y * y
        return np.column_stack(
            [2 * p1 * x * y + p2 * (q + 2 * x * x), p1 * (q + 2 * y * y) + 2 * p2 * x * y]
        )


def check_size(name: str, size: tuple[int, int]) -> None:
    """Refuse an implausible image size (height, width).

    Raises:
        RegistrationError: a side is not above 0, or too long.
    """
    if not all(0 < length <= LONGEST_SIDE for length in size):
        raise RegistrationError(
            f"{name} (height, width) is {size}, expected above 0 and at most {LONGEST_SIDE}"
        )


def check_whole_image(camera: Any) -> None:
    """Refuse intrinsics of a camera that is binned or read out in part: K is of the full image.

    Args:
        camera: a `sensor_msgs/CameraInfo`, or what has its fields; `roi` may be None.

    Raises:
        RegistrationError: binning above 1, or a region of interest.
    """
    binning = [camera.binning_x, camera.binning_y]
    if max(binning) > 1:
        raise RegistrationError(f"binning is {binning}, expected none: k is for the whole sensor")
    if (roi := camera.roi) is None:
        return
    found = [roi.x_offset, roi.y_offset, roi.width, roi.height]
    if found not in ([0, 0, 0, 0], [0, 0, camera.width, camera.height]):
        raise RegistrationError(f"roi is {found} (x, y, width, height), expected the whole image")


def intrinsics_of(info: Any, *, rectified: bool = False) -> Intrinsics:
    """Read the lens from a `sensor_msgs/CameraInfo`, or what has its fields.

    Args:
        info: the message.
        rectified: of the rectified image (P) instead of the raw one (K and D).

    Raises:
        RegistrationError: not calibrated (K[0] is 0), binned, cropped, or of no known model.
    """
    check_whole_image(info)
    size = (info.height, info.width)
    if rectified:
        return Intrinsics(size, np.reshape(info.p, (3, 4))[:, :3])
    coefficients = tuple(info.d)
    # Drivers of ideal cameras leave the model empty.
    model = info.distortion_model if info.distortion_model or any(coefficients) else "plumb_bob"
    return Intrinsics(size, np.array(info.k, np.float64).reshape(3, 3), model, coefficients)


def difference_px(one: Intrinsics, other: Intrinsics) -> float:
    """Return the furthest that two cameras image the same ray apart, pixels.

    Args:
        one: the camera whose whole image is sampled.
        other: a camera with images of the same size.

    Returns:
        Infinity when one of them images a ray that the other does not.
    """
    height, width = one.size
    ys, xs = np.mgrid[0 : height - 1 : 13j, 0 : width - 1 : 17j]
    grid = np.column_stack([xs.ravel(), ys.ravel()])
    rays, seen = one.to_normalised(grid)
    pixels, reached = other.to_pixels(rays)
    if not seen.any() or not reached[seen].all():
        return float("inf")
    return float(np.linalg.norm(pixels - grid, axis=1)[seen].max())
