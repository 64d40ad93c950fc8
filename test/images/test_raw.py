# SPDX-License-Identifier: Apache-2.0
"""Image messages: every encoding, padding and byte order, and every way to be malformed."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from sensor_msgs.msg import Image

from segmif_ros.images.raw import ImageRefused, Refusal, view_rgb, view_thermal

RNG = np.random.default_rng(3)


def message(
    array: np.ndarray, encoding: str, *, padding: int = 0, big_endian: bool = False
) -> Image:
    """Build a message the way a driver would, with `padding` junk bytes after each row."""
    if array.itemsize > 1:
        array = array.astype(array.dtype.newbyteorder(">" if big_endian else "<"))
    rows = np.frombuffer(array.tobytes(), np.uint8).reshape(array.shape[0], -1)
    junk = np.full((array.shape[0], padding), 0xAB, np.uint8)
    out = Image(encoding=encoding, is_bigendian=int(big_endian))
    out.height, out.width = array.shape[:2]
    out.step = rows.shape[1] + padding
    out.data.frombytes(np.hstack([rows, junk]).tobytes())
    return out


def colour(height: int = 6, width: int = 5, channels: int = 3) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, channels), np.uint8)


@pytest.mark.parametrize("padding", [0, 1, 7])
@pytest.mark.parametrize(
    ("encoding", "order"),
    [
        ("rgb8", (0, 1, 2)),
        ("bgr8", (2, 1, 0)),
        ("8UC3", (2, 1, 0)),
        ("rgba8", (0, 1, 2, 3)),
        ("bgra8", (2, 1, 0, 3)),
        ("8UC4", (2, 1, 0, 3)),
    ],
)
def test_colour_becomes_rgb(encoding, order, padding):
    stored = colour(channels=len(order))
    expected = stored[..., list(order[:3])]
    rgb = view_rgb(message(stored, encoding, padding=padding)).to_rgb()
    np.testing.assert_array_equal(rgb, expected)
    assert rgb.flags.c_contiguous
    assert rgb.dtype == np.uint8


def test_grey_visible_camera_becomes_three_equal_channels():
    grey = RNG.integers(0, 256, (4, 7), np.uint8)
    rgb = view_rgb(message(grey, "mono8", padding=3)).to_rgb()
    np.testing.assert_array_equal(rgb, np.repeat(grey[..., None], 3, axis=2))


def test_unpadded_rgb8_is_not_copied():
    source = message(colour(), "rgb8")
    rgb = view_rgb(source).to_rgb()
    assert np.shares_memory(rgb, np.frombuffer(source.data, np.uint8))


@pytest.mark.parametrize("padding", [0, 1, 6])
@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize(
    ("encoding", "dtype"),
    [
        ("mono8", np.uint8),
        ("8UC1", np.uint8),
        ("mono16", np.uint16),
        ("16UC1", np.uint16),
        ("32FC1", np.float32),
    ],
)
def test_thermal_keeps_its_values(encoding, dtype, big_endian, padding):
    values = RNG.integers(0, 250, (5, 9)).astype(dtype)
    if dtype is np.uint16:
        values = values * 257 + 3
    thermal = view_thermal(message(values, encoding, padding=padding, big_endian=big_endian))
    out = thermal.to_thermal()
    np.testing.assert_array_equal(out, values)
    assert out.dtype == np.dtype(dtype)
    assert out.dtype.isnative
    assert out.flags.c_contiguous


def test_native_thermal_is_not_copied():
    source = message(RNG.integers(0, 60000, (5, 9)).astype(np.uint16), "mono16")
    assert np.shares_memory(view_thermal(source).to_thermal(), np.frombuffer(source.data, np.uint8))


def test_a_colour_thermal_frame_becomes_its_luma():
    grey = RNG.integers(0, 256, (4, 6), np.uint8)
    stored = np.repeat(grey[..., None], 3, axis=2)
    out = view_thermal(message(stored, "bgr8")).to_thermal()
    np.testing.assert_allclose(out.astype(int), grey.astype(int), atol=1)


def broken(**fields) -> Image:
    out = message(colour(4, 6), "rgb8")
    for name, value in fields.items():
        setattr(out, name, value)
    return out


@pytest.mark.parametrize(
    ("bad", "reason", "words"),
    [
        (broken(height=0), Refusal.SIZE, "6x0"),
        (broken(width=0), Refusal.SIZE, "0x4"),
        (broken(width=2**20, height=2**20), Refusal.SIZE, "1048576x1048576"),
        (broken(step=17), Refusal.STEP, "step 17 is too small"),
        (broken(step=0), Refusal.STEP, "step 0"),
        (broken(step=19), Refusal.DATA_LENGTH, "72 bytes, step .* is 19 . 4 = 76"),
        (broken(height=5), Refusal.DATA_LENGTH, "18 . 5 = 90"),
        (broken(encoding="mono16"), Refusal.ENCODING, "'mono16'.*expected rgb8.*swapped"),
        (broken(encoding="32FC1"), Refusal.ENCODING, "'32FC1'"),
        (
            broken(encoding=""),
            Refusal.ENCODING,
            "'' is no picture .*, expected rgb8",
        ),
        (broken(encoding="16SC1"), Refusal.ENCODING, "'16SC1' is no picture"),
        (broken(encoding="rggb"), Refusal.ENCODING, "'rggb' is no picture"),
    ],
)
def test_malformed_rgb_is_refused_with_reason_and_value(bad, reason, words):
    with pytest.raises(ImageRefused, match=words) as caught:
        view_rgb(bad)
    assert caught.value.reason is reason


def test_empty_data_is_refused():
    bad = Image(encoding="mono8", height=4, width=4, step=4)
    with pytest.raises(ImageRefused, match="data has 0 bytes"):
        view_thermal(bad)


def test_last_row_may_not_be_short():
    """Some drivers leave the padding of the last row away: that is not step * height."""
    bad = message(colour(4, 6), "rgb8", padding=2)
    del bad.data[-2:]
    with pytest.raises(ImageRefused) as caught:
        view_rgb(bad)
    assert caught.value.reason is Refusal.DATA_LENGTH


def test_odd_step_of_sixteen_bit_rows_is_read_right():
    values = RNG.integers(0, 60000, (3, 4)).astype(np.uint16)
    np.testing.assert_array_equal(
        view_thermal(message(values, "mono16", padding=1)).to_thermal(), values
    )
