# SPDX-License-Identifier: Apache-2.0
"""What travels between the rooms: one pair of camera frames in, one perception out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image8 = NDArray[np.uint8]
ThermalImage = NDArray[Any]
"""HxW uint8 (already rendered), uint16 (counts or centi-Kelvin) or float32 (degrees Celsius)."""

UNLABELLED = 255
"""Mask value for "no class", the maximum id of mono8 (vision_msgs/VisionClass)."""


class PictureState(Enum):
    """What the newest image says about its camera."""

    FRESH = "fresh"
    """It differs from the one before."""
    REPEATED = "repeated"
    """The same as the one before, for too short a time to mean anything (or nobody minds)."""
    SHUTTER = "shutter"
    """Thermal only: the same for as long as a shutter takes. Expected every few minutes."""
    SETTLING = "settling"
    """Thermal only: it differs again, since less than a second; the values may have jumped."""
    FROZEN = "frozen"
    """The same for longer than the limit. A fault, or a still picture that somebody publishes."""

    @property
    def is_settled(self) -> bool:
        """Whether it shows what is there now, and neither holds nor has just jumped."""
        return self in (PictureState.FRESH, PictureState.REPEATED)


@dataclass(frozen=True, slots=True, eq=False)
class FramePair:
    """One RGB frame and the thermal frame that belongs to it, as the cameras delivered them.

    One of the two may be missing: the node then works with the other camera alone.

    Attributes:
        rgb: HxWx3 uint8, channel order R, G, B; None when there is no RGB frame.
        thermal: hxw uint8, uint16 or float32, not yet registered to the RGB camera; None when there
            is no thermal frame.
        stamp_ns: acquisition time of the RGB frame, nanoseconds; of the thermal one without it.
        thermal_stamp_ns: acquisition time of the thermal frame, nanoseconds; unused without it.
        frame_id: optical frame of the RGB camera (REP-103, REP-105).
        rgb_size: (height, width) of the RGB camera, looked at only when `rgb` is None: the thermal
            frame is then brought into that geometry. None leaves it in its own.
        picture: whether the thermal camera repeats its picture, None to find out from the frames.
    """

    rgb: Image8 | None
    thermal: ThermalImage | None
    stamp_ns: int
    thermal_stamp_ns: int
    frame_id: str = ""
    rgb_size: tuple[int, int] | None = None
    picture: PictureState | None = None

    def __post_init__(self) -> None:
        """Refuse a pair without any frame."""
        if self.rgb is None and self.thermal is None:
            raise ValueError("a FramePair needs an RGB frame, a thermal frame or both; it has none")


@dataclass(frozen=True, slots=True, eq=False)
class Perception:
    """What one pair became. All images have the height and width of the RGB frame.

    The images belong to the `Perceiver`, or are the pair's own: its next `perceive` writes over
    them. Copy what is to be kept.

    Attributes:
        fused: HxWx3 uint8 RGB; the one frame itself where the other is missing.
        mask: HxW uint8 class ids, 255 = unlabelled.
        confidence: HxW uint8, probability of the winning class times 255.
        thermal: HxW uint8, the thermal image as the network saw it (normalised, registered; zeros
            where it is missing).
        stamp_ns: copied from the pair.
        frame_id: copied from the pair.
        timings_ms: time per stage ("thermal", "registration", "inference"), milliseconds.
    """

    fused: Image8
    mask: Image8
    confidence: Image8
    thermal: Image8
    stamp_ns: int
    frame_id: str = ""
    timings_ms: Mapping[str, float] = field(default_factory=dict)
