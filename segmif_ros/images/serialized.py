# SPDX-License-Identifier: Apache-2.0
"""`sensor_msgs/Image` as it travels: read where it lies, no pixel is copied.

rclpy turns a message into Python objects with two copies of the picture, which is wasted most of
all for an image that a newer one replaces before it is used.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_HEADER = 4
"""Bytes that name the encoding of what follows; alignment counts from behind them."""
_ORDERS = {b"\0\0": ">", b"\0\1": "<", b"\0\6": ">", b"\0\7": "<"}
"""Classic CDR, and its second version: that aligns 8-byte numbers otherwise, and an image has none.
(DDS-XTYPES 1.3, 7.6.3.1.2)"""


@dataclass(slots=True)
class SerializedImage:
    """The fields of the message, and those of its header.

    Attributes:
        seconds: of the stamp.
        nanoseconds: of the stamp.
        frame_id: coordinate frame.
        height: rows.
        width: pixels of a row.
        encoding: as in `sensor_msgs/image_encodings`.
        is_bigendian: of the pixels.
        step: bytes of a row.
        data: the pixels, in the message's own memory.
    """

    seconds: int
    nanoseconds: int
    frame_id: str
    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: memoryview


def read_image(message: bytes) -> SerializedImage:
    """Read a serialized message.

    Raises:
        ValueError: these bytes are no sensor_msgs/Image.
    """
    order = _ORDERS.get(message[:2])
    if order is None or len(message) < _HEADER:
        raise ValueError(
            f"a message of {len(message)} bytes begins with {message[:4].hex(' ') or 'nothing'}, "
            "expected CDR: 00 00, 00 01, 00 06 or 00 07"
        )
    body = memoryview(message)[_HEADER:]
    try:
        seconds, nanoseconds = struct.unpack_from(f"{order}iI", body, 0)
        frame_id, at = _string(body, 8, order)
        at += -at % 4
        height, width = struct.unpack_from(f"{order}II", body, at)
        encoding, at = _string(body, at + 8, order)
        is_bigendian = body[at]
        at += 1
        at += -at % 4
        step, length = struct.unpack_from(f"{order}II", body, at)
    except (struct.error, IndexError) as err:
        raise ValueError(f"a message of {len(message)} bytes is no image: {err}") from err
    data = body[at + 8 : at + 8 + length]
    if len(data) != length:
        raise ValueError(f"a message of {len(message)} bytes ends within its {length} of pixels")
    return SerializedImage(
        seconds, nanoseconds, frame_id, height, width, encoding, is_bigendian, step, data
    )


def _string(body: memoryview, at: int, order: str) -> tuple[str, int]:
    """Return a string as rclpy does, up to the first NUL, and where the next field may begin."""
    (length,) = struct.unpack_from(f"{order}I", body, at)
    begin, end = at + 4, at + 4 + length
    if end > len(body):
        raise IndexError(f"a string of {length} bytes goes beyond the end")
    return bytes(body[begin:end]).partition(b"\0")[0].decode(errors="replace"), end
