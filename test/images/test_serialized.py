# SPDX-License-Identifier: Apache-2.0
"""Serialized images are read as rclpy writes them, in either byte order, never beyond the end."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from segmif_ros.images.serialized import SerializedImage, read_image

PIXELS = bytes(range(24))


def cdr(kind: bytes, order: str, frame_id: bytes = b"thermal") -> bytes:
    """Write the message field by field."""
    body = struct.pack(f"{order}iI", 17, 5)
    for text, fields in ((frame_id, (3, 4)), (b"mono16", ())):
        body += struct.pack(f"{order}I", len(text) + 1) + text + b"\0"
        if fields:
            body += bytes(-len(body) % 4) + struct.pack(f"{order}II", *fields)
    body += b"\1"
    body += bytes(-len(body) % 4) + struct.pack(f"{order}II", 8, len(PIXELS))
    return kind + b"\0\0" + body + PIXELS


def fields(image: SerializedImage) -> tuple[object, ...]:
    stamp = (image.seconds, image.nanoseconds)
    size = (image.height, image.width, image.step)
    return stamp, image.frame_id, size, image.encoding, image.is_bigendian, bytes(image.data)


@pytest.mark.parametrize("kind", [b"\0\0", b"\0\1", b"\0\6", b"\0\7"])
@pytest.mark.parametrize("frame_id", [b"", b"a", b"thermal", b"K\xc3\xa4lte"])
def test_every_field_is_read(kind: bytes, frame_id: bytes) -> None:
    order = "<" if kind[1] % 2 else ">"
    found = fields(read_image(cdr(kind, order, frame_id)))
    assert found == ((17, 5), frame_id.decode(), (3, 4, 8), "mono16", 1, PIXELS)


def test_what_rclpy_writes_is_read() -> None:
    pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")
    from builtin_interfaces.msg import Time
    from rclpy.serialization import serialize_message
    from std_msgs.msg import Header

    from segmif_ros.ros.images import to_message

    header = Header(stamp=Time(sec=-3, nanosec=999_999_999), frame_id="rgb_optical_frame")
    picture = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    image = read_image(serialize_message(to_message(picture, "rgb8", header)))
    expected = ((-3, 999_999_999), "rgb_optical_frame", (4, 5, 15), "rgb8", 0, picture.tobytes())
    assert fields(image) == expected


@pytest.mark.parametrize("sent", [b"K\xe4lte", b"left\0\0\0", b"\0", b"\xff\0b"])
def test_a_text_that_is_no_utf8_or_has_nul_in_it_is_read_as_rclpy_reads_it(sent: bytes) -> None:
    pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")
    from rclpy.serialization import deserialize_message
    from sensor_msgs.msg import Image

    message = cdr(b"\0\1", "<", sent)
    assert read_image(message).frame_id == deserialize_message(message, Image).header.frame_id


def test_a_message_that_is_cut_short_is_refused_wherever_it_ends() -> None:
    whole = cdr(b"\0\1", "<")
    for length in range(len(whole)):
        with pytest.raises(ValueError, match=f"a message of {length} bytes"):
            read_image(whole[:length])


@pytest.mark.parametrize(
    "damage", [(0, b"\0\2", "begins with 00 02"), (12, b"\xff\xff\xff\xff", "is no image")]
)
def test_other_bytes_are_refused(damage: tuple[int, bytes, str]) -> None:
    at, bytes_, said = damage
    whole = cdr(b"\0\1", "<")
    with pytest.raises(ValueError, match=f"a message of .* {said}"):
        read_image(whole[:at] + bytes_ + whole[at + len(bytes_) :])
