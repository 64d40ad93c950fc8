# SPDX-License-Identifier: Apache-2.0
"""`sensor_msgs/Image` to arrays: no needless copy, and a reason for what is refused.

Any object with the fields of the message will do: rclpy's own, or one that rosbags read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.buffers import Buffers
from segmif_ros.frames import Image8, ThermalImage

MOST_PIXELS = 64 * 1024 * 1024
"""Largest width*height that is believed."""


class ImageMessage(Protocol):
    """The fields of `sensor_msgs/Image` that are read."""

    height: int
    width: int
    encoding: str
    is_bigendian: Any
    step: int
    data: Any


class Refusal(Enum):
    """Why an image message cannot be used."""

    ENCODING = "encoding"
    """An encoding that this input cannot use."""
    SIZE = "size"
    """Width or height is zero, absurdly large, or not that of the calibration."""
    STEP = "step"
    """`step` is too small for one row."""
    DATA_LENGTH = "data_length"
    """`len(data)` is not `step * height`."""
    CONVERSION = "conversion"
    """cv_bridge was asked for a rare encoding and failed."""
    DECODING = "decoding"
    """A compressed image that is damaged, cut short, or neither JPEG nor PNG."""
    NO_VALUES = "no_values"
    """A float image that is NaN or infinite everywhere."""
    BUSY = "busy"
    """A compressed image came while the one before was being decoded; a newer one replaced it."""


class ImageRefused(ValueError):  # noqa: N818 - it says what happened, in the field's words
    """A malformed or unusable image message.

    Attributes:
        reason: short code, a key in diagnostics.
    """

    def __init__(self, reason: Refusal, text: str) -> None:
        super().__init__(text)
        self.reason = reason


ENCODINGS: dict[str, tuple[str, int]] = {
    "mono8": ("u1", 1),
    "8UC1": ("u1", 1),
    "mono16": ("u2", 1),
    "16UC1": ("u2", 1),
    "32FC1": ("f4", 1),
    "8UC3": ("u1", 3),
    "rgb8": ("u1", 3),
    "bgr8": ("u1", 3),
    "8UC4": ("u1", 4),
    "rgba8": ("u1", 4),
    "bgra8": ("u1", 4),
}
"""Encoding -> element type and channels. OpenCV's own names (8UC3, 8UC4) are in B, G, R order."""

