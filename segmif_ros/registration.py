# SPDX-License-Identifier: Apache-2.0
"""Thermal -> RGB geometry: a homography turned once into a remap table, applied once a frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from segmif_ros.frames import Image8

_EDGE = 1 / 64
"""Half of remap's subpixel step: a pixel on the border belongs to the image despite rounding."""


class RegistrationError(ValueError):
    """A calibration cannot be read, or does not fit the frames; the message names the value."""


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Where each thermal pixel lies in the RGB image.

    Attributes:
        rgb_size: RGB image (height, width) the homography was made for.
        thermal_size: thermal image (height, width).
        homography: 3x3 float64, maps thermal (x, y, 1) to RGB (x, y, 1) up to scale.
        source: where it came from, one line for people.
    """

    rgb_size: tuple[int, int]
    thermal_size: tuple[int, int]
    homography: NDArray[np.float64]
    source: str = ""

    def __post_init__(self) -> None:
        sizes = (*self.rgb_size, *self.thermal_size)
        if not all(length > 0 for length in sizes):
            raise RegistrationError(
                f"sizes (height, width) are rgb {self.rgb_size} and thermal {self.thermal_size}, "
                "expected above 0"
            )
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

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read a calibration YAML (docs/calibration.md).

        Raises:
            RegistrationError: unreadable, a field missing, or a singular homography.
        """
        name = f"calibration {str(path)!r}"
        try:
            raw: Any = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as err:
            raise RegistrationError(
                f"{name} cannot be read: {err}; give the path of a calibration YAML"
            ) from err
        try:
            matrix = np.asarray(raw["homography"], np.float64)
            rgb = (int(raw["rgb"]["height"]), int(raw["rgb"]["width"]))
            thermal = (int(raw["thermal"]["height"]), int(raw["thermal"]["width"]))
            source = str(raw.get("source", ""))
        except (KeyError, TypeError, ValueError) as err:
            raise RegistrationError(
                f"{name}: {err} is missing or malformed; expected rgb and "
                "thermal with width and height, and a 3x3 homography (docs/calibration.md)"
            ) from err
        try:
            return cls(rgb, thermal, matrix, source)
        except RegistrationError as err:
            raise RegistrationError(f"{name}: {err}; calibrate again") from err

    def save(self, path: str | Path) -> None:
        """Write the YAML that `load` reads; folders are made, a half-written file is never seen.

        Raises:
            OSError: the file cannot be written.
        """
        content = {
            "rgb": {"width": self.rgb_size[1], "height": self.rgb_size[0]},
            "thermal": {"width": self.thermal_size[1], "height": self.thermal_size[0]},
            "homography": np.asarray(self.homography, np.float64).tolist(),
            "source": self.source,
        }
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        part.write_text(
            yaml.safe_dump(content, sort_keys=False, default_flow_style=None), encoding="utf-8"
        )
        part.replace(target)


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
