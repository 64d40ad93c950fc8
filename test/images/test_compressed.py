# SPDX-License-Identifier: Apache-2.0
"""Compressed images: what raw ones would have given, and every way to be damaged or a bomb."""

from __future__ import annotations

import resource
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from sensor_msgs.msg import CompressedImage

from segmif_ros.images.containers import announced, decode
from segmif_ros.images.raw import ImageRefused, Refusal
from segmif_ros.pairing import Stream
from segmif_ros.recordings.bags import COMPRESSED_IMAGE, BagReader, message_types

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"

RNG = np.random.default_rng(11)


def smooth(height: int = 48, width: int = 67) -> np.ndarray:
    """A colour gradient (R, G, B), which JPEG keeps well."""
    ys, xs = np.mgrid[0:height, 0:width]
    return np.stack([255 - 3 * xs, 2 * xs + ys, 4 * ys], -1).astype(np.uint8)


def compressed(array: np.ndarray, kind: str, declared: str = "") -> CompressedImage:
    """Encode as image_transport does: OpenCV, colour in B, G, R."""
    ok, data = cv2.imencode(f".{kind}", array)
    assert ok
    return of_bytes(data.tobytes(), declared or kind)


def of_bytes(data: bytes, declared: str = "jpeg") -> CompressedImage:
    out = CompressedImage(format=declared)
    out.data.frombytes(data)
    return out


@pytest.mark.parametrize("declared", ["png", "rgb8; png compressed bgr8", "bgr8; png compressed "])
def test_a_png_gives_the_colours_back_exactly(declared):
    rgb = RNG.integers(0, 256, (5, 7, 3), np.uint8)
    out = decode(Stream.RGB, compressed(rgb[..., ::-1], "png", declared)).to_rgb()
    np.testing.assert_array_equal(out, rgb)
    assert out.flags.c_contiguous


def test_a_jpeg_gives_nearly_the_colours():
    rgb = smooth()
    out = decode(Stream.RGB, compressed(rgb[..., ::-1], "jpg", "rgb8; jpeg compressed bgr8"))
    assert np.abs(out.to_rgb().astype(int) - rgb.astype(int)).mean() < 3


def test_swapped_colours_that_the_format_declares_are_swapped_back():
    rgb = RNG.integers(0, 256, (5, 7, 3), np.uint8)
    message = compressed(rgb, "png", "rgb8; png compressed rgb8")
    np.testing.assert_array_equal(decode(Stream.RGB, message).to_rgb(), rgb)


def test_a_grey_or_transparent_picture_of_the_visible_camera_is_rgb():
    grey = RNG.integers(0, 256, (5, 7), np.uint8)
    out = decode(Stream.RGB, compressed(grey, "png")).to_rgb()
    np.testing.assert_array_equal(out, np.repeat(grey[..., None], 3, axis=2))
    bgra = RNG.integers(0, 256, (5, 7, 4), np.uint8)
    bgra[..., 3] = 255
    out = decode(Stream.RGB, compressed(bgra, "png")).to_rgb()
    np.testing.assert_array_equal(out, bgra[..., 2::-1])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_thermal_png_keeps_every_count(dtype):
    counts = RNG.integers(0, np.iinfo(dtype).max + 1, (6, 9)).astype(dtype)
    declared = "mono8; png compressed " if dtype is np.uint8 else "16UC1; png compressed "
    out = decode(Stream.THERMAL, compressed(counts, "png", declared)).to_thermal()
    np.testing.assert_array_equal(out, counts)
    assert out.dtype == dtype
    assert out.flags.c_contiguous


def test_a_thermal_jpeg_is_a_picture_of_8_bits():
    out = decode(Stream.THERMAL, compressed(smooth()[..., 0], "jpg", "mono8; jpeg compressed "))
    assert out.to_thermal().dtype == np.uint8
    in_colour = decode(Stream.THERMAL, compressed(smooth(), "jpg")).to_thermal()
    assert in_colour.shape == (48, 67)


def test_an_orientation_mark_does_not_turn_the_picture():
    plain = compressed(smooth(20, 40), "jpg")
    # EXIF, little endian, one entry: orientation (0x0112) = 6, "turn by 90 degrees".
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHHI", 0x112, 3, 1, 6, 0, 0)
    marked = bytes(plain.data[:2]) + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    message = of_bytes(marked + bytes(plain.data[2:]))
    turned = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
    assert turned.shape == (40, 20, 3)  # the mark is one that OpenCV obeys by default
    for stream in Stream:
        assert decode(stream, message).pixels.shape[:2] == (20, 40)


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_the_header_is_read_without_decoding(kind):
    found = announced(compressed(smooth(), kind))
    assert (found.height, found.width, found.bits, found.grey) == (48, 67, 8, False)
    assert announced(compressed(smooth()[..., 0], kind)).grey


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_zeros_behind_the_last_byte_are_padding(kind):
    message = compressed(smooth(), kind)
    message.data.frombytes(b"\0" * 300)
    assert decode(Stream.RGB, message).pixels.shape == (48, 67, 3)


