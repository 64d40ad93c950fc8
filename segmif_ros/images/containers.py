# SPDX-License-Identifier: Apache-2.0
"""Headers of compressed pictures, checked against the data.

Decoders allocate what headers claim: 58 bytes can mean gigabytes. So every length in a container is
checked before a decoder runs, and the decoder gets only the bytes of the pixels.
Sources: ITU-T T.81 (JPEG), the PNG and WebP specifications, TIFF 6.0, BITMAPINFOHEADER.
"""

from __future__ import annotations

import re
import struct
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.error_codes import brief
from segmif_ros.images.raw import MOST_PIXELS, ImageRefused, ImageView, Refusal
from segmif_ros.pairing import Stream

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_JPEG = b"\xff\xd8"
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_END, _START_OF_SCAN = 0xD9, 0xDA
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]", re.DOTALL)
"""No stuffed byte, no restart, no filling. Decoders skip what some cameras leave in between."""
_MOST_SEGMENTS = 10_000
_MOST_SCANS = 64
"""Encoders write up to 14; every one is a pass over all pixels."""
_JPEG_PIXELS_A_BYTE = 512
"""A block of 64 pixels takes one bit at least."""
_DEFLATED = 1032
"""A byte holds so many at most, by the way deflate counts."""
_PNG_DEPTHS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Colour type -> channels."""
_PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_TIFF_SIZES = {1: 1, 3: 2, 4: 4, 16: 8}
_TIFF_LOGARITHMS = (32844, 32845)
"""LogL and LogLuv: floats in 16 bits."""
_TIFF_PACKED = 4096
"""A byte of LZW or deflate holds fewer."""


class Picture(NamedTuple):
    """A container whose lengths add up.

    Attributes:
        kind: "JPEG", "PNG", "TIFF", "BMP" or "WebP".
        height: pixels.
        width: pixels.
        bits: of one channel.
        grey: one channel.
        data: the bytes that a decoder needs.
    """

    kind: str
    height: int
    width: int
    bits: int
    grey: bool
    data: bytes | memoryview


def inspect(content: Any, *, files: bool = False) -> Picture:
    """Look through a container without decoding anything.

    Bytes behind the end are left away: cameras send whole buffers.

    Args:
        content: bytes, or what has the buffer protocol.
        files: take TIFF, BMP and WebP as well as JPEG and PNG.

    Raises:
        ImageRefused: another format, cut short, damaged, empty, or implausibly large.
    """
    data = memoryview(content).cast("B")
    start = bytes(data[:16])
    if start.startswith(PNG_SIGNATURE):
        found = _png(data)
    elif start.startswith(_JPEG):
        found = _jpeg(data)
    elif files and start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        found = _tiff(data)
    elif files and start[:2] == b"BM":
        found = _bmp(data)
    elif files and start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        found = _webp(data)
    else:
        expected = "no PNG, JPEG, TIFF, BMP or WebP" if files else "neither JPEG nor PNG"
        raise ImageRefused(
            Refusal.DECODING,
            f"{len(data)} bytes are {expected} (they begin with {start[:8].hex(' ') or 'nothing'})",
        )
    _check_size(found, len(data))
    return found


def decoded(picture: Picture, flags: int) -> NDArray[Any]:
    """Return the pixels as OpenCV decodes them.

    Args:
        picture: from `inspect`.
        flags: of `cv2.imdecode`.

    Raises:
        ImageRefused: damaged, or of another size than the header says.
    """
    try:
        pixels = cv2.imdecode(np.frombuffer(picture.data, np.uint8), flags)
    except cv2.error:
        pixels = None
    if pixels is None or pixels.shape[:2] != (picture.height, picture.width):
        raise ImageRefused(
            Refusal.DECODING, f"{picture.kind} of {len(picture.data)} bytes cannot be decoded"
        )
    return np.asarray(pixels)


def _check_size(found: Picture, size: int) -> None:
    if found.height == 0 or found.width == 0 or found.height * found.width > MOST_PIXELS:
        raise ImageRefused(
            Refusal.SIZE,
            f"{found.kind} of {found.width}x{found.height} pixels in {size} bytes, expected "
            f"1 to {MOST_PIXELS} pixels",
        )


def _check_room(found: Picture, needed: float, what: str) -> None:
    """Compare what the header announces with what the bytes can hold."""
    size = len(found.data)
    if needed > size:
        raise ImageRefused(
            Refusal.SIZE,
            f"{found.kind} of {found.width}x{found.height} pixels in {size} bytes, {what}",
        )


def _damaged(kind: str, why: str) -> ImageRefused:
    return ImageRefused(Refusal.DECODING, f"{kind} is cut short or damaged: {why}")


def _png(data: memoryview) -> Picture:
    position, kept, packed = len(PNG_SIGNATURE), [bytes(data[: len(PNG_SIGNATURE)])], 0
    header: tuple[int, int, int, int] | None = None
    for _ in range(_MOST_SEGMENTS):
        if position + 12 > len(data):
            raise _damaged("PNG", f"{len(data)} bytes end without its end mark")
        (length,) = struct.unpack_from(">I", data, position)
        name, end = bytes(data[position + 4 : position + 8]), position + 12 + length
        if end > len(data):
            left = len(data) - position - 12
            raise _damaged("PNG", f"a chunk of {length} bytes, and {left} are left")
        if header is None:
            if name != b"IHDR" or length != 13:
                raise _damaged("PNG", "it does not begin with its header")
            header = struct.unpack_from(">IIBB", data, position + 8)
        packed += length if name == b"IDAT" else 0
        if name in _PNG_PIXELS:
            kept.append(bytes(data[position:end]))
        position = end
        if name == b"IEND":
            return _png_of(header, b"".join(kept), packed)
    raise _damaged("PNG", f"more than {_MOST_SEGMENTS} chunks")


def _png_of(header: tuple[int, int, int, int], data: bytes, packed: int) -> Picture:
    width, height, bits, colour = header
    if bits not in (1, 2, 4, 8, 16) or colour not in _PNG_DEPTHS:
        raise _damaged("PNG", f"{bits} bits of colour type {colour}")
    found = Picture("PNG", height, width, bits, colour == 0, data)
    _check_size(found, len(data))
    raw = height * (1 + (width * bits * _PNG_DEPTHS[colour] + 7) // 8)
    if raw > packed * _DEFLATED:
        raise ImageRefused(
            Refusal.SIZE,
            f"PNG of {width}x{height} pixels, whose {packed} bytes of data cannot hold them",
        )
    return found


def _jpeg(data: memoryview) -> Picture:
    """Go from marker to marker: the size, and where the picture ends."""
    position, scans, size = 2, 0, None
    for _ in range(_MOST_SEGMENTS):
        marker = _MARKER.search(data, position)
        if marker is None:
            raise _damaged("JPEG", f"{len(data)} bytes end without an end mark")
        code, position = data[marker.end() - 1], marker.end()
        if code == _END:
            if size is None or not scans:
                raise _damaged("JPEG", "it ends before its picture")
            bits, height, width, channels = size
            found = Picture("JPEG", height, width, bits, channels == 1, data[:position])
            room = height * width / _JPEG_PIXELS_A_BYTE
            _check_room(found, room, f"more than {_JPEG_PIXELS_A_BYTE} pixels a byte")
            return found
        if position + 2 > len(data):
            raise _damaged("JPEG", f"{len(data)} bytes end in a segment")
        (length,) = struct.unpack_from(">H", data, position)
        if length < 2 or position + length > len(data):
            left = len(data) - position
            raise _damaged("JPEG", f"a segment of {length} bytes, and {left} are left")
        if code in _START_OF_FRAME:
            if size is not None or length < 8:
                raise _damaged("JPEG", "two sizes" if size else "a size that is cut short")
            size = struct.unpack_from(">BHHB", data, position + 2)
        scans += code == _START_OF_SCAN
        if scans > _MOST_SCANS:
            raise ImageRefused(
                Refusal.DECODING, f"JPEG of more than {_MOST_SCANS} scans takes too long to decode"
            )
        position += length
    raise _damaged("JPEG", f"more than {_MOST_SEGMENTS} segments")


def _tiff(data: memoryview) -> Picture:
    """Look through the first page, the one that is decoded."""
    try:
        tags = _tiff_tags(data)
    except (struct.error, ValueError) as err:
        raise _damaged("TIFF", f"its directory ({err})") from err
    width, height = tags.get(256, [0])[0], tags.get(257, [0])[0]
    bits, channels = max(tags.get(258, [1])), tags.get(277, [1])[0]
    logarithms = tags.get(262, [0])[0] in _TIFF_LOGARITHMS
    found = Picture("TIFF", height, width, 32 if logarithms else bits, channels == 1, data)
    _check_size(found, len(data))
    tile = tags.get(322, [0])[0] * tags.get(323, [0])[0]
    counts, offsets = tags.get(279) or tags.get(325), tags.get(273) or tags.get(324)
    if not counts or not offsets or bits > 64 or not 0 < channels <= 64 or tile > MOST_PIXELS:
        raise _damaged("TIFF", f"{channels} channels of {bits} bits, a tile of {tile} pixels")
    if any(at + size > len(data) for at, size in zip(offsets, counts, strict=False)):
        raise _damaged("TIFF", f"it refers to data behind its {len(data)} bytes")
    packing = 1 if tags.get(259, [1])[0] == 1 else _TIFF_PACKED
    room = max(height * width, tile) * bits * channels / 8 / packing
    _check_room(found, room, "which cannot hold them")
    return found


def _tiff_tags(data: memoryview) -> dict[int, list[int]]:
    """Return the whole numbers of the first directory by tag."""
    order = "<" if bytes(data[:2]) == b"II" else ">"
    large = 43 in (data[2], data[3])
    word, count_kind, entry = ("Q", "Q", 20) if large else ("I", "H", 12)
    (position,) = struct.unpack_from(f"{order}{word}", data, 8 if large else 4)
    (entries,) = struct.unpack_from(f"{order}{count_kind}", data, position)
    if entries > _MOST_SEGMENTS:
        raise ValueError(f"{entries} entries")
    position += struct.calcsize(count_kind)
    tags = {}
    for place in range(position, position + entries * entry, entry):
        tag, kind, count = struct.unpack_from(f"{order}HH{word}", data, place)
        size = _TIFF_SIZES.get(kind)
        if size is None:
            continue
        at = place + 4 + struct.calcsize(word)
        if count * size > struct.calcsize(word):
            (at,) = struct.unpack_from(f"{order}{word}", data, at)
        if at + count * size > len(data):
            raise ValueError(f"tag {tag} of {count * size} bytes lies behind the end")
        tags[tag] = np.frombuffer(data, f"{order}u{size}", count, at).tolist() or [0]
    return tags


def _bmp(data: memoryview) -> Picture:
    if len(data) < 54:
        raise _damaged("BMP", f"{len(data)} bytes hold no header")
    _, width, height, _, bits, packing = struct.unpack_from("<IiiHHI", data, 14)
    found = Picture("BMP", abs(height), max(width, 0), 8, False, data)
    _check_size(found, len(data))
    # A pair of bytes of the run-length code stands for up to 255 pixels.
    room = found.height * found.width * (bits / 8 if packing in (0, 3) else 1 / 128)
    _check_room(found, room, "which cannot hold them")
    return found


def _webp(data: memoryview) -> Picture:
    if len(data) < 30 or struct.unpack_from("<I", data, 4)[0] + 8 > len(data):
        raise _damaged("WebP", f"{len(data)} bytes are fewer than it says")
    kind = bytes(data[12:16])
    if kind == b"VP8X":
        sides = [int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27)]
    elif kind == b"VP8L":
        packed = int.from_bytes(data[21:25], "little")
        sides = [(packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1]
    else:
        sides = [side & 0x3FFF for side in struct.unpack_from("<HH", data, 26)]
    return Picture("WebP", sides[1], sides[0], 8, False, data)


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
            f"format '{brief(message.format)}' is for depth images; subscribe to the topic that "
            "ends in /compressed",
        )
    return inspect(message.data)


def decode(stream: Stream, message: CompressedMessage) -> ImageView:
    """Check and decode a compressed image.

    Returns:
        The pixels as `view_rgb` (or `view_thermal`) would give them for a raw image.

    Raises:
        ImageRefused: damaged, too large, or unusable for this camera.
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
            f"format '{brief(message.format)}' squeezes {source} into 8 bits, its counts are lost; "
            "set the publisher's parameter for the format to png",
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
