# SPDX-License-Identifier: Apache-2.0
"""Thermal -> RGB geometry: calibration files, the remap table made from one, and its use."""

from segmif_ros.registration.calibration import Calibration, Geometry, RigCalibration
from segmif_ros.registration.calibration_file import load_calibration, save_calibration
from segmif_ros.registration.errors import RegistrationError
from segmif_ros.registration.lens import Intrinsics
from segmif_ros.registration.warp import Registration

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
