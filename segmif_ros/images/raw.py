# SPDX-License-Identifier: Apache-2.0
"""`sensor_msgs/Image` to arrays: no needless copy, and a reason for what is refused.

Any object with the fields of the message will do: rclpy's own, or one that rosbags read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.error_codes import brief
from segmif_ros.frames import Buffers, Image8, ThermalImage, View
from segmif_ros.pairing import Stream

MOST_PIXELS = 64 * 1024 * 1024
"""Largest plausible width*height."""


class ImageMessage(Protocol):
    """The fields of `sensor_msgs/Image` that are read."""

    height: int
    width: int
    encoding: str
    is_bigendian: Any
    step: int
    data: Any


class Refusal(Enum):
    """Why an image message cannot be used."""

    ENCODING = "encoding"
    """An encoding that this input cannot use."""
    SIZE = "size"
    """Width or height is zero, absurdly large, or not that of the calibration."""
    STEP = "step"
    """`step` is too small for one row."""
    DATA_LENGTH = "data_length"
    """`len(data)` is not `step * height`."""
    CONVERSION = "conversion"
    """A message that cannot be read at all."""
    DECODING = "decoding"
    """A compressed image that is damaged, cut short, or neither JPEG nor PNG."""
    NO_VALUES = "no_values"
    """A float image that is NaN or infinite everywhere."""
    BUSY = "busy"
    """A compressed image came while the one before was being decoded; a newer one replaced it."""


class ImageRefused(ValueError):  # noqa: N818 - the field's term
    """A malformed or unusable image message.

    Attributes:
        reason: short code, a key in diagnostics.
    """

    def __init__(self, reason: Refusal, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Layout(NamedTuple):
    """How the bytes of one encoding become a picture.

    Attributes:
        kind: element type, "u1", "u2" or "f4".
        channels: of one pixel; the luma plane has one.
        to_rgb: OpenCV's code for 8 bits, None where there is nothing to convert.
        to_grey: OpenCV's code, None where there is one channel already.
        visible: usable as the RGB image.
        chroma: of images with a plane of U and V behind that of luma, how many pixels share one
            pair, in each direction; 0 for the others.
    """

    kind: str
    channels: int
    to_rgb: int | None = None
    to_grey: int | None = None
    visible: bool = True
    chroma: int = 0


def _bayer(to_rgb: int, to_grey: int) -> dict[str, Layout]:
    return {"8": Layout("u1", 1, to_rgb, to_grey), "16": Layout("u2", 1, to_rgb, to_grey)}


_BGR = Layout("u1", 3, cv2.COLOR_BGR2RGB, cv2.COLOR_BGR2GRAY)
_BGRA = Layout("u1", 4, cv2.COLOR_BGRA2RGB, cv2.COLOR_BGRA2GRAY)
_RGB = Layout("u1", 3, None, cv2.COLOR_RGB2GRAY)
_RGBA = Layout("u1", 4, cv2.COLOR_RGBA2RGB, cv2.COLOR_RGBA2GRAY)
_UYVY = Layout("u1", 2, cv2.COLOR_YUV2RGB_UYVY, cv2.COLOR_YUV2GRAY_UYVY)
_YUYV = Layout("u1", 2, cv2.COLOR_YUV2RGB_YUY2, cv2.COLOR_YUV2GRAY_YUY2)
_GREY = Layout("u1", 1, cv2.COLOR_GRAY2RGB)
_COUNTS = Layout("u2", 1, visible=False)
_PATTERNS = {  # OpenCV names a pattern after the second and third pixel of the second row
    "rggb": _bayer(cv2.COLOR_BayerBG2RGB, cv2.COLOR_BayerBG2GRAY),
    "bggr": _bayer(cv2.COLOR_BayerRG2RGB, cv2.COLOR_BayerRG2GRAY),
    "gbrg": _bayer(cv2.COLOR_BayerGR2RGB, cv2.COLOR_BayerGR2GRAY),
    "grbg": _bayer(cv2.COLOR_BayerGB2RGB, cv2.COLOR_BayerGB2GRAY),
}

ENCODINGS: dict[str, Layout] = {
    "mono8": _GREY,
    "8UC1": _GREY,
    "mono16": _COUNTS,
    "16UC1": _COUNTS,
    "32FC1": Layout("f4", 1, visible=False),
    "rgb8": _RGB,
    "rgba8": _RGBA,
    "bgr8": _BGR,
    "8UC3": _BGR,
    "bgra8": _BGRA,
    "8UC4": _BGRA,
    "rgb16": _RGB._replace(kind="u2"),
    "rgba16": _RGBA._replace(kind="u2"),
    "bgr16": _BGR._replace(kind="u2"),
    "16UC3": _BGR._replace(kind="u2"),
    "bgra16": _BGRA._replace(kind="u2"),
    "16UC4": _BGRA._replace(kind="u2"),
    "uyvy": _UYVY,
    "yuv422": _UYVY,
    "yuyv": _YUYV,
    "yuv422_yuy2": _YUYV,
    "nv12": Layout("u1", 1, cv2.COLOR_YUV2RGB_NV12, chroma=2),
    "nv21": Layout("u1", 1, cv2.COLOR_YUV2RGB_NV21, chroma=2),
    "nv24": Layout("u1", 1, chroma=1),
    **{
        f"bayer_{order}{bits}": layout
        for order, depths in _PATTERNS.items()
        for bits, layout in depths.items()
    },
}
"""Everything of `sensor_msgs/image_encodings` that is a picture, and nv12. OpenCV's own names
(8UC3, 16UC4) are in B, G, R order; yuv422 is UYVY and yuv422_yuy2 is YUYV, their older names."""

_VISIBLE = frozenset(name for name, layout in ENCODINGS.items() if layout.visible)

_STUDIO_TO_RGB = np.array(
    [
        [1.164, 0.0, 1.596, -1.164 * 16 - 1.596 * 128],
        [1.164, -0.391, -0.813, -1.164 * 16 + (0.391 + 0.813) * 128],
        [1.164, 2.018, 0.0, -1.164 * 16 - 2.018 * 128],
    ],
    np.float32,
)
"""Y, U, V of ITU-R BT.601 in 16 to 240, as OpenCV takes them, to R, G, B: without NV24."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageView:
    """The pixels of a checked message, not yet converted.

    Attributes:
        pixels: HxW or HxWxC view of the message's own memory, in native byte order or not; of
            images in planes that of luma.
        encoding: as in `sensor_msgs/Image`.
        chroma: (H/n)x(W/n)x2 plane of U and V, or V and U, None in one plane.
    """

    pixels: NDArray[Any]
    encoding: str
    chroma: NDArray[np.uint8] | None = None

    def to_rgb(self, buffers: Buffers | None = None) -> Image8:
        """Return C-contiguous HxWx3 uint8 RGB; the view itself when it is that already.

        16 bits are scaled down, to the nearest of 256 values.

        Args:
            buffers: where a converted image goes, valid until the next one; a new array if None.
        """
        buffers = buffers or Buffers()
        pixels, code = self.pixels, ENCODINGS[self.encoding].to_rgb
        if pixels.dtype.itemsize > 1:
            eight = buffers.take("8 bits", pixels.shape)
            pixels = cv2.convertScaleAbs(_native(pixels, buffers), eight, alpha=1 / 257)
        if code is None and self.chroma is None and pixels.flags.c_contiguous:
            return np.asarray(pixels, np.uint8)
        out = buffers.take("rgb", (*pixels.shape[:2], 3))
        if self.chroma is not None and code is not None:
            return np.asarray(cv2.cvtColorTwoPlane(pixels, self.chroma, code, out), np.uint8)
        if self.chroma is not None:
            planes = cv2.merge([np.maximum(pixels, 16), self.chroma])
            return np.asarray(cv2.transform(planes, _STUDIO_TO_RGB, out), np.uint8)
        if code is None:
            np.copyto(out, pixels)
            return out
        return np.asarray(cv2.cvtColor(pixels, code, out), np.uint8)

    def to_thermal(self, buffers: Buffers | None = None) -> ThermalImage:
        """Return C-contiguous HxW uint8, uint16 or float32 in native byte order.

        A colour image (a thermal camera behind a video adapter) becomes its luma.

        Args:
            buffers: where a converted image goes, valid until the next one; a new array if None.
        """
        buffers = buffers or Buffers()
        code = ENCODINGS[self.encoding].to_grey
        pixels = self.pixels if code is None else _native(self.pixels, buffers)
        if code is not None:
            grey = buffers.take("thermal", pixels.shape[:2], pixels.dtype)
            return np.asarray(cv2.cvtColor(pixels, code, grey))
        if pixels.flags.c_contiguous and pixels.dtype.isnative:
            return pixels
        out: ThermalImage = buffers.take("thermal", pixels.shape, pixels.dtype.newbyteorder("="))
        np.copyto(out, pixels)
        return out


