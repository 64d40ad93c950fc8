# SPDX-License-Identifier: Apache-2.0
"""Lengths in JPEG, PNG, TIFF, BMP and WebP are compared with the bytes before anything decodes."""

from __future__ import annotations

import resource
import struct
import time
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from segmif_ros.images.containers import PNG_SIGNATURE, Picture, decoded, inspect
from segmif_ros.images.raw import ImageRefused, Refusal

RNG = np.random.default_rng(17)
PICTURE = cv2.GaussianBlur(RNG.integers(0, 256, (120, 160, 3), np.uint8), (9, 9), 3)


def encoded(kind: str, array: np.ndarray = PICTURE, *options: int) -> bytes:
    done, data = cv2.imencode(f".{kind}", array, list(options))
    assert done
    return bytes(data)


JPEGS = {
    "baseline": encoded("jpg"),
    "progressive": encoded("jpg", PICTURE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "restarts": encoded("jpg", PICTURE, cv2.IMWRITE_JPEG_RST_INTERVAL, 4),
    "grey": encoded("jpg", PICTURE[..., 0]),
    "noise": encoded("jpg", RNG.integers(0, 256, (120, 160, 3), np.uint8)),
    "one colour": encoded("jpg", np.zeros((120, 160, 3), np.uint8), cv2.IMWRITE_JPEG_OPTIMIZE, 1),
}
TAILS = {
    "nothing": b"",
    "zeros": bytes(4000),
    "junk": RNG.integers(0, 256, 96, np.uint8).tobytes(),
    "line": b"\r\n",
    "filling": b"\xff" * 5000,
    "another": JPEGS["grey"],
    "half another": JPEGS["baseline"][:300],
    "marks": b"\xff\xd8\xff\xda\x00",
}


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("kind", JPEGS)
def test_bytes_behind_the_end_of_a_jpeg_change_nothing(kind: str, tail: str) -> None:
    whole = JPEGS[kind]
    found = inspect(whole + TAILS[tail])
    assert bytes(found.data) == whole
    assert (found.kind, found.height, found.width, found.bits) == ("JPEG", 120, 160, 8)
    assert found.grey == (kind == "grey")
    expected = cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decoded(found, cv2.IMREAD_COLOR), expected)


