# SPDX-License-Identifier: Apache-2.0
"""Messages from bytes to a decision, each with an answer found in another way to compare with.

A target takes bytes and returns whether the message was accepted. It raises an undeclared error,
and AssertionError for a wrong answer.
"""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from segmif_ros.images.containers import decode
from segmif_ros.images.raw import ENCODINGS, MOST_PIXELS, VIEWS, ImageRefused, ImageView
from segmif_ros.objects.clouds import CloudRefused, PointLabels, offset_of_added, read_cloud
from segmif_ros.pairing import Stream
from segmif_ros.registration import RegistrationError
from segmif_ros.registration.calibration import RigCalibration
from segmif_ros.registration.lens import COEFFICIENTS, Intrinsics

MOST_DATA = 1 << 17
"""Bytes of one message; more only takes time."""
NAMES = (*sorted(ENCODINGS), "", "64FC1", "yuv420", "RGB8", "mono8\0", "16SC1")
CHANNELS = {
    "mono8": "y", "8UC1": "y", "mono16": "y", "16UC1": "y", "32FC1": "y",
    "rgb8": "rgb", "bgr8": "bgr", "8UC3": "bgr", "rgba8": "rgba", "bgra8": "bgra", "8UC4": "bgra",
    "rgb16": "rgb", "bgr16": "bgr", "16UC3": "bgr", "rgba16": "rgba", "bgra16": "bgra",
    "16UC4": "bgra",
}  # fmt: skip
"""Order of the channels by encoding, from `sensor_msgs/image_encodings`."""
_ELEMENT = {"16": ("H", 2), "32": ("f", 4)}
_LUMA = {"yuyv": 0, "yuv422_yuy2": 0, "uyvy": 1, "yuv422": 1}
_COMPARED_PIXELS = 2048

IMAGE_HEAD = struct.Struct("<BBHHI")
FITTING, WHOLE, BIG, THERMAL, HUGE = 1, 2, 4, 8, 16
"""Flags of an image: `step` is made to fit, so is the length of the data, byte order, stream,
height and width beyond 16 bits."""


