# SPDX-License-Identifier: Apache-2.0
"""What the viewer shows: one frame as encoded pictures, and the sources that deliver frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.bundle import LabelClass
from segmif_ros.frames import Image8, ThermalImage
from segmif_ros.images.pictures import encode_picture
from segmif_ros.registration import Registration
from segmif_ros.registration.warp import RemapTable
from segmif_ros.thermal import ThermalSettings

JPEG_QUALITY = 88
MEDIA_TYPES = {"jpg": "image/jpeg", "png": "image/png"}


class ViewError(RuntimeError):
    """A source or a frame cannot be shown; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One encoded picture: "jpg" or "png", and its bytes."""

    kind: str
    data: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Heat:
    """What the thermal camera measured, at its own pixels.

    Attributes:
        values: hxw float32 in the unit, NaN where nothing is known.
        unit: "C" or "counts".
        table: where each pixel of the other pictures lies in it, None where only sizes differ.
    """

    values: NDArray[np.float32]
    unit: str
    table: RemapTable | None = None

    @classmethod
    def of(cls, raw: ThermalImage, settings: ThermalSettings, registration: Registration) -> Heat:
        """Read a thermal image as the camera delivered it."""
        values = np.array(raw, np.float32)
        settings.to_unit(values)
        return cls(values, settings.unit(raw.dtype), registration.table)

    def encoded(self) -> tuple[dict[str, Picture], dict[str, float | str]]:
        """Return pictures "heat" and, with a table, "place", and how to read the first.

        A pixel of "heat" holds the value `low + step * (256 R + G)` where B is 255, and nothing
        elsewhere. A pixel of "place" holds x as 12 bits and y as 12 bits; white is nowhere.
        """
        known = np.isfinite(self.values)
        some = self.values[known]
        low, high = (float(some.min()), float(some.max())) if len(some) else (0.0, 0.0)
        whole = self.unit == "counts" and high - low <= _STEPS
        step = 1.0 if whole else max((high - low) / _STEPS, 1e-6)
        steps = np.rint((np.where(known, self.values, low) - low) / step).astype(np.uint16)
        heat = np.dstack([steps >> 8, steps & 255, known * 255]).astype(np.uint8)
        pictures = {"heat": png(heat)}
        if self.table is not None and max(self.values.shape) <= _LONGEST:
            x, y = (np.rint(axis).astype(np.int32) for axis in (self.table.x, self.table.y))
            place = np.dstack([x >> 4, (x & 15) << 4 | y >> 8, y & 255]).astype(np.uint8)
            place[self.table.valid == 0] = 255
            pictures["place"] = png(place)
        return pictures, {"unit": self.unit, "low": low, "step": step}


_STEPS = 65535
_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class ViewFrame:
    """One frame, ready for a browser.

    Attributes:
        time_s: seconds since the first frame of the source.
        caption: one line for people.
        pictures: by name: "visible", "thermal", "fused" (for display, any format), "mask"
            (PNG of class ids), "confidence" (PNG, probability x 255), "raw", thermal as the
            camera delivered it where that differs, and those of `Heat`. Some may be absent.
        heat: how "heat" is read, see `Heat.encoded`; None without it.
    """

    time_s: float
    caption: str
    pictures: dict[str, Picture]
    heat: dict[str, float | str] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ViewImages:
    """One frame as arrays of one height and width, which belong to the caller.

    Attributes:
        time_s: seconds since the first frame of the source.
        caption: one line for people.
        visible: HxWx3 uint8 RGB.
        thermal: HxW uint8, as the network saw it.
        fused: HxWx3 uint8 RGB.
        mask: HxW uint8 class ids, 255 = unlabelled.
        confidence: HxW uint8, probability x 255.
        raw: hxw uint8, thermal before it was brought onto the visible picture; None where that is
            the same.
        heat: what the thermal camera measured, None where that is not known.
    """

    time_s: float
    caption: str
    visible: Image8
    thermal: Image8
    fused: Image8
    mask: Image8
    confidence: Image8
    raw: Image8 | None = None
    heat: Heat | None = None


class RecordedSource(Protocol):
    """Frames with random access."""

    title: str
    classes: Sequence[LabelClass]

    def __len__(self) -> int:
        """Return the number of frames."""
        ...

    def frame(self, index: int) -> ViewFrame:
        """Return one frame; called from several threads.

        Raises:
            ViewError: this frame cannot be shown; others may.
        """
        ...

    def close(self) -> None:
        """Free files and engine."""
        ...


class ImageSource(RecordedSource, Protocol):
    """Recorded frames that are available as arrays too, for pictures and videos."""

    def images(self, index: int) -> ViewImages:
        """Return one frame.

        Raises:
            ViewError: this frame cannot be shown; others may.
        """
        ...

    def frame(self, index: int) -> ViewFrame:
        """Return one frame, encoded; raises as `images`."""
        return encoded(self.images(index))


@runtime_checkable
class LiveSource(Protocol):
    """Frames as they come."""

    title: str

    @property
    def classes(self) -> Sequence[LabelClass]:
        """Classes known so far."""
        ...

    def newest(self, after: int, timeout_s: float) -> tuple[int, ViewFrame | None, str]:
        """Wait for a frame with a number above `after`.

        Returns:
            Number of the newest frame, the frame (None when none came in time), and what is missing
            in words (empty when a frame came).
        """
        ...

    def close(self) -> None:
        """Stop listening."""
        ...


def encoded(images: ViewImages) -> ViewFrame:
    """Encode one frame: cameras as JPEG, mask, confidence and temperatures without loss."""
    heat, reading = ({}, None) if images.heat is None else images.heat.encoded()
    return ViewFrame(
        images.time_s,
        images.caption,
        {
            "visible": jpeg(images.visible),
            "thermal": jpeg(images.thermal),
            "fused": jpeg(images.fused),
            "mask": png(images.mask),
            "confidence": png(images.confidence),
            **({} if images.raw is None else {"raw": jpeg(images.raw)}),
            **heat,
        },
        reading,
    )


def jpeg(image: Image8) -> Picture:
    """Encode HxW or HxWx3 uint8 RGB."""
    return Picture("jpg", encode_picture(image, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]))


def png(image: Image8) -> Picture:
    """Encode HxW or HxWx3 uint8 RGB without loss."""
    # Level 1 with run-length matching: a mask of VGA in 1 ms and 5 kB; higher levels save little.
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, 3]
    return Picture("png", encode_picture(image, ".png", options))
