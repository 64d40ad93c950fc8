# SPDX-License-Identifier: Apache-2.0
"""Thermal -> RGB geometry: calibration files, the remap table made from one, and its use."""

from segmif_ros.registration.calibration import Calibration
from segmif_ros.registration.errors import RegistrationError
from segmif_ros.registration.warp import Registration

__all__ = ["Calibration", "Registration", "RegistrationError"]
