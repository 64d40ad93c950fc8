# SPDX-License-Identifier: Apache-2.0
"""Thermal -> RGB geometry: calibration files, the remap table made from one, and its use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segmif_ros.registration.calibration import Calibration, Geometry, RigCalibration
from segmif_ros.registration.errors import RegistrationError
from segmif_ros.registration.lens import Intrinsics
from segmif_ros.registration.warp import Registration

if TYPE_CHECKING:
    from segmif_ros.registration.calibration_file import load_calibration, save_calibration

__all__ = [
    "Calibration",
    "Geometry",
    "Intrinsics",
    "Registration",
    "RegistrationError",
    "RigCalibration",
    "load_calibration",
    "save_calibration",
]


def __getattr__(name: str) -> Any:
    """Load the code for files when a file is read or written: a node without one starts without."""
    if name in ("load_calibration", "save_calibration"):
        from segmif_ros.registration import calibration_file

        return getattr(calibration_file, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