def png_bomb(width: int, height: int, bits: int = 16) -> bytes:
    """A few hundred bytes that announce any number of pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + check

    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    body = zlib.compress(b"\0" * 100_000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def jpeg_of_size(width: int, height: int) -> bytes:
    data = bytearray(compressed(smooth(), "jpg").data)
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize("stream", Stream)
@pytest.mark.parametrize(
    "bomb", [png_bomb(60_000, 60_000), jpeg_of_size(65_000, 65_000)], ids=["png", "jpeg"]
)
def test_a_bomb_is_refused_before_it_is_decoded(bomb, stream, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", None)  # calling it would be an error of another kind
    with pytest.raises(ImageRefused, match=r"6\d000x6\d000 pixels in \d+ bytes") as caught:
        decode(stream, of_bytes(bomb))
    assert caught.value.reason is Refusal.SIZE


WHOLE_PNG = bytes(compressed(smooth(), "png").data)
WHOLE_JPEG = bytes(compressed(smooth(), "jpg").data)
SIXTEEN = np.zeros((4, 6), np.uint16)


@pytest.mark.parametrize(
    ("message", "reason", "words"),
    [
        (of_bytes(b""), Refusal.DECODING, "0 bytes are neither JPEG nor PNG .*begin with nothing"),
        (of_bytes(b"RIFF\0\0\0\0WEBP"), Refusal.DECODING, "neither .*52 49 46 46"),
        (of_bytes(WHOLE_PNG[:20]), Refusal.DECODING, "PNG is cut short"),
        (
            of_bytes(WHOLE_PNG[:-1]),
            Refusal.DECODING,
            "PNG is cut short .*: a chunk of 0 bytes|without its end",
        ),
        (of_bytes(WHOLE_JPEG[:3]), Refusal.DECODING, "JPEG is cut short"),
        (
            of_bytes(WHOLE_JPEG[: len(WHOLE_JPEG) // 2]),
            Refusal.DECODING,
            "JPEG is cut short .* end without an end mark",
        ),
        (of_bytes(b"\xff\xd8" + b"\xff" * 100_000), Refusal.DECODING, "JPEG is cut short"),
        (of_bytes(b"\xff\xd8\xff\xe0\0\0" + b"\0" * 99), Refusal.DECODING, "a segment of 0 bytes"),
        (of_bytes(jpeg_of_size(0, 48)), Refusal.SIZE, "0x48 pixels"),
        (of_bytes(jpeg_of_size(67, 0)), Refusal.SIZE, "67x0 pixels"),
        (of_bytes(png_bomb(640, 480, 8)), Refusal.SIZE, "PNG of 640x480 .* cannot hold them"),
        (compressed(SIXTEEN, "png"), Refusal.ENCODING, "16 bits of grey.*swapped"),
        (of_bytes(b"", "16UC1; compressedDepth png"), Refusal.ENCODING, "depth images"),
    ],
)
def test_malformed_rgb_is_refused_with_reason_and_value(message, reason, words):
    with pytest.raises(ImageRefused, match=words) as caught:
        decode(Stream.RGB, message)
    assert caught.value.reason is reason
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (compressed(smooth()[..., 0], "jpg", "mono16; jpeg compressed mono8"), "format to png"),
        (compressed(smooth()[..., 0], "jpg", "16UC1; jpeg compressed "), "counts are lost"),
        (compressed(np.zeros((4, 6, 3), np.uint16), "png"), "colour with 16 bits"),
    ],
)
def test_thermal_that_lost_its_counts_is_refused(message, words):
    with pytest.raises(ImageRefused, match=words) as caught:
        decode(Stream.THERMAL, message)
    assert caught.value.reason is Refusal.ENCODING


def test_random_damage_never_raises_anything_else():
    """Flip any bytes: a picture or a refusal."""
    refused = 0
    for whole in (WHOLE_JPEG, WHOLE_PNG, bytes(compressed(SIXTEEN, "png").data)):
        for _ in range(150):
            data = bytearray(whole)
            for position in RNG.integers(0, len(data), RNG.integers(1, 6)):
                data[position] = RNG.integers(0, 256)
            stream = Stream.RGB if RNG.random() < 0.5 else Stream.THERMAL
            try:
                view = decode(stream, of_bytes(bytes(data)))
                _ = view.to_rgb() if stream is Stream.RGB else view.to_thermal()
            except ImageRefused:
                refused += 1
    assert refused > 100


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases (../shared/cases) are not there")
@pytest.mark.parametrize("name", ["clean", "junk96", "zeros4000"])
def test_images_of_cameras_that_send_more_than_the_picture(name):
    (path,) = CASES.glob(f"40-*/{name}")
    used = 0
    with BagReader(path) as reader:
        kinds = {t.name: t.type for t in reader.summary().topics}
        topics = [topic for topic, kind in kinds.items() if kind == COMPRESSED_IMAGE]
        for message in reader.messages(topics):
            image = message_types().deserialize_cdr(message.cdr, message.type)
            used += decode(Stream.RGB, image).to_rgb().size > 0
    assert used > 5


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases (../shared/cases) are not there")
@pytest.mark.parametrize("stream", Stream)
def test_58_bytes_take_no_gigabytes(stream):
    (path,) = CASES.glob("71-*/bomb.png")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageRefused, match="a chunk of 2147483647 bytes"):
        decode(stream, of_bytes(path.read_bytes(), "png"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000, "kB"
