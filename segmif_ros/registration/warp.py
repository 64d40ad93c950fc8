# SPDX-License-Identifier: Apache-2.0
"""Thermal -> RGB geometry: a homography turned once into a remap table, applied once a frame."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.frames import Image8
from segmif_ros.registration.calibration import Calibration
from segmif_ros.registration.errors import RegistrationError

_EDGE = 1 / 64
"""Half of remap's subpixel step: a pixel on the border belongs to the image despite rounding."""


class Registration:
    """Brings thermal frames into the RGB image; without a calibration it only scales.

    Scaling is right for pairs that are registered already and wrong for a bare rig: `describe`
    says which of the two is in force, and the node reports it.
    """

    def __init__(self, calibration: Calibration | None = None) -> None:
        self.calibration = calibration
        self._key: tuple[tuple[int, int], tuple[int, int]] | None = None
        self._tables: tuple[NDArray[Any], NDArray[Any]] | None = None
        self._valid: Image8 | None = None

    def describe(self) -> str:
        """Return one line for diagnostics."""
        if self.calibration is None:
            return "none: thermal and RGB are taken as registered"
        return f"homography ({self.calibration.source or 'no source given'})"

    def apply(self, thermal: Image8, rgb_size: tuple[int, int]) -> Image8:
        """Warp one thermal frame.

        Args:
            thermal: hxw uint8.
            rgb_size: (height, width) of the RGB frame it belongs to.

        Returns:
            HxW uint8; 0 where the thermal camera does not see. The input itself when the sizes
            agree and there is no calibration.

        Raises:
            RegistrationError: a frame size is not the one the calibration was made for, or the
                two images do not overlap.
        """
        size = (int(thermal.shape[0]), int(thermal.shape[1]))
        if self.calibration is None:
            if size == rgb_size:
                return thermal
            return np.asarray(
                cv2.resize(thermal, rgb_size[::-1], interpolation=cv2.INTER_LINEAR), np.uint8
            )
        if self._key != (size, rgb_size):
            self._prepare(size, rgb_size)
        assert self._tables is not None
        return np.asarray(cv2.remap(thermal, *self._tables, cv2.INTER_LINEAR), np.uint8)

    def valid_area(self, thermal_size: tuple[int, int], rgb_size: tuple[int, int]) -> Image8:
        """Return HxW uint8: 255 where `apply` has thermal data, else 0."""
        if self.calibration is None:
            return np.full(rgb_size, 255, np.uint8)
        if self._key != (thermal_size, rgb_size):
            self._prepare(thermal_size, rgb_size)
        assert self._valid is not None
        return self._valid

    def _prepare(self, thermal_size: tuple[int, int], rgb_size: tuple[int, int]) -> None:
        calibration = self.calibration
        assert calibration is not None
        if thermal_size != calibration.thermal_size or rgb_size != calibration.rgb_size:
            raise RegistrationError(
                f"calibration is for thermal {calibration.thermal_size} and RGB "
                f"{calibration.rgb_size} (height, width), the frames are {thermal_size} and "
                f"{rgb_size}; calibrate again at this resolution"
            )
        source = np.linalg.inv(calibration.homography) @ _pixels(rgb_size)
        # Of the two sides of the line at infinity the camera sees the one its centre looks at.
        centre = np.array([(thermal_size[1] - 1) / 2, (thermal_size[0] - 1) / 2, 1.0])
        source *= np.sign(calibration.homography[2] @ centre)
        ahead = source[2] > 1e-9 * np.abs(source[2]).max()
        x, y = source[:2] / np.where(ahead, source[2], 1.0)
        right, bottom = thermal_size[1] - 1, thermal_size[0] - 1
        inside = ahead & (x > -_EDGE) & (x < right + _EDGE) & (y > -_EDGE) & (y < bottom + _EDGE)
        if not inside.any():
            raise RegistrationError(
                f"the calibration ({calibration.source or 'no source given'}) puts the whole "
                "thermal image outside the RGB image; calibrate again"
            )
        map_x = np.where(inside, x.clip(0, right), -2.0).reshape(rgb_size).astype(np.float32)
        map_y = np.where(inside, y.clip(0, bottom), -2.0).reshape(rgb_size).astype(np.float32)
        self._valid = (inside.reshape(rgb_size) * np.uint8(255)).astype(np.uint8)
        self._tables = cv2.convertMaps(map_x, map_y, cv2.CV_16SC2)
        self._key = (thermal_size, rgb_size)


def _pixels(size: tuple[int, int]) -> NDArray[np.float64]:
    """Homogeneous (x, y, 1) of every pixel, 3xN, row by row."""
    ys, xs = np.mgrid[0 : size[0], 0 : size[1]].astype(np.float64)
    return np.stack([xs.ravel(), ys.ravel(), np.ones(xs.size)])
