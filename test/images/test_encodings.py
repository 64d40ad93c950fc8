# SPDX-License-Identifier: Apache-2.0
"""YUV, Bayer and 16-bit colour against the arithmetic that defines them, without cv_bridge."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from segmif_ros.frames import Buffers
from segmif_ros.images.raw import ENCODINGS, ImageRefused, Refusal, view_rgb, view_thermal

RNG = np.random.default_rng(5)
H, W = 12, 16
COLOURS = np.array([[200, 40, 60], [20, 180, 90], [70, 60, 210], [128, 128, 128]])
"""R, G, B of a block each."""


def picture(height: int = H, width: int = W) -> np.ndarray:
    """Blocks of one colour, an even number of pixels wide and high."""
    rgb = np.zeros((height, width, 3), np.uint8)
    for index, colour in enumerate(COLOURS):
        rgb[(index // 2) * height // 2 :, (index % 2) * width // 2 :] = colour
    return rgb


def to_yuv(rgb: np.ndarray) -> np.ndarray:
    """ITU-R BT.601 with studio swing: Y 16 to 235, U and V 16 to 240."""
    r, g, b = (rgb[..., i].astype(float) for i in range(3))
    y = 16 + (65.481 * r + 128.553 * g + 24.966 * b) / 255
    u = 128 + (-37.797 * r - 74.203 * g + 112.0 * b) / 255
    v = 128 + (112.0 * r - 93.786 * g - 18.214 * b) / 255
    return np.stack([y, u, v], -1).round().astype(np.uint8)


def message(
    planes: list[np.ndarray], encoding: str, *, padding: int = 0, **fields: Any
) -> SimpleNamespace:
    """A message as a driver fills it, with `padding` junk bytes behind each row of luma."""
    height, width = planes[0].shape[:2]
    rows = [plane.reshape(len(plane), -1).view(np.uint8) for plane in planes]
    step = rows[0].shape[1] + padding
    data = b""
    for plane in rows:
        per_row = max(1, round(plane.shape[1] / rows[0].shape[1]))
        data += np.pad(plane, ((0, 0), (0, padding * per_row)), constant_values=0xAB).tobytes()
    told = {"height": height, "width": width, "encoding": encoding, "step": step}
    return SimpleNamespace(**{**told, "is_bigendian": 0, "data": data, **fields})


def yuv_message(encoding: str, rgb: np.ndarray, *, padding: int = 0, **fields: Any) -> Any:
    y, u, v = np.moveaxis(to_yuv(rgb), -1, 0)
    if encoding in ("nv12", "nv21", "nv24"):
        n = 1 if encoding == "nv24" else 2
        pair = [v, u] if encoding == "nv21" else [u, v]
        chroma = np.stack([each[::n, ::n] for each in pair], -1)
        return message([y, chroma], encoding, padding=padding, **fields)
    chroma = np.empty_like(y)
    chroma[:, ::2], chroma[:, 1::2] = u[:, ::2], v[:, 1::2]
    order = [chroma, y] if encoding in ("uyvy", "yuv422") else [y, chroma]
    return message([np.stack(order, -1)], encoding, padding=padding, **fields)


YUV = ["uyvy", "yuv422", "yuyv", "yuv422_yuy2", "nv12", "nv21", "nv24"]


@pytest.mark.parametrize("padding", [0, 2, 6])
@pytest.mark.parametrize("encoding", YUV)
def test_yuv_becomes_the_colours_it_was_made_of(encoding: str, padding: int) -> None:
    rgb = picture()
    view = view_rgb(yuv_message(encoding, rgb, padding=padding))
    found = view.to_rgb()
    assert view.pixels.shape[:2] == (H, W)
    assert np.abs(found.astype(int) - rgb).max() <= 3
    assert found.flags.c_contiguous
    assert found.dtype == np.uint8


@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize("encoding", YUV)
def test_of_a_thermal_camera_in_yuv_the_luma_is_taken(encoding: str, padding: int) -> None:
    rgb = picture()
    found = view_thermal(yuv_message(encoding, rgb, padding=padding)).to_thermal()
    np.testing.assert_array_equal(found, to_yuv(rgb)[..., 0])
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous


@pytest.mark.parametrize("encoding", ["nv12", "nv21", "nv24"])
def test_a_step_that_counts_both_planes_is_understood(encoding: str) -> None:
    rgb = picture()
    source = yuv_message(encoding, rgb)
    source.step = len(source.data) // H
    assert np.abs(view_rgb(source).to_rgb().astype(int) - rgb).max() <= 3


def test_every_luma_and_chroma_of_nv24_is_what_nv12_makes_of_it() -> None:
    """OpenCV has no NV24; where neighbours share their colour both are the same picture."""
    y = RNG.integers(0, 256, (64, 64), np.uint8)
    chroma = RNG.integers(0, 256, (32, 32, 2), np.uint8)
    twelve = view_rgb(message([y, chroma], "nv12")).to_rgb().astype(int)
    wide = chroma.repeat(2, axis=0).repeat(2, axis=1)
    twenty_four = view_rgb(message([y, wide], "nv24")).to_rgb().astype(int)
    assert np.abs(twelve - twenty_four).max() <= 2


PATTERNS = {"rggb": "RGGB", "bggr": "BGGR", "gbrg": "GBRG", "grbg": "GRBG"}


def bayer(order: str, rgb: np.ndarray) -> np.ndarray:
    """Every second pixel of a colour, as the sensor sees it: first row, then second row."""
    mosaic = np.empty(rgb.shape[:2], rgb.dtype)
    for place, letter in enumerate(PATTERNS[order]):
        y, x = divmod(place, 2)
        mosaic[y::2, x::2] = rgb[y::2, x::2, "RGB".index(letter)]
    return mosaic


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 1, 6])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("order", PATTERNS)
def test_bayer_becomes_the_colour_it_was_taken_of(
    order: str, bits: int, padding: int, big_endian: bool
) -> None:
    for colour in COLOURS:
        rgb = np.broadcast_to(colour.astype(np.uint8), (H, W, 3))
        wide = rgb if bits == 8 else rgb.astype(np.uint16) * 257
        mosaic = bayer(order, wide)
        if bits == 16:
            mosaic = mosaic.astype(">u2" if big_endian else "<u2")
        source = message(
            [mosaic], f"bayer_{order}{bits}", padding=padding, is_bigendian=int(big_endian)
        )
        np.testing.assert_array_equal(view_rgb(source).to_rgb(), rgb)
        grey = view_thermal(source).to_thermal()
        assert grey.dtype == (np.uint8 if bits == 8 else np.uint16)
        luma = float(colour @ [0.299, 0.587, 0.114]) * (1 if bits == 8 else 257)
        assert np.abs(grey.astype(float) - luma).max() <= (1 if bits == 8 else 257)


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 1, 6])
@pytest.mark.parametrize(
    ("encoding", "order"),
    [
        ("rgb16", (0, 1, 2)),
        ("bgr16", (2, 1, 0)),
        ("16UC3", (2, 1, 0)),
        ("rgba16", (0, 1, 2, 3)),
        ("bgra16", (2, 1, 0, 3)),
        ("16UC4", (2, 1, 0, 3)),
    ],
)
def test_colour_of_16_bits_is_scaled_to_8(
    encoding: str, order: tuple[int, ...], padding: int, big_endian: bool
) -> None:
    stored = RNG.integers(0, 65536, (H, W, len(order))).astype(np.uint16)
    source = message(
        [stored.astype(">u2" if big_endian else "<u2")],
        encoding,
        padding=padding,
        is_bigendian=int(big_endian),
    )
    expected = np.round(stored[..., list(order[:3])] / 257.0)
    assert np.abs(view_rgb(source).to_rgb() - expected).max() <= 1
    grey = view_thermal(source).to_thermal()
    luma = stored[..., list(order[:3])] @ [0.299, 0.587, 0.114]
    assert grey.dtype == np.uint16
    assert np.abs(grey - luma).max() <= 2


@pytest.mark.parametrize(
    ("encoding", "changes", "reason", "words"),
    [
        ("yuyv", {"width": 15}, Refusal.SIZE, "15x12 pixels, expected even numbers for yuyv"),
        ("uyvy", {"step": 31}, Refusal.STEP, "step 31 is too small: 16 pixels of 'uyvy' are 32"),
        ("yuv422", {"height": 13}, Refusal.DATA_LENGTH, "32 . 13"),
        ("nv12", {"height": 11}, Refusal.SIZE, "16x11 pixels, expected even"),
        ("nv21", {"width": 15}, Refusal.SIZE, "15x12"),
        ("nv12", {"step": 15}, Refusal.STEP, "step 15"),
        ("nv24", {"data": b"\0" * 16 * 12}, Refusal.DATA_LENGTH, "192 bytes, expected 576 for nv"),
        ("nv12", {"data": b""}, Refusal.DATA_LENGTH, "0 bytes, expected 288"),
        ("nv12", {"step": 17}, Refusal.DATA_LENGTH, "288 bytes, expected 306"),
        ("nv24", {"height": 0}, Refusal.SIZE, "16x0"),
        ("nv24", {"width": 2**16, "height": 2**16, "step": 2**16}, Refusal.SIZE, "more than"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    encoding: str, changes: dict[str, Any], reason: Refusal, words: str
) -> None:
    source = yuv_message(encoding, picture())
    for name, value in changes.items():
        setattr(source, name, value)
    for view in (view_rgb, view_thermal):
        with pytest.raises(ImageRefused, match=words) as caught:
            view(source)
        assert caught.value.reason is reason


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_smallest_picture_of_every_encoding_is_one(encoding: str) -> None:
    layout = ENCODINGS[encoding]
    planes = [np.zeros((2, 2, layout.channels), f"<{layout.kind}")]
    if layout.chroma:
        planes.append(np.zeros((2 // layout.chroma, 2 // layout.chroma, 2), np.uint8))
    source = message(planes, encoding)
    assert view_thermal(source).to_thermal().shape == (2, 2)
    if layout.visible:
        assert view_rgb(source).to_rgb().shape == (2, 2, 3)


def test_a_converted_image_goes_into_the_buffer_that_is_given() -> None:
    for encoding in (*YUV, "bayer_rggb16", "rgb16", "bgr8"):
        rgb = RNG.integers(0, 256, (H, W, 3), np.uint8)
        if encoding in YUV:
            source = yuv_message(encoding, rgb)
        else:
            kind, channels = ENCODINGS[encoding].kind, ENCODINGS[encoding].channels
            source = message([np.zeros((H, W, channels), f"<{kind}")], encoding)
        buffers = Buffers()
        first = view_rgb(source).to_rgb(buffers)
        assert first is view_rgb(source).to_rgb(buffers), encoding


@pytest.mark.parametrize("encoding", [*YUV, "bayer_rggb8", "bayer_gbrg16", "bgr16"])
def test_no_conversion_takes_much_longer_than_the_plainest(encoding: str) -> None:
    """The slowest, of planes that OpenCV does not know, takes 0.4 ms at 640x480."""
    if encoding in YUV:
        source = yuv_message(encoding, picture(480, 640))
    else:
        channels, kind = ENCODINGS[encoding].channels, ENCODINGS[encoding].kind
        source = message([np.zeros((480, 640, channels), f"<{kind}")], encoding)
    plain = message([np.zeros((480, 640, 3), np.uint8)], "bgr8")
    assert _fastest(source) < 20 * _fastest(plain)


def _fastest(source: Any) -> float:
    buffers, threads = Buffers(), cv2.getNumThreads()
    cv2.setNumThreads(1)
    times = []
    for _ in range(15):
        started = time.perf_counter()
        view_rgb(source).to_rgb(buffers)
        times.append(time.perf_counter() - started)
    cv2.setNumThreads(threads)
    return min(times)
