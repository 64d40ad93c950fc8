# SPDX-License-Identifier: Apache-2.0
"""What travels between the rooms: an image becomes a `Frame`, two a `Pair`, a pair a `Result`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray


# An image-sized array that is made and thrown away for each frame costs more than it looks: its
# pages are touched cold, and on a busy machine given back and faulted in again.
class Buffers:
    """Named arrays of one owner on one thread.

    What is in one is valid until its owner takes the same name again, so an owner that returns
    one documents it, and a caller that keeps it makes a copy.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[Any]] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: DTypeLike = np.uint8) -> NDArray[Any]:
        """Return the C-contiguous array of this name; allocated again when shape or dtype changed.

        Args:
            name: what it is for.
            shape: its shape.
            dtype: its type.

        Returns:
            The array with whatever was in it.
        """
        known = self._arrays.get(name)
        if known is None or known.shape != shape or known.dtype != dtype:
            known = self._arrays[name] = np.empty(shape, dtype)
        return known


Image8 = NDArray[np.uint8]
ThermalImage = NDArray[Any]
"""HxW uint8 (already rendered), uint16 (counts or centi-Kelvin) or float32 (degrees Celsius)."""

UNLABELLED = 255
"""Mask value for "no class", the maximum id of mono8 (vision_msgs/VisionClass)."""


class PictureState(Enum):
    """State of a camera by its newest image."""

    FRESH = "fresh"
    """It differs from the one before."""
    REPEATED = "repeated"
    """The same as the one before, for too short a time to count (or freeze detection is off)."""
    SHUTTER = "shutter"
    """Thermal only: the same for as long as a shutter takes. Expected every few minutes."""
    SETTLING = "settling"
    """Thermal only: it differs again, since less than a second; the values may have jumped."""
    FROZEN = "frozen"
    """The same for longer than the limit. A fault, or a still picture that is published."""

    @property
    def is_settled(self) -> bool:
        """Whether it shows what is there now, and neither holds nor has just jumped."""
        return self in (PictureState.FRESH, PictureState.REPEATED)


class View(Protocol):
    """Pixels of an image message that are checked and not yet converted (`images.raw`)."""

    @property
    def pixels(self) -> NDArray[Any]:
        """HxW or HxWxC, as the camera delivered them."""
        ...

    @property
    def encoding(self) -> str:
        """As in sensor_msgs/Image."""
        ...

    def to_rgb(self, buffers: Buffers | None = None) -> Image8:
        """Return HxWx3 uint8 RGB."""
        ...

    def to_thermal(self, buffers: Buffers | None = None) -> ThermalImage:
        """Return HxW uint8, uint16 or float32."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One image of one camera inside the node.

    Attributes:
        view: its pixels.
        header: std_msgs/Header.
        stamp_ns: acquisition time as the driver wrote it.
        received_ns: steady time of its arrival.
        picture: whether the camera repeats it.
    """

    view: View
    header: Any
    stamp_ns: int
    received_ns: int
    picture: PictureState = PictureState.FRESH

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return int(self.view.pixels.shape[0]), int(self.view.pixels.shape[1])

    @property
    def is_frozen(self) -> bool:
        """Whether the camera has repeated this picture for too long."""
        return self.picture is PictureState.FROZEN


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """One RGB image and the thermal image that belongs to it: arrays, or frames of the node.

    One of the two may be missing: the other camera then continues alone.

    Attributes:
        rgb: HxWx3 uint8, channel order R, G, B; None when there is no RGB image.
        thermal: hxw uint8, uint16 or float32, not yet registered to the RGB camera; None when there
            is no thermal image.
        stamp_ns: acquisition time of the RGB image, nanoseconds; of the thermal one without it.
        thermal_stamp_ns: acquisition time of the thermal image, nanoseconds; unused without it.
        frame_id: optical frame of the RGB camera (REP-103, REP-105).
        rgb_size: (height, width) of the RGB camera, used only when `rgb` is None: the thermal
            image is then brought into that geometry. None leaves it in its own.
        header: std_msgs/Header of the results; this and what follows is the node's.
        settings: parameter values in force when the pair was made.
        decided_ns: steady time when the pair was made.
        camera_info: newest sensor_msgs/CameraInfo of the RGB camera, None before the first.
    """

    rgb: Image8 | Frame | None
    thermal: ThermalImage | Frame | None
    stamp_ns: int
    thermal_stamp_ns: int
    frame_id: str = ""
    rgb_size: tuple[int, int] | None = None
    header: Any = None
    settings: Any = None
    decided_ns: int = 0
    camera_info: Any = None

    def __post_init__(self) -> None:
        """Refuse a pair without any image."""
        if self.rgb is None and self.thermal is None:
            raise ValueError("a Pair needs an RGB image, a thermal image or both; it has none")

    def arrays(self) -> tuple[Image8, ThermalImage]:
        """Return both images of a pair that was read from somewhere.

        Raises:
            TypeError: one is missing, or a frame of the node.
        """
        if not (isinstance(self.rgb, np.ndarray) and isinstance(self.thermal, np.ndarray)):
            raise TypeError("expected a pair of two arrays")
        return self.rgb, self.thermal

    @property
    def received_ns(self) -> int:
        """Steady arrival of the frame that gives the results their stamp, 0 for an array."""
        frame = self.thermal if self.rgb is None else self.rgb
        return frame.received_ns if isinstance(frame, Frame) else 0


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What one pair became. All images have the height and width of the RGB image.

    The images belong to the `Perceiver`, or are the pair's own: its next `perceive` writes over
    them. Copy what is to be kept.

    Attributes:
        fused: HxWx3 uint8 RGB; the one image itself where the other is missing.
        mask: HxW uint8 class ids, 255 = unlabelled.
        confidence: HxW uint8, probability of the winning class times 255.
        thermal: HxW uint8, the thermal image as the network saw it (normalised, registered; zeros
            where it is missing).
        stamp_ns: copied from the pair.
        frame_id: copied from the pair.
        rgb: HxWx3 uint8, the RGB image after conversion; None where it is missing.
        raw_thermal: the thermal image as the camera delivered it, not registered; None likewise.
        timings_ms: time per stage ("conversion", "thermal", "registration", "inference"),
            milliseconds.
    """

    fused: Image8
    mask: Image8
    confidence: Image8
    thermal: Image8
    stamp_ns: int
    frame_id: str = ""
    rgb: Image8 | None = None
    raw_thermal: ThermalImage | None = None
    timings_ms: Mapping[str, float] = field(default_factory=dict)
