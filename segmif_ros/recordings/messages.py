# SPDX-License-Identifier: Apache-2.0
"""Decodes serialised messages of a bag: stamps, and images as arrays; no ROS is needed."""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from rosbags.typesys import Stores, get_typestore

from segmif_ros.error_codes import brief
from segmif_ros.images.containers import announced, decode
from segmif_ros.images.raw import VIEWS, ImageRefused, ImageView, Refusal, view_thermal
from segmif_ros.pairing import SECOND, Stream
from segmif_ros.recordings.storage import ZSTD_MAGIC, BagError, unpacked

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
IMAGES = (IMAGE, COMPRESSED_IMAGE)
"""Message types of a camera, in order of preference."""

_PICTURE_FILES = (b"\xff\xd8", b"\x89PNG")


class BagMessage(NamedTuple):
    """One serialised message of a bag.

    Attributes:
        topic: topic name.
        type: for example "sensor_msgs/msg/Image".
        time_ns: when it was recorded.
        cdr: serialised message with its 4-byte encapsulation header.
    """

    topic: str
    type: str
    time_ns: int
    cdr: bytes


@cache
def message_types() -> Any:
    """Return the message definitions of ROS 2 Jazzy, as in rosbags."""
    return get_typestore(Stores.ROS2_JAZZY)


def image_of(message: BagMessage, stream: Stream | None) -> tuple[ImageView, Any]:
    """Decode an image message, raw or compressed.

    Args:
        message: of one of the types `IMAGES`.
        stream: the camera, whose checks apply; None for pictures of class ids.

    Returns:
        Its pixels, and its header.

    Raises:
        ImageRefused: malformed, or unusable for that camera.
    """
    try:
        raw = message_types().deserialize_cdr(message.cdr, message.type)
    except Exception as err:
        # Invalid bytes cause arbitrary errors of the generated reader.
        text = f"a message on {brief(message.topic)} cannot be read: {brief(repr(err), 200)}"
        raise ImageRefused(Refusal.CONVERSION, text) from err
    if message.type == IMAGE:
        return (VIEWS[stream.value] if stream else view_thermal)(raw), raw.header
    if stream is None and announced(raw).kind == "JPEG":
        raise ImageRefused(
            Refusal.ENCODING, "JPEG does not keep class ids; publish labels as PNG or raw"
        )
    return decode(stream or Stream.THERMAL, raw), raw.header


def header_stamp_ns(cdr: bytes) -> int:
    """Return the header stamp of a serialised message whose first field is a std_msgs/Header.

    Raises:
        BagError: too short for a header.
    """
    order, _ = _encapsulation(cdr)
    seconds, nanoseconds = struct.unpack_from(f"{order}iI", cdr, 4)
    return int(seconds) * SECOND + int(nanoseconds)


def with_header_stamp(cdr: bytes, stamp_ns: int) -> bytes:
    """Return the serialised message with another header stamp; nothing else changes.

    Raises:
        BagError: too short for a header.
    """
    order, prefix = _encapsulation(cdr)
    stamp = struct.pack(f"{order}iI", *divmod(stamp_ns, SECOND))
    return b"".join((prefix, stamp, memoryview(cdr)[12:]))


def _encapsulation(cdr: bytes) -> tuple[str, bytes]:
    if len(cdr) < 12 or cdr[0] != 0 or cdr[1] not in (0, 1):
        raise BagError(
            f"a message of {len(cdr)} bytes has no CDR header (it begins with "
            f"{cdr[:4].hex(' ') or 'nothing'}, expected 00 00 or 00 01)"
        )
    return ("<" if cdr[1] == 1 else ">"), cdr[:4]


def plain(data: bytes, kind: str, path: Path) -> bytes:
    """Decompress a message, and convert XCDR2 where its layout equals that of XCDR1."""
    if data[:4] == ZSTD_MAGIC:
        data = unpacked(data, path)
    # XCDR2 differs in the alignment of 8-byte numbers, which images do not have.
    if kind in IMAGES and data[:2] in (b"\0\6", b"\0\7"):
        data = bytes((0, data[1] - 6)) + data[2:]
    return data


def described(message: BagMessage) -> tuple[str, bool]:
    """Return size, encoding and frame of an image, and whether its format can be decoded."""
    try:
        image: Any = message_types().deserialize_cdr(message.cdr, message.type)
    except Exception:
        # Invalid bytes cause arbitrary errors of the generated reader.
        return "first message cannot be read", True
    frame = f"frame '{brief(image.header.frame_id)}'"
    if message.type == IMAGE:
        return f"{image.width}x{image.height} {brief(image.encoding)}, {frame}", True
    try:
        found = announced(image)
    except ImageRefused:
        is_file = bytes(image.data[:4]).startswith(_PICTURE_FILES)
        usable = is_file and "compressedDepth" not in image.format
        return f"'{brief(image.format)}', {frame}" + ("" if usable else " (not read)"), usable
    pixels = f"mono{found.bits}" if found.grey else "colour"
    return f"{found.width}x{found.height} {pixels} {found.kind}, {frame}", True
