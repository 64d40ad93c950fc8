# SPDX-License-Identifier: Apache-2.0
"""`sensor_msgs/CompressedImage` (JPEG, PNG up to 16 bits) to the same views as raw images."""

from __future__ import annotations

from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.images.containers import Picture, decoded, inspect
from segmif_ros.images.raw import ImageRefused, ImageView, Refusal
from segmif_ros.pairing import Stream


class CompressedMessage(Protocol):
    """The fields of `sensor_msgs/CompressedImage` that are read."""

    format: str
    data: Any


def announced(message: CompressedMessage) -> Picture:
    """Look through a compressed image and check it, without decoding anything.

    Raises:
        ImageRefused: neither JPEG nor PNG, cut short, empty, or implausibly large.
    """
    if "compressedDepth" in message.format:
        raise ImageRefused(
            Refusal.ENCODING,
            f"format {message.format!r} is for depth images; subscribe to the topic that ends in "
            "/compressed",
        )
    return inspect(message.data)


def decode(stream: Stream, message: CompressedMessage) -> ImageView:
    """Check and decode a compressed image.

    Returns:
        The pixels as `view_rgb` (or `view_thermal`) would give them for a raw image.

    Raises:
        ImageRefused: damaged, too large, or of no use for this camera.
    """
    found = announced(message)
    source = message.format.partition(";")[0].strip()
    if stream is Stream.RGB and found.grey and found.bits > 8:
        raise ImageRefused(
            Refusal.ENCODING,
            f"{found.kind} with {found.bits} bits of grey cannot be used here, expected 8 bits; "
            "are the two input topics swapped?",
        )
    if stream is Stream.THERMAL and found.bits == 8 and source in ("mono16", "16UC1"):
        raise ImageRefused(
            Refusal.ENCODING,
            f"format {message.format!r} squeezes {source} into 8 bits, its counts are lost; set "
            "the publisher's parameter for the format to png",
        )
    # Orientation marks of a photograph would turn the picture away from the other camera's.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    if stream is Stream.THERMAL:
        flags = cv2.IMREAD_UNCHANGED
    pixels = decoded(found, flags)
    return ImageView(pixels, _encoding(pixels, message.format, found))


def _encoding(pixels: NDArray[Any], declared: str, found: Picture) -> str:
    """Name the decoded pixels as `ImageView` does."""
    if pixels.ndim == 2 and pixels.dtype in (np.uint8, np.uint16):
        return "mono8" if pixels.dtype == np.uint8 else "mono16"
    if pixels.ndim == 3 and pixels.dtype == np.uint8 and pixels.shape[2] in (3, 4):
        # image_transport says so when R and B went into the file swapped.
        order = "rgb" if "compressed rgb" in declared else "bgr"
        return f"{order}a8" if pixels.shape[2] == 4 else f"{order}8"
    raise ImageRefused(
        Refusal.ENCODING, f"{found.kind} in colour with {found.bits} bits cannot be used"
    )