@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_without_its_end_is_cut_short_at_any_place(kind: str) -> None:
    whole = JPEGS[kind]
    for place in (*range(2, 40), *range(40, len(whole), max(1, len(whole) // 60)), len(whole) - 1):
        for tail in (b"", bytes(300), b"\r\n"):
            with pytest.raises(ImageRefused) as caught:
                inspect(whole[:place] + tail)
            assert caught.value.reason is Refusal.DECODING


def test_bytes_between_the_segments_of_a_jpeg_are_skipped_as_decoders_do() -> None:
    whole = JPEGS["baseline"]
    at = whole.index(b"\xff\xdb")
    odd = whole[:at] + bytes(5) + b"\xff" * 3 + whole[at:-2] + bytes(16) + whole[-2:]
    assert decoded(inspect(odd), cv2.IMREAD_COLOR).shape == PICTURE.shape


def jpeg_of(height: int, width: int, scans: int) -> bytes:
    """The announcement of a grey picture and as many empty scans of it."""
    whole = JPEGS["grey"]
    start, scan = whole.index(b"\xff\xc0"), whole.index(b"\xff\xda")
    head = bytearray(whole[:scan])
    head[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(head) + whole[scan:-2] * scans + b"\xff\xd9"


def chunk(name: bytes, body: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return struct.pack(">I", size) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(
    *chunks: bytes, size: tuple[int, int] = (120, 160), bits: int = 8, colour: int = 0
) -> bytes:
    header = struct.pack(">IIBBBBB", size[1], size[0], bits, colour, 0, 0, 0)
    return PNG_SIGNATURE + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


def rows(height: int, width: int) -> bytes:
    return chunk(b"IDAT", zlib.compress(bytes(height * (width + 1)), 9))


BOMBS: dict[str, tuple[bytes, Refusal]] = {
    "a chunk of 2 GiB": (png(chunk(b"tEXt", b"x", 0x7FFFFFFF)), Refusal.DECODING),
    "a chunk of 4 GiB": (png(chunk(b"IDAT", b"x", 0xFFFFFFFF)), Refusal.DECODING),
    "a chunk one too long": (png(chunk(b"tEXt", b"x", 14)), Refusal.DECODING),
    "no data": (png(), Refusal.SIZE),
    "data of fewer pixels": (png(rows(8, 8), size=(8000, 8000)), Refusal.SIZE),
    "16 bits": (png(rows(8, 8), size=(2000, 2000), bits=16, colour=6), Refusal.SIZE),
    "many chunks": (png(*[chunk(b"tEXt", b"")] * 50_000), Refusal.DECODING),
    "3 bits": (png(rows(120, 160), bits=3), Refusal.DECODING),
    "no header": (PNG_SIGNATURE + chunk(b"IEND", b""), Refusal.DECODING),
    "a header of 4 GiB": (PNG_SIGNATURE + chunk(b"IHDR", b"", 0xFFFFFFFF), Refusal.DECODING),
    "1000 scans": (jpeg_of(480, 640, 1000), Refusal.DECODING),
    "8192 x 8192 in 13 kB": (jpeg_of(8192, 8192, 1) + bytes(9000), Refusal.SIZE),
    "65000 x 65000": (jpeg_of(65_000, 65_000, 1), Refusal.SIZE),
    "two sizes": (JPEGS["grey"][:-2] + JPEGS["baseline"][2:], Refusal.DECODING),
    "a segment of 64 KiB": (b"\xff\xd8\xff\xe1\xff\xff" + bytes(99), Refusal.DECODING),
    "a segment of 1": (b"\xff\xd8\xff\xe1\0\1" + bytes(99), Refusal.DECODING),
    "many segments": (b"\xff\xd8" + b"\xff\xfe\0\2" * 100_000, Refusal.DECODING),
    "filling alone": (b"\xff\xd8" + b"\xff" * 10_000_000, Refusal.DECODING),
    "nothing": (b"", Refusal.DECODING),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_neither_memory_nor_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content, reason = BOMBS[name]
    monkeypatch.setattr(cv2, "imdecode", None)  # calling it would be an error of another kind
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(ImageRefused) as caught:
        inspect(content)
    assert caught.value.reason is reason
    assert "\n" not in str(caught.value)
    assert time.process_time() - started < 1.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000, "kB"


def test_the_highest_compression_ratio_is_accepted() -> None:
    """A black picture: deflate reaches 1032 to 1, JPEG 254 pixels a byte."""
    black = np.zeros((2000, 3000), np.uint8)
    for content in (
        encoded("png", black, cv2.IMWRITE_PNG_COMPRESSION, 9),
        png(rows(2000, 3000), size=(2000, 3000)),
        encoded("jpg", black, cv2.IMWRITE_JPEG_OPTIMIZE, 1),
        encoded("jpg", black, cv2.IMWRITE_JPEG_OPTIMIZE, 1, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        encoded("jpg", black, cv2.IMWRITE_JPEG_QUALITY, 1),
    ):
        assert decoded(inspect(content), cv2.IMREAD_UNCHANGED).max() < 30


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (3, 1), (4, 2), (6, 4)])
def test_the_pixels_of_every_colour_type_are_counted_exactly(colour: int, channels: int) -> None:
    side = 1500
    packed = zlib.compress(bytes(side * (1 + side * channels)), 9)

    def made(width: int) -> bytes:
        header = struct.pack(">IIBBBBB", width, side, 8, colour, 0, 0, 0)
        parts = ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
        return PNG_SIGNATURE + b"".join(chunk(name, body) for name, body in parts)

    assert inspect(made(side)).width == side
    with pytest.raises(ImageRefused, match="cannot hold them"):
        inspect(made(side * 5 // 4))


def test_a_byte_of_a_png_holds_1032_and_no_more() -> None:
    def made(width: int) -> bytes:
        return png(chunk(b"IDAT", b"x"), size=(516, width), bits=1)

    assert inspect(made(8)).width == 8
    with pytest.raises(ImageRefused, match="whose 1 bytes of data cannot hold them"):
        inspect(made(9))
    with pytest.raises(ImageRefused, match="a chunk of 30 bytes, and 13 are left"):
        inspect(png(chunk(b"tEXt", b"x", 30)))


def test_a_webp_that_is_cut_short_is_refused() -> None:
    with pytest.raises(ImageRefused, match="are fewer than it says"):
        inspect(encoded("webp")[:-10], files=True)


def test_a_tag_of_a_tiff_may_lie_at_the_very_end() -> None:
    tags = ((256, 3, 1, 2), (257, 3, 1, 2), (258, 3, 3, 110), (259, 3, 1, 1), (262, 3, 1, 2),
            (273, 4, 1, 98), (277, 3, 1, 3), (279, 4, 1, 12))  # fmt: skip
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    content = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)
    content = content.ljust(98, b"\0") + bytes(range(12))
    content = content.replace(struct.pack("<HHII", 258, 3, 3, 110),
                              struct.pack("<HHII", 258, 3, 3, len(content)))  # fmt: skip
    found = inspect(content + struct.pack("<3H", 8, 8, 8), files=True)
    assert (found.height, found.width, found.bits, found.grey) == (2, 2, 8, False)
    with pytest.raises(ImageRefused, match="lies behind the end"):
        inspect(content + struct.pack("<2H", 8, 8), files=True)


def test_the_decoder_gets_of_a_png_what_makes_pixels_alone() -> None:
    notes = chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(10_000_000))) + chunk(b"tEXt", b"a\0b")
    whole = png(notes, rows(120, 160), notes) + b"\r\n" + bytes(3000)
    found = inspect(whole)
    assert bytes(found.data) == png(rows(120, 160))
    assert decoded(found, cv2.IMREAD_UNCHANGED).shape == (120, 160)


def tiff(array: np.ndarray = PICTURE) -> bytearray:
    return bytearray(encoded("tiff", array, cv2.IMWRITE_TIFF_COMPRESSION, 1))


def with_tag(content: bytearray, tag: int, value: int) -> bytes:
    """Change one whole number of the first directory."""
    (at,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, at)
    for place in range(at + 2, at + 2 + 12 * entries, 12):
        if struct.unpack_from("<H", content, place)[0] == tag:
            struct.pack_into("<HII", content, place + 2, 4, 1, value)
            return bytes(content)
    raise AssertionError(tag)


def webp(kind: bytes, body: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(body) + 8) + b"WEBP" + kind + body


HOSTILE_FILES: dict[str, bytes] = {
    "tiff: wide": with_tag(tiff(), 256, 2**31),
    "tiff: high": with_tag(tiff(), 257, 60_000),
    "tiff: a strip behind the end": with_tag(tiff(), 273, 2**31),
    "tiff: a strip of 4 GiB": with_tag(tiff(), 279, 2**32 - 1),
    "tiff: two thirds of its rows": with_tag(tiff(), 257, 180),
    "tiff: many channels": with_tag(tiff(), 277, 60_000),
    "tiff: a directory behind the end": b"II*\0" + struct.pack("<I", 2**31),
    "tiff: no directory": b"II*\0",
    "tiff: many entries": b"MM\0*" + struct.pack(">IH", 8, 65535) + bytes(99),
    "bigtiff: many entries": b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**60) + bytes(99),
    "bmp: 30000 x 30000": b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 30000, 30000, 1, 24, 0)
    + bytes(99),
    "bmp: 8000 x 8000": b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 8000, 8000, 1, 8, 1)
    + bytes(99),
    "bmp: a third of its pixels": encoded("bmp")[:20_000],
    "bmp: short": b"BM" + bytes(20),
    "webp: 16383 x 16383": webp(b"VP8L", struct.pack("<IBI", 5, 0x2F, 0x0FFFFFFF) + bytes(99)),
    "webp: 2^24 wide": webp(b"VP8X", struct.pack("<II", 10, 0) + b"\xff" * 6 + bytes(99)),
    "webp: short": webp(b"VP8 ", bytes(99))[:60],
    "exr": b"\x76\x2f\x31\x01" + bytes(99),
    "text": b"no picture",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_FILES)
def test_a_file_that_says_more_than_it_holds_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "imdecode", None)
    with pytest.raises(ImageRefused):
        inspect(HOSTILE_FILES[name], files=True)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        *((kind, np.uint8) for kind in ("png", "bmp", "webp", "jpg", "tiff")),
        ("png", np.uint16),
        *(("tiff", dtype) for dtype in (np.uint16, np.int16, np.float32, np.float64)),
    ],
)
def test_what_is_sound_is_decoded(kind: str, dtype: type) -> None:
    for array in (PICTURE.astype(dtype), PICTURE[..., 0].astype(dtype)):
        found = inspect(encoded(kind, array), files=True)
        assert isinstance(found, Picture)
        assert (found.height, found.width) == (120, 160)
        pixels = decoded(found, cv2.IMREAD_UNCHANGED)
        assert pixels.shape[:2] == (120, 160)
        if kind in ("tiff", "png", "bmp"):
            assert pixels.dtype == array.dtype


