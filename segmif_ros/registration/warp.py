# SPDX-License-Identifier: Apache-2.0
"""Computes a remap table, lens distortion included, and warps a frame with one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.frames import Image8, ThermalImage

Points = NDArray[np.float64]
"""(N, 2) pixels (x, y); (0, 0) is the centre of the upper left one."""


class RegistrationError(ValueError):
    """A calibration cannot be read, or does not fit the frames; the message names the value."""


class Geometry(Protocol):
    """Input of the remap table."""

    @property
    def rgb_size(self) -> tuple[int, int]:
        """RGB image (height, width)."""

    @property
    def thermal_size(self) -> tuple[int, int]:
        """Thermal image (height, width)."""

    @property
    def source(self) -> str:
        """Where it came from, one line for people."""

    def to_thermal(self, rgb_pixels: Points) -> tuple[Points, NDArray[np.bool_]]:
        """Return where RGB pixels (N, 2) lie in the thermal image, and which it can see at all."""

    def describe(self) -> str:
        """Return one line for diagnostics."""


_SAME_LENS = 0.02
"""Focal lengths of one lens differ by a smaller share."""
_EDGE = 1 / 64
"""Half of remap's subpixel step: a pixel on the border counts as inside despite rounding."""
_BLOCK_PIXELS = 1 << 16
"""Rows per block of the computation, which limits intermediate results to a few megabytes."""


class RemapTable(NamedTuple):
    """Arguments of `cv2.remap`, and the mask of valid pixels.

    Floating point, because OpenCV 5 warps by it faster than by its fixed-point tables, above all
    with several threads; OpenCV 4 takes as long with either.

    Attributes:
        x: HxW float32, thermal column of each RGB pixel.
        y: HxW float32, thermal row.
        valid: HxW uint8, 255 inside the thermal view, else 0.
    """

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    valid: Image8


