# SPDX-License-Identifier: Apache-2.0
"""The calibration file: where each thermal pixel lies in the RGB image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from segmif_ros.registration.errors import RegistrationError


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