_TO_RGB = {
    "bgr8": cv2.COLOR_BGR2RGB,
    "8UC3": cv2.COLOR_BGR2RGB,
    "rgba8": cv2.COLOR_RGBA2RGB,
    "bgra8": cv2.COLOR_BGRA2RGB,
    "8UC4": cv2.COLOR_BGRA2RGB,
    "mono8": cv2.COLOR_GRAY2RGB,
    "8UC1": cv2.COLOR_GRAY2RGB,
}
_TO_GREY = {
    "rgb8": cv2.COLOR_RGB2GRAY,
    "bgr8": cv2.COLOR_BGR2GRAY,
    "8UC3": cv2.COLOR_BGR2GRAY,
    "rgba8": cv2.COLOR_RGBA2GRAY,
    "bgra8": cv2.COLOR_BGRA2GRAY,
    "8UC4": cv2.COLOR_BGRA2GRAY,
}
_ONE_CHANNEL = ("mono8", "8UC1", "mono16", "16UC1", "32FC1")
_OF_CV_BRIDGE = ("bayer_", "yuv", "uyvy", "yuyv", "nv", "rgb16", "bgr16", "rgba16", "bgra16")
"""How encodings begin that cv_bridge knows and this module does not."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageView:
    """The pixels of a checked message, not yet converted.

    Attributes:
        pixels: HxW or HxWxC view of the message's own memory, in native byte order or not.
        encoding: as in `sensor_msgs/Image`.
    """

    pixels: NDArray[Any]
    encoding: str

    def to_rgb(self, buffers: Buffers | None = None) -> Image8:
        """Return C-contiguous HxWx3 uint8 RGB; the view itself when it is that already.

        Args:
            buffers: where a converted image goes, valid until the next one; a new array if None.
        """
        if self.encoding == "rgb8" and self.pixels.flags.c_contiguous:
            return self.pixels
        out = (buffers or Buffers()).take("rgb", (*self.pixels.shape[:2], 3))
        if self.encoding == "rgb8":
            np.copyto(out, self.pixels)
            return out
        return np.asarray(cv2.cvtColor(self.pixels, _TO_RGB[self.encoding], out), np.uint8)

    def to_thermal(self, buffers: Buffers | None = None) -> ThermalImage:
        """Return C-contiguous HxW uint8, uint16 or float32 in native byte order.

        A colour image (a thermal camera behind a video adapter) becomes its luma.

        Args:
            buffers: where a converted image goes, valid until the next one; a new array if None.
        """
        buffers = buffers or Buffers()
        if self.encoding in _TO_GREY:
            grey = buffers.take("thermal", self.pixels.shape[:2])
            return np.asarray(cv2.cvtColor(self.pixels, _TO_GREY[self.encoding], grey), np.uint8)
        if self.pixels.flags.c_contiguous and self.pixels.dtype.isnative:
            return self.pixels
        native = self.pixels.dtype.newbyteorder("=")
        out: ThermalImage = buffers.take("thermal", self.pixels.shape, native)
        np.copyto(out, self.pixels)
        return out


def view_rgb(message: ImageMessage) -> ImageView:
    """Check a message of the visible camera and return its pixels.

    Raises:
        ImageRefused: malformed, or an encoding that cannot become 8-bit RGB.
    """
    return _view(message, set(_TO_RGB) | {"rgb8"}, "rgb8", "rgb8, bgr8, rgba8, bgra8 or mono8")


def view_thermal(message: ImageMessage) -> ImageView:
    """Check a message of the thermal camera and return its pixels.

    Raises:
        ImageRefused: malformed, or an encoding that is no thermal image.
    """
    accepted = set(_TO_GREY) | set(_ONE_CHANNEL)
    # A picture of 8 bits must stay one: 16 bits would be taken for counts and stretched.
    bridge_to = "mono16" if message.encoding.endswith("16") else "mono8"
    return _view(message, accepted, bridge_to, "mono8, mono16, 16UC1 or 32FC1")


VIEWS: dict[str, Callable[[ImageMessage], ImageView]] = {"rgb": view_rgb, "thermal": view_thermal}
"""Stream name -> its check."""


def _view(message: ImageMessage, accepted: set[str], bridge_to: str, expected: str) -> ImageView:
    if message.height == 0 or message.width == 0:
        raise ImageRefused(
            Refusal.SIZE,
            f"image of {message.width}x{message.height} pixels; the driver publishes empty frames",
        )
    if message.height * message.width > MOST_PIXELS:
        raise ImageRefused(
            Refusal.SIZE,
            f"image of {message.width}x{message.height} pixels, more than {MOST_PIXELS}",
        )
    if message.encoding in ENCODINGS and message.encoding in accepted:
        return ImageView(_pixels(message), message.encoding)
    if message.encoding in ENCODINGS:
        raise ImageRefused(
            Refusal.ENCODING,
            f"encoding {message.encoding!r} cannot be used here, expected {expected}; "
            "are the two input topics swapped?",
        )
    return _through_cv_bridge(message, bridge_to, expected)


def _pixels(message: ImageMessage) -> NDArray[Any]:
    kind, channels = ENCODINGS[message.encoding]
    dtype = np.dtype(kind)
    height, width, step = int(message.height), int(message.width), int(message.step)
    row = width * channels * dtype.itemsize
    if step < row:
        raise ImageRefused(
            Refusal.STEP,
            f"step {step} is too small: {width} pixels of {message.encoding!r} are {row} bytes",
        )
    if len(message.data) != step * height:
        raise ImageRefused(
            Refusal.DATA_LENGTH,
            f"data has {len(message.data)} bytes, step * height is {step} * {height} = "
            f"{step * height}",
        )
    if dtype.itemsize > 1:
        dtype = dtype.newbyteorder(">" if message.is_bigendian else "<")
    shape = (height, width) if channels == 1 else (height, width, channels)
    strides = (step, dtype.itemsize) if channels == 1 else (step, channels, 1)
    data = np.frombuffer(message.data, np.uint8)
    return np.ndarray(shape, dtype, buffer=data, strides=strides)


def _through_cv_bridge(message: ImageMessage, bridge_to: str, expected: str) -> ImageView:
    """Convert a rare encoding (Bayer, YUV) where a ROS installation provides cv_bridge."""
    if not message.encoding.lower().startswith(_OF_CV_BRIDGE):
        raise ImageRefused(
            Refusal.ENCODING, f"encoding {message.encoding!r} is not known, expected {expected}"
        )
    try:
        from cv_bridge import CvBridge
    except ImportError as err:
        raise ImageRefused(
            Refusal.ENCODING,
            f"encoding {message.encoding!r} needs cv_bridge ({err}): install "
            f"ros-$ROS_DISTRO-cv-bridge, or let the driver publish {expected}",
        ) from None
    try:
        pixels = CvBridge().imgmsg_to_cv2(message, desired_encoding=bridge_to)
    except Exception as err:
        # Half of it is compiled for one NumPy and one OpenCV: it raises whatever they raise.
        raise ImageRefused(
            Refusal.CONVERSION,
            f"cv_bridge cannot turn encoding {message.encoding!r} into {bridge_to!r}: {err!r}",
        ) from err
    if pixels.shape[:2] != (message.height, message.width):
        # It does not compare step and width, and makes a narrower image of too small a step.
        raise ImageRefused(
            Refusal.CONVERSION,
            f"cv_bridge made {pixels.shape[1]}x{pixels.shape[0]} pixels of a {message.encoding!r} "
            f"image of {message.width}x{message.height} with step {message.step}",
        )
    return ImageView(pixels, bridge_to)
