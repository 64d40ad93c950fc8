# SPDX-License-Identifier: Apache-2.0
"""`sensor_msgs/CompressedImage` (JPEG, PNG up to 16 bits) to the same views as raw images.

What the header says is checked before a decoder touches the data: a few bytes can announce
gigabytes of pixels.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.images.raw import MOST_PIXELS, ImageRefused, ImageView, Refusal
from segmif_ros.pairing import Stream

_JPEG, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_PNG, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_MOST_SEGMENTS = 1000
_PADDING = 1024
"""Drivers that send whole buffers leave so many zeros behind the last byte."""


class CompressedMessage(Protocol):
    """The fields of `sensor_msgs/CompressedImage` that are read."""

    format: str
    data: Any


class Announced(NamedTuple):
    """What the header of a compressed image says.

    Attributes:
        kind: "JPEG" or "PNG".
        height: pixels.
        width: pixels.
        bits: of one channel.
        grey: one channel.
    """

    kind: str
    height: int
    width: int
    bits: int
    grey: bool


def announced(message: CompressedMessage) -> Announced:
    """Read the header of a compressed image and check it, without decoding anything.

    Raises:
        ImageRefused: neither JPEG nor PNG, cut short, empty, or too large to be believed.
    """
    if "compressedDepth" in message.format:
        raise ImageRefused(
            Refusal.ENCODING,
            f"format {message.format!r} is for depth images; subscribe to the topic that ends in "
            "/compressed",
        )
    data = memoryview(message.data).cast("B")
    start, tail = bytes(data[:32]), bytes(data[-_PADDING:]).rstrip(b"\0")
    if start.startswith(_PNG):
        found, whole = _png_header(start), tail.endswith(_PNG_END)
    elif start.startswith(_JPEG):
        found, whole = _jpeg_header(data), tail.endswith(_JPEG_END)
    else:
        raise ImageRefused(
            Refusal.DECODING,
            f"{len(data)} bytes of format {message.format!r} are neither JPEG nor PNG "
            f"(they begin with {start[:8].hex(' ')})",
        )
    if found.height == 0 or found.width == 0 or found.height * found.width > MOST_PIXELS:
        raise ImageRefused(
            Refusal.SIZE,
            f"{found.kind} of {found.width}x{found.height} pixels in {len(data)} bytes, expected "
            f"1 to {MOST_PIXELS} pixels",
        )
    if not whole:
        raise ImageRefused(Refusal.DECODING, f"{found.kind} of {len(data)} bytes is cut short")
    return found


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
    pixels = _decoded(np.frombuffer(message.data, np.uint8), flags)
    if pixels is None or pixels.shape[:2] != (found.height, found.width):
        raise ImageRefused(
            Refusal.DECODING, f"{found.kind} of {len(message.data)} bytes cannot be decoded"
        )
    return ImageView(pixels, _encoding(pixels, message.format, found))


def _decoded(data: NDArray[np.uint8], flags: int) -> NDArray[Any] | None:
    try:
        pixels: NDArray[Any] | None = cv2.imdecode(data, flags)
    except cv2.error:
        return None
    return pixels


def _encoding(pixels: NDArray[Any], declared: str, found: Announced) -> str:
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


def _png_header(start: bytes) -> Announced:
    if len(start) < 26 or start[12:16] != b"IHDR":
        raise ImageRefused(Refusal.DECODING, "PNG without a header is cut short or damaged")
    width, height, bits, colour = struct.unpack(">IIBB", start[16:26])
    return Announced("PNG", height, width, bits, colour == 0)


def _jpeg_header(data: memoryview) -> Announced:
    """Go from segment to segment up to the one that holds the size."""
    position = len(_JPEG)
    for _ in range(_MOST_SEGMENTS):
        if position + 10 > len(data) or data[position] != 0xFF:
            break
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker in _START_OF_FRAME:
            bits, height, width, channels = struct.unpack(
                ">BHHB", data[position + 4 : position + 10]
            )
            return Announced("JPEG", height, width, bits, channels == 1)
        length = 0
        if marker not in _WITHOUT_LENGTH:
            (length,) = struct.unpack(">H", data[position + 2 : position + 4])
        position += 2 + length
    raise ImageRefused(Refusal.DECODING, "JPEG without a size is cut short or damaged")