def _native(pixels: NDArray[Any], buffers: Buffers) -> NDArray[Any]:
    """Return the pixels as OpenCV can read them: no other byte order, no rows of odd length."""
    if pixels.dtype.isnative and pixels.flags.aligned:
        return pixels
    out = buffers.take("native", pixels.shape, pixels.dtype.newbyteorder("="))
    np.copyto(out, pixels)
    return out


def view_rgb(message: ImageMessage) -> ImageView:
    """Check a message of the visible camera and return its pixels.

    Raises:
        ImageRefused: malformed, or an encoding that cannot become 8-bit RGB.
    """
    return _view(message, _VISIBLE, "rgb8, bgr8, rgba8, bgra8, mono8, 16-bit colour, YUV or Bayer")


def view_thermal(message: ImageMessage) -> ImageView:
    """Check a message of the thermal camera and return its pixels.

    Raises:
        ImageRefused: malformed, or an encoding that is no thermal image.
    """
    return _view(message, ENCODINGS.keys(), "mono8, mono16, 16UC1 or 32FC1")


VIEWS: dict[str, Callable[[ImageMessage], ImageView]] = {"rgb": view_rgb, "thermal": view_thermal}
"""Stream name -> its check."""


def _view(message: ImageMessage, accepted: Collection[str], expected: str) -> ImageView:
    height, width, encoding = int(message.height), int(message.width), message.encoding
    if height == 0 or width == 0:
        raise ImageRefused(
            Refusal.SIZE, f"image of {width}x{height} pixels; the driver publishes empty frames"
        )
    if height * width > MOST_PIXELS:
        raise ImageRefused(
            Refusal.SIZE, f"image of {width}x{height} pixels, more than {MOST_PIXELS}"
        )
    if encoding not in ENCODINGS:
        raise ImageRefused(
            Refusal.ENCODING,
            f"encoding '{brief(encoding)}' is no picture that is known here, expected {expected}",
        )
    if encoding not in accepted:
        raise ImageRefused(
            Refusal.ENCODING,
            f"encoding {encoding!r} cannot be used here, expected {expected}; "
            "are the two input topics swapped?",
        )
    layout = ENCODINGS[encoding]
    # In YUV 4:2:2 and 4:2:0 two pixels of a row, or of both rows, share their colour.
    if (layout.channels == 2 and width % 2) or (layout.chroma == 2 and (width % 2 or height % 2)):
        raise ImageRefused(
            Refusal.SIZE, f"image of {width}x{height} pixels, expected even numbers for {encoding}"
        )
    return _planes(message, layout) if layout.chroma else _packed(message, layout)


