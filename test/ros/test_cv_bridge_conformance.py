# SPDX-License-Identifier: Apache-2.0
"""Our conversions and cv_bridge's, side by side, wherever cv_bridge can be imported."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from sensor_msgs.msg import CompressedImage, Image

from segmif_ros.images.containers import decode
from segmif_ros.images.raw import view_rgb, view_thermal
from segmif_ros.pairing import Stream
from segmif_ros.ros.images import to_message

cv_bridge = pytest.importorskip(
    "cv_bridge", reason="cv_bridge is not on PyPI; compared where ROS 2 is installed from packages"
)
RNG = np.random.default_rng(7)
COLOUR = {"rgb8": 3, "bgr8": 3, "8UC3": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}
PADDINGS = [0, 24]
"""cv_bridge counts a row's padding in whole pixels."""
THERMAL = {"mono8": np.uint8, "mono16": np.uint16, "16UC1": np.uint16, "32FC1": np.float32}


def message(array: np.ndarray, encoding: str, padding: int, *, big_endian: bool = False) -> Image:
    stored = array.astype(array.dtype.newbyteorder(">" if big_endian else "<"))
    rows = np.frombuffer(stored.tobytes(), np.uint8).reshape(len(array), -1)
    out = Image(encoding=encoding, is_bigendian=int(big_endian))
    out.height, out.width = array.shape[:2]
    out.step = rows.shape[1] + padding
    out.data.frombytes(np.pad(rows, ((0, 0), (0, padding))).tobytes())
    return out


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("encoding", COLOUR)
def test_colour(encoding: str, padding: int) -> None:
    shape = (6, 8) if COLOUR[encoding] == 1 else (6, 8, COLOUR[encoding])
    source = message(RNG.integers(0, 256, shape, np.uint8), encoding, padding)
    theirs = cv_bridge.CvBridge().imgmsg_to_cv2(source)
    if encoding == "8UC3":  # cv_bridge names no colours here; OpenCV's own order is B, G, R
        theirs = theirs[..., ::-1]
    else:
        theirs = cv_bridge.CvBridge().imgmsg_to_cv2(source, desired_encoding="rgb8")
    np.testing.assert_array_equal(view_rgb(source).to_rgb(), theirs)


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("encoding", THERMAL)
def test_thermal(encoding: str, padding: int, big_endian: bool) -> None:
    if big_endian and np.lib.NumpyVersion(np.__version__) >= "2.0.0":
        pytest.skip("cv_bridge swaps bytes with a method that NumPy 2 has removed")
    values = RNG.integers(0, 256, (6, 8)).astype(THERMAL[encoding])
    source = message(values * 3, encoding, padding, big_endian=big_endian)
    theirs = cv_bridge.CvBridge().imgmsg_to_cv2(source, desired_encoding="passthrough")
    np.testing.assert_array_equal(view_thermal(source).to_thermal(), theirs)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("order", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer(order: str, bits: int, padding: int) -> None:
    """Theirs interpolates 16 bits before it scales them, so that both may round differently."""
    values = RNG.integers(0, 2**bits, (6, 8)).astype(f"u{bits // 8}")
    source = message(values, f"bayer_{order}{bits}", padding)
    theirs = cv_bridge.CvBridge().imgmsg_to_cv2(source, desired_encoding="rgb8")
    off = np.abs(view_rgb(source).to_rgb().astype(int) - theirs)
    assert off.max() <= (0 if bits == 8 else 1)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("encoding", ["rgb16", "bgr16", "rgba16", "bgra16"])
def test_colour_of_16_bits(encoding: str, padding: int) -> None:
    values = RNG.integers(0, 65536, (6, 8, 4 if "a" in encoding else 3)).astype(np.uint16)
    source = message(values, encoding, padding)
    theirs = cv_bridge.CvBridge().imgmsg_to_cv2(source, desired_encoding="rgb8")
    assert np.abs(view_rgb(source).to_rgb().astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv"])
def test_yuv(encoding: str, padding: int) -> None:
    source = message(RNG.integers(0, 256, (6, 8, 2), np.uint8), encoding, padding)
    try:
        theirs = cv_bridge.CvBridge().imgmsg_to_cv2(source, desired_encoding="rgb8")
    except cv_bridge.CvBridgeError as err:
        pytest.skip(f"this cv_bridge does not know {encoding}: {err}")
    np.testing.assert_array_equal(view_rgb(source).to_rgb(), theirs)


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_compressed_colour(kind: str) -> None:
    _, data = cv2.imencode(f".{kind}", RNG.integers(0, 256, (16, 24, 3), np.uint8))
    source = CompressedImage(format=f"bgr8; {kind} compressed bgr8")
    source.data.frombytes(data.tobytes())
    theirs = cv_bridge.CvBridge().compressed_imgmsg_to_cv2(source, "rgb8")
    np.testing.assert_array_equal(decode(Stream.RGB, source).to_rgb(), theirs)


@pytest.mark.parametrize("encoding", ["rgb8", "mono8"])
def test_they_read_what_we_write(encoding: str) -> None:
    shape = (6, 8, 3) if encoding == "rgb8" else (6, 8)
    array = RNG.integers(0, 256, shape, np.uint8)
    out = to_message(array, encoding, Image().header)
    np.testing.assert_array_equal(cv_bridge.CvBridge().imgmsg_to_cv2(out), array)
