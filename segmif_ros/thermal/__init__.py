# SPDX-License-Identifier: Apache-2.0
"""Renders thermal frames as the 8-bit images that the network is trained on.

Training and node share this code, so that both have the same input.
"""

from segmif_ros.thermal.freeze import FreezeLimits, FreezeWatch
from segmif_ros.thermal.normaliser import ThermalNormaliser
from segmif_ros.thermal.tone import THERMAL_MODES, ThermalError, ThermalMode, ThermalSettings

__all__ = [
    "THERMAL_MODES",
    "FreezeLimits",
    "FreezeWatch",
    "ThermalError",
    "ThermalMode",
    "ThermalNormaliser",
    "ThermalSettings",
]