def _packed(message: ImageMessage, layout: Layout) -> ImageView:
    """Pixels that lie one behind the other, row after row."""
    dtype, channels = np.dtype(layout.kind), layout.channels
    height, width, step = int(message.height), int(message.width), int(message.step)
    _check_step(message, width * channels * dtype.itemsize)
    if len(message.data) != step * height:
        raise ImageRefused(
            Refusal.DATA_LENGTH,
            f"data has {len(message.data)} bytes, step * height is {step} * {height} = "
            f"{step * height}",
        )
    if dtype.itemsize > 1:
        dtype = dtype.newbyteorder(">" if message.is_bigendian else "<")
    shape = (height, width) if channels == 1 else (height, width, channels)
    pixel = dtype.itemsize * channels
    strides = (step, pixel) if channels == 1 else (step, pixel, dtype.itemsize)
    data = np.frombuffer(message.data, np.uint8)
    return ImageView(np.ndarray(shape, dtype, data, strides=strides), message.encoding)


def _planes(message: ImageMessage, layout: Layout) -> ImageView:
    """A plane of luma and behind it one of U and V, whose rows are as wide or twice as wide.

    What `step` means here is not specified: drivers set it to a row of luma, or to the bytes
    of both planes that one row of pixels has.
    """
    height, width, step = int(message.height), int(message.width), int(message.step)
    rows = height // layout.chroma
    row = 2 // layout.chroma  # of U and V, in rows of luma
    _check_step(message, width)
    found = len(message.data)
    whole = height + rows * row
    if found == step * height and step * height == width * whole:
        step = width
    elif found != step * whole:
        raise ImageRefused(
            Refusal.DATA_LENGTH,
            f"data has {found} bytes, expected {step * whole} for {message.encoding} of "
            f"{width}x{height} pixels with step {step}",
        )
    data = np.frombuffer(message.data, np.uint8)
    luma = np.ndarray((height, width), np.uint8, data, strides=(step, 1))
    shape, strides = (rows, width // layout.chroma, 2), (step * row, 2, 1)
    chroma = np.ndarray(shape, np.uint8, data, offset=step * height, strides=strides)
    return ImageView(luma, message.encoding, chroma)


def _check_step(message: ImageMessage, row: int) -> None:
    if message.step < row:
        raise ImageRefused(
            Refusal.STEP,
            f"step {message.step} is too small: {message.width} pixels of "
            f"{message.encoding!r} are {row} bytes",
        )


# An image that would make its pair fail is refused where it is taken in: its camera then counts
# as lost and the other one may continue. The worker would fail pair after pair, in mode `fused`.
_STRIDE = 8


class Calibrated(Protocol):
    """Requirements of a calibration."""

    @property
    def thermal_size(self) -> tuple[int, int]:
        """Thermal image (height, width)."""


def objection(
    stream: Stream, view: View, *, thermal_mode: str, calibration: Calibrated | None
) -> ImageRefused | None:
    """Return why an image cannot be used, None if it can.

    Args:
        stream: the camera.
        view: its pixels.
        thermal_mode: parameter in force.
        calibration: what the node registers with, None without one. An RGB image of another size
            can still be used alone.
    """
    if calibration is not None and stream is Stream.THERMAL:
        expected = calibration.thermal_size
        height, width = view.pixels.shape[:2]
        if (height, width) != expected:
            return ImageRefused(
                Refusal.SIZE,
                f"image of {width}x{height} pixels, the calibration is for "
                f"{expected[1]}x{expected[0]}; calibrate again at this resolution",
            )
    return _thermal_objection(view, thermal_mode) if stream is Stream.THERMAL else None


def _thermal_objection(view: View, mode: str) -> ImageRefused | None:
    kind = view.pixels.dtype
    if mode == "passthrough" and kind.itemsize > 1:
        return ImageRefused(
            Refusal.ENCODING,
            f"encoding {view.encoding!r} has more than the 8 bits that thermal_mode "
            "'passthrough' takes; set it to 'auto', 'percentile', 'plateau' or 'range'",
        )
    if kind.kind == "f" and not _has_a_value(view):
        return ImageRefused(Refusal.NO_VALUES, f"{view.encoding} image without one finite value")
    return None


def _has_a_value(view: View) -> bool:
    """Check a few pixels; all of them only when these are inconclusive."""
    few = view.pixels[::_STRIDE, ::_STRIDE]
    return bool(np.isfinite(few).any() or np.isfinite(view.pixels).any())
