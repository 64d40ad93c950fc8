# SPDX-License-Identifier: Apache-2.0
"""What travels between the rooms: one pair of camera frames in, one perception out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image8 = NDArray[np.uint8]
ThermalImage = NDArray[Any]
"""HxW uint8 (already rendered), uint16 (counts or centi-Kelvin) or float32 (degrees Celsius)."""

UNLABELLED = 255
"""Mask value for "no class", the maximum id of mono8 (vision_msgs/VisionClass)."""


@dataclass(frozen=True, slots=True, eq=False)
class FramePair:
    """One RGB frame and the thermal frame that belongs to it, as the cameras delivered them.

    Attributes:
        rgb: HxWx3 uint8, channel order R, G, B.
        thermal: hxw uint8, uint16 or float32, not yet registered to the RGB camera.
        stamp_ns: acquisition time of the RGB frame, nanoseconds.
        thermal_stamp_ns: acquisition time of the thermal frame, nanoseconds.
        frame_id: optical frame of the RGB camera (REP-103, REP-105).
    """

    rgb: Image8
    thermal: ThermalImage
    stamp_ns: int
    thermal_stamp_ns: int
    frame_id: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Perception:
    """What one pair became. All images have the height and width of the RGB frame.

    Attributes:
        fused: HxWx3 uint8 RGB.
        mask: HxW uint8 class ids, 255 = unlabelled.
        confidence: HxW uint8, probability of the winning class times 255.
        thermal: HxW uint8, the thermal image as the network saw it (normalised, registered).
        stamp_ns: copied from the RGB frame.
        frame_id: copied from the RGB frame.
        timings_ms: time per stage ("thermal", "registration", "inference"), milliseconds.
    """

    fused: Image8
    mask: Image8
    confidence: Image8
    thermal: Image8
    stamp_ns: int
    frame_id: str = ""
    timings_ms: Mapping[str, float] = field(default_factory=dict)