def remap_table(geometry: Geometry) -> RemapTable:
    """Compute the thermal coordinates of each RGB pixel.

    Raises:
        RegistrationError: the two images do not overlap.
    """
    height, width = geometry.rgb_size
    bottom, right = geometry.thermal_size[0] - 1, geometry.thermal_size[1] - 1
    map_x, map_y = np.empty((2, height, width), np.float32)
    valid = np.empty((height, width), np.uint8)
    rows = max(1, _BLOCK_PIXELS // width)
    for top in range(0, height, rows):
        ys, xs = np.mgrid[top : min(top + rows, height), 0:width].astype(np.float64)
        pixels, seen = geometry.to_thermal(np.column_stack([xs.ravel(), ys.ravel()]))
        x, y = pixels.T
        inside = seen & (x > -_EDGE) & (x < right + _EDGE) & (y > -_EDGE) & (y < bottom + _EDGE)
        pixels = np.where(inside[:, None], pixels.clip(0, (right, bottom)), -2.0)
        map_x[top : top + rows], map_y[top : top + rows] = pixels.T.reshape(2, *xs.shape)
        valid[top : top + rows] = inside.reshape(xs.shape) * np.uint8(255)
    if not valid.any():
        raise RegistrationError(
            f"the calibration ({geometry.source or 'no source given'}) puts the whole "
            "thermal image outside the RGB image; calibrate again"
        )
    return RemapTable(map_x, map_y, valid)


class Registration:
    """Warps thermal frames into the RGB image as it is published, lens distortion included.

    Without a calibration it only scales, which is correct only for registered pairs. `describe`
    returns which of the two applies, and the node reports it.

    >>> import numpy as np
    >>> from segmif_ros import Calibration, Registration
    >>> twice = np.diag([2.0, 2.0, 1.0])
    >>> registration = Registration(Calibration((480, 640), (256, 320), twice, "by hand"))
    >>> registration.describe()
    'homography (by hand), covers 100 % of RGB'
    >>> registration.apply(np.full((256, 320), 7, np.uint8), (480, 640)).shape
    (480, 640)
    """

    def __init__(self, calibration: Geometry | None = None) -> None:
        """Compute the remap table (a fraction of a second).

        Raises:
            RegistrationError: the two images do not overlap.
        """
        self.calibration = calibration
        self._table = None if calibration is None else remap_table(calibration)
        self._description = "none: thermal and RGB are taken as registered"
        if calibration is not None and self._table is not None:
            covered = np.count_nonzero(self._table.valid) / self._table.valid.size
            self._description = f"{calibration.describe()}, covers {100 * covered:.0f} % of RGB"

    def describe(self) -> str:
        """Return one line for diagnostics."""
        return self._description

    def apply(
        self, thermal: Image8, rgb_size: tuple[int, int], out: Image8 | None = None
    ) -> Image8:
        """Warp one thermal frame.

        Args:
            thermal: hxw uint8.
            rgb_size: (height, width) of the RGB frame it belongs to.
            out: HxW uint8 to write to, a new array if None.

        Returns:
            HxW uint8; 0 outside the thermal view. The input itself if the sizes are equal and
            there is no calibration.

        Raises:
            RegistrationError: a frame size is not the one the calibration was made for.
        """
        size = (int(thermal.shape[0]), int(thermal.shape[1]))
        if self._table is None:
            if size == rgb_size:
                return thermal
            return np.asarray(cv2.resize(thermal, rgb_size[::-1], out), np.uint8)
        self._check(size, rgb_size)
        table = self._table
        warped: Any = cv2.remap(thermal, table.x, table.y, cv2.INTER_LINEAR, out)
        return np.asarray(warped, np.uint8)

    def values(self, thermal: ThermalImage, rgb_size: tuple[int, int]) -> NDArray[np.float32]:
        """Warp thermal values, not grey levels, into the RGB image.

        Args:
            thermal: hxw of any type.
            rgb_size: (height, width) of the result; without a calibration the sizes may differ.

        Returns:
            A new HxW float32, NaN outside the thermal view.

        Raises:
            RegistrationError: as `apply`.
        """
        raw = np.asarray(thermal, np.float32)
        size = (int(raw.shape[0]), int(raw.shape[1]))
        if self._table is None:
            if size == rgb_size:
                return np.array(raw, np.float32)
            return np.asarray(cv2.resize(raw, rgb_size[::-1]), np.float32)
        self._check(size, rgb_size)
        out: Any = cv2.remap(raw, self._table.x, self._table.y, cv2.INTER_LINEAR)
        out[self._table.valid == 0] = np.nan
        return np.asarray(out, np.float32)

    @property
    def table(self) -> RemapTable | None:
        """Thermal coordinates of each RGB pixel; None without a calibration."""
        return self._table

    def valid_area(self, thermal_size: tuple[int, int], rgb_size: tuple[int, int]) -> Image8:
        """Return HxW uint8: 255 where `apply` has thermal data, else 0."""
        if self._table is None:
            return np.full(rgb_size, 255, np.uint8)
        self._check(thermal_size, rgb_size)
        return self._table.valid

    def _check(self, thermal_size: tuple[int, int], rgb_size: tuple[int, int]) -> None:
        calibration = self.calibration
        assert calibration is not None
        if thermal_size != calibration.thermal_size or rgb_size != calibration.rgb_size:
            raise RegistrationError(
                f"calibration is for thermal {calibration.thermal_size} and RGB "
                f"{calibration.rgb_size} (height, width), the frames are {thermal_size} and "
                f"{rgb_size}; calibrate again at this resolution"
            )


def cameras_differ(
    rgb_pixels: str, thermal_pixels: str, rgb_focal: Sequence[float], thermal_focal: Sequence[float]
) -> str:
    """Return why two cameras cannot show one picture without a calibration, empty if they may.

    Args:
        rgb_pixels: its size as "640x480", empty while unknown.
        thermal_pixels: likewise.
        rgb_focal: focal lengths along both axes, pixels; empty while unknown.
        thermal_focal: likewise.
    """
    if not (rgb_pixels and thermal_pixels):
        return ""
    if rgb_pixels != thermal_pixels:
        return f"rgb has {rgb_pixels} pixels and thermal {thermal_pixels}"
    ratios = (
        [a / b for a, b in zip(rgb_focal, thermal_focal, strict=True)]
        if rgb_focal and thermal_focal
        else []
    )
    if any(abs(ratio - 1.0) > _SAME_LENS for ratio in ratios):
        return (
            f"focal lengths differ: rgb {rgb_focal[0]:.0f}, thermal {thermal_focal[0]:.0f} pixels"
        )
    return ""
