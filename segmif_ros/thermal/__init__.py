# SPDX-License-Identifier: Apache-2.0
"""Thermal frames to the 8-bit image the network was trained on.

Training and node share this code, so that what the network sees on a vehicle is what it learnt.
"""

from segmif_ros.thermal.normaliser import ThermalNormaliser
from segmif_ros.thermal.settings import THERMAL_MODES, ThermalError, ThermalMode, ThermalSettings
from segmif_ros.thermal.shutter import ShutterState, ShutterWatch

__all__ = [
    "THERMAL_MODES",
    "ShutterState",
    "ShutterWatch",
    "ThermalError",
    "ThermalMode",
    "ThermalNormaliser",
    "ThermalSettings",
]