def _stretched(data: bytes, size: int) -> bytes:
    return (data * (size // max(1, len(data)) + 1) or bytes(size))[:size]


def image(data: bytes) -> bool:
    """`sensor_msgs/Image` as both cameras read it, compared with a pixel by pixel reading."""
    if len(data) < IMAGE_HEAD.size:
        return False
    name, flags, height, width, step = IMAGE_HEAD.unpack_from(data)
    rest, encoding = data[IMAGE_HEAD.size :], NAMES[name % len(NAMES)]
    if flags & HUGE:
        height, width = height << 16 | width, width << 13
    layout = ENCODINGS.get(encoding)
    row = width * (layout.channels * int(layout.kind[1]) if layout else 1)
    step = row + step % 7 if flags & FITTING else step
    whole = step * height
    if layout is not None and layout.chroma:
        whole = step * (height + height // layout.chroma * (2 // layout.chroma))
    if flags & WHOLE and whole <= MOST_DATA:
        rest = _stretched(rest, whole)
    message = SimpleNamespace(
        height=height, width=width, encoding=encoding, step=step, data=rest,
        is_bigendian=int(bool(flags & BIG)),
    )  # fmt: skip
    stream = "thermal" if flags & THERMAL else "rgb"
    sound = layout is not None and 0 < height * width <= MOST_PIXELS and step >= row
    sound = sound and len(rest) == whole and (stream == "thermal" or layout.visible)
    try:
        view = VIEWS[stream](message)
    except ImageRefused as err:
        packed = sound and encoding in CHANNELS
        assert not packed, f"a sound message was refused: {err}"
        return False
    assert sound or (layout is not None and layout.chroma), "a message that cannot be was accepted"
    found = view.to_thermal() if stream == "thermal" else view.to_rgb()
    assert found.flags.c_contiguous
    assert found.dtype.isnative
    assert found.shape == ((height, width) if stream == "thermal" else (height, width, 3))
    if height * width <= _COMPARED_PIXELS:
        _compare(message, found, stream)
    return True


def _compare(message: Any, found: np.ndarray, stream: str) -> None:
    encoding = message.encoding
    if encoding in _LUMA and stream == "thermal":
        rows = _rows(message, message.width * 2)
        assert (found == rows[:, _LUMA[encoding] :: 2]).all(), "luma"
    if encoding in ("nv12", "nv21", "nv24") and stream == "thermal":
        step = len(message.data) // (message.height * (3 if encoding == "nv24" else 1.5))
        rows = _rows(message, message.width, int(step))
        assert (found == rows).all(), "luma plane"
    if encoding not in CHANNELS:
        return
    order = CHANNELS[encoding]
    kind, size = next((k for part, k in _ELEMENT.items() if part in encoding), ("B", 1))
    code = ("<>"[message.is_bigendian]) + str(message.width * len(order)) + kind
    rows = [struct.unpack_from(code, message.data, y * message.step) for y in range(message.height)]
    wide = np.array(rows, np.float64).reshape(message.height, message.width, len(order))
    if order == "y" and stream == "thermal":
        assert np.array_equal(found.astype(np.float64), wide[..., 0], equal_nan=True), "grey"
        return
    channels = {c: wide[..., i] for i, c in enumerate(order)}
    red, green, blue = (channels.get(c, channels.get("y")) for c in "rgb")
    if stream == "thermal":
        luma = 0.299 * red + 0.587 * green + 0.114 * blue
        assert np.abs(found - luma).max() <= size, "luma"
        return
    colour = np.stack([red, green, blue], -1)
    assert (found == np.rint(colour / 257 if size == 2 else colour)).all(), "colour"


def _rows(message: Any, row: int, step: int = 0) -> np.ndarray:
    step = step or message.step
    starts = range(0, step * message.height, step)
    return np.array([list(message.data[at : at + row]) for at in starts], np.uint8)


FORMATS = (
    "jpeg", "png", "rgb8; jpeg compressed bgr8", "bgr8; jpeg compressed bgr8",
    "rgb8; png compressed rgb8", "mono16; png compressed ", "16UC1; png compressed ",
    "mono16; jpeg compressed ", "mono8; jpeg compressed ", "32FC1; compressedDepth png", "", "\0",
)  # fmt: skip


def compressed(data: bytes) -> bool:
    """`sensor_msgs/CompressedImage`: what is accepted equals what a decoder makes of all bytes."""
    if len(data) < 2:
        return False
    message = SimpleNamespace(format=FORMATS[data[0] % len(FORMATS)], data=data[2:])
    stream = tuple(Stream)[data[1] % 2]
    try:
        view = decode(stream, message)
    except ImageRefused:
        return False
    plain = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_UNCHANGED)
    if plain is not None and plain.shape == view.pixels.shape and plain.dtype == view.pixels.dtype:
        assert (plain == view.pixels).all(), "other pixels than those in the bytes"
    _use(view, stream)
    return True


def _use(view: ImageView, stream: Stream) -> None:
    out = view.to_rgb() if stream is Stream.RGB else view.to_thermal()
    assert out.shape[:2] == view.pixels.shape[:2]


CLOUD_HEAD = struct.Struct("<HHHIBB")
CLOUD_FIELD = struct.Struct("<BHBB")
FIELD_NAMES = ("x", "y", "z", "intensity", "rgb", "x", "label", "")


def cloud(data: bytes) -> bool:
    """`sensor_msgs/PointCloud2`: coordinates as struct reads them, every old byte kept."""
    if len(data) < CLOUD_HEAD.size:
        return False
    height, width, step, row_step, flags, count = CLOUD_HEAD.unpack_from(data)
    at, fields = CLOUD_HEAD.size, []
    for _ in range(min(count % 9, (len(data) - at) // CLOUD_FIELD.size)):
        name, offset, kind, number = CLOUD_FIELD.unpack_from(data, at)
        at += CLOUD_FIELD.size
        fields.append(
            SimpleNamespace(
                name=FIELD_NAMES[name % len(FIELD_NAMES)], offset=offset, datatype=kind % 11,
                count=number,
            )
        )  # fmt: skip
    rest = data[at:]
    if flags & FITTING:
        row_step = width * step + row_step % 9
    if flags & WHOLE and row_step * height <= MOST_DATA:
        rest = _stretched(rest, row_step * height)
    big = bool(flags & BIG)
    message = SimpleNamespace(
        height=height, width=width, point_step=step, row_step=row_step, is_bigendian=big,
        fields=fields, data=rest,
    )  # fmt: skip
    try:
        found = read_cloud(message)
    except CloudRefused:
        return False
    points = height * width
    assert all(axis.shape == (points,) for axis in found.xyz)
    if points <= _COMPARED_PIXELS:
        by_name = {field.name: field for field in fields}
        for name, axis in zip("xyz", found.xyz, strict=True):
            field = by_name[name]
            code = "<>"[big] + ("f" if field.datatype == 7 else "d")
            told = [
                struct.unpack_from(code, rest, row * row_step + column * step + field.offset)[0]
                for row in range(height)
                for column in range(width)
            ]
            assert np.array_equal(axis, np.array(told, axis.dtype), equal_nan=True), name
        _keeps(found, message)
    return True


def _keeps(found: Any, message: Any) -> None:
    points, step = message.height * message.width, message.point_step
    out = found.labelled(
        PointLabels(
            np.full(points, 7, np.uint8), np.full(points, 200, np.uint8),
            np.full(points, 0x010203, np.uint32), np.full(points, 1.5, np.float32),
        )
    )  # fmt: skip
    start = offset_of_added(step)
    added = struct.pack("<>"[message.is_bigendian] + "IfBB", 0x010203, 1.5, 7, 200)
    for index in range(min(points, 64)):
        row, column = divmod(index, message.width)
        begin = row * message.row_step + column * step
        assert bytes(out[index, :step]) == message.data[begin : begin + step]
        assert bytes(out[index, start : start + len(added)]) == added


def _rig() -> RigCalibration:
    matrix = np.array([[560.0, 0.0, 320.0], [0.0, 560.0, 240.0], [0.0, 0.0, 1.0]])
    camera = Intrinsics((480, 640), matrix, "plumb_bob", (-0.3, 0.1, 0.0, 0.0, 0.0))
    return RigCalibration(camera, camera, np.eye(3), np.array([-0.1, 0.0, 0.0]), 15.0, 15.0)


RIG = _rig()
MODELS = (*sorted(COEFFICIENTS), "", "fisheye")
INFO_HEAD = struct.Struct("<IIBBBBB")
"""Height, width, model, coefficients, binning, region of interest, flags."""


def camera_info(data: bytes) -> bool:
    """`sensor_msgs/CameraInfo`: the lens that was read is the one in the bytes."""
    from segmif_ros.registration.lens import intrinsics_of
    from segmif_ros.ros.node.camera_infos import CameraInfoWatch, output_camera_info

    if len(data) < INFO_HEAD.size:
        return False
    height, width, model, count, binning, roi, flags = INFO_HEAD.unpack_from(data)
    numbers = np.frombuffer(data[INFO_HEAD.size :][: (len(data) - INFO_HEAD.size) // 8 * 8])
    numbers = np.resize(numbers, 21 + count % 16) if numbers.size else np.zeros(21 + count % 16)
    region = SimpleNamespace(
        x_offset=roi & 3, y_offset=0, width=roi & 12, height=roi & 48, do_rectify=bool(roi & 64)
    )
    info = SimpleNamespace(
        height=height, width=width, distortion_model=MODELS[model % len(MODELS)],
        k=numbers[:9].copy(), p=numbers[9:21].copy(), d=[float(v) for v in numbers[21:]],
        binning_x=binning & 3, binning_y=binning >> 2 & 3, roi=region, header=None,
    )  # fmt: skip
    if flags & FITTING:  # the calibrated camera itself, but for what follows
        info.height, info.width = RIG.rgb_size
        info.k[:] = RIG.rgb.matrix.ravel()
        info.distortion_model, info.d = RIG.rgb.model, list(RIG.rgb.coefficients)
    problem = CameraInfoWatch().problem(info, RIG, "thermal" if flags & THERMAL else "rgb")
    assert "\n" not in problem
    try:
        found = intrinsics_of(info)
    except RegistrationError:
        assert problem
        return False
    assert np.array_equal(found.matrix.ravel(), info.k)
    assert found.size == (info.height, info.width)
    if flags & FITTING:
        assert not problem, problem
    try:
        out = output_camera_info(info, "header", (height, width))
        assert out.header == "header"
        assert np.array_equal(out.k, info.k)
    except RegistrationError:
        pass
    return True


TARGETS = {"image": image, "compressed": compressed, "cloud": cloud, "camera_info": camera_info}