@pytest.mark.parametrize("quality", [80, 101])
def test_the_size_of_a_webp_is_that_of_its_pixels(quality: int) -> None:
    """101 is lossless, which another chunk holds."""
    found = inspect(encoded("webp", PICTURE, cv2.IMWRITE_WEBP_QUALITY, quality), files=True)
    assert (found.height, found.width) == decoded(found, cv2.IMREAD_COLOR).shape[:2] == (120, 160)


def tiled(**changes: int) -> bytes:
    """A grey TIFF of 20x24 pixels in four tiles of 16x16; `changes` are values of its tags."""
    names = {
        "width": (256, 24), "height": (257, 20), "bits": (258, 8), "packing": (259, 1),
        "black": (262, 1), "channels": (277, 1), "tile_width": (322, 16), "tile_height": (323, 16),
    }  # fmt: skip
    values = {tag: changes.get(name, value) for name, (tag, value) in names.items()}
    start = 8 + 2 + 12 * (len(values) + 2) + 4
    offsets = [changes.get("offset", start + 32) + 256 * tile for tile in range(4)]
    entries = [
        struct.pack("<HHII", tag, 4 if value > 65535 else 3, 1, value)
        for tag, value in values.items()
    ]
    entries += [
        struct.pack("<HHII", tag, 4, 4, start + 16 * at) for at, tag in enumerate((324, 325))
    ]
    content = b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + bytes(4)
    content += struct.pack("<4I", *offsets) + struct.pack("<4I", *(4 * [256]))
    return content + b"".join(bytes([60 * tile]) * 256 for tile in range(4))


def test_a_tiff_in_tiles_is_looked_through_like_one_in_strips() -> None:
    found = inspect(tiled(), files=True)
    assert (found.height, found.width, found.bits, found.grey) == (20, 24, 8, True)
    for changes, said in (
        ({"offset": 2000}, "refers to data behind"),
        ({"tile_height": 128}, "cannot hold them"),
        ({"channels": 64}, "cannot hold them"),
        ({"channels": 65}, "65 channels of 8 bits"),
        ({"tile_width": 2**15, "tile_height": 2**15}, "a tile of 1073741824 pixels"),
    ):
        with pytest.raises(ImageRefused, match=said):
            inspect(tiled(**changes), files=True)


@pytest.mark.parametrize("make", [lambda: JPEGS["noise"], lambda: encoded("png")])
def test_looking_takes_a_small_part_of_decoding(make: Callable[[], bytes]) -> None:
    content = make()

    def fastest(call: Callable[[], object]) -> float:
        times = []
        for _ in range(20):
            started = time.perf_counter()
            call()
            times.append(time.perf_counter() - started)
        return min(times)

    found = inspect(content)
    assert fastest(lambda: inspect(content)) < fastest(lambda: decoded(found, cv2.IMREAD_COLOR))
