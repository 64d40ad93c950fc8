# SPDX-License-Identifier: Apache-2.0
"""`sensor_msgs/PointCloud2` to arrays and back: checked before a byte is read, fields kept.

Any object with the fields of the message will do: rclpy's own, or one that rosbags read.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segmif_ros.error_codes import brief

MOST_POINTS = 2_000_000
"""A larger cloud is refused: it would delay the images for longer than a frame."""
_TYPES = ("", "i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8")
"""NumPy's names for the datatypes 1 to 8 of `sensor_msgs/PointField`."""
_SIZES = (0, 1, 1, 2, 2, 4, 4, 4, 8)
UINT8, FLOAT32 = 2, 7

ADDED = (("rgb", 0, FLOAT32), ("temperature", 4, FLOAT32), ("label", 8, UINT8),
         ("confidence", 9, UINT8))  # fmt: skip
"""Name, offset and datatype of what `labelled` appends; 12 bytes a point."""
_ADDED_BYTES = 12


class CloudRefused(ValueError):  # noqa: N818 - the field's term
    """A malformed or unusable cloud; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class CloudField:
    """One `sensor_msgs/PointField`."""

    name: str
    offset: int
    datatype: int
    count: int


XYZ = tuple(CloudField(name, 4 * place, FLOAT32, 1) for place, name in enumerate("xyz"))
"""Fields of a cloud that was made of a depth image."""


class PointLabels(NamedTuple):
    """Values of the cameras for each point.

    Attributes:
        label: (N,) uint8 class id, 255 outside the picture or hidden from the camera.
        confidence: (N,) uint8, probability times 255, 0 where there is no label.
        rgb: (N,) uint32, 0x00RRGGBB, 0 likewise.
        temperature: (N,) float32, NaN where the thermal camera does not see.
    """

    label: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    rgb: NDArray[np.uint32]
    temperature: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Cloud:
    """A checked cloud.

    Attributes:
        points: (height * width, point_step) uint8, a view where rows have no padding.
        xyz: three arrays (N,) of float32 or float64 in native order, metres.
        size: (height, width).
        big_endian: byte order of the fields.
    """

    points: NDArray[np.uint8]
    xyz: tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
    size: tuple[int, int]
    big_endian: bool

    def labelled(self, labels: PointLabels) -> NDArray[np.uint8]:
        """Return (N, point_step + 12 or more) bytes: the points with the fields `ADDED` behind.

        `offset_of_added` says where these begin.
        """
        count, step = self.points.shape
        start = offset_of_added(step)
        out = np.zeros((count, start + _ADDED_BYTES), np.uint8)
        out[:, :step] = self.points
        order = ">" if self.big_endian else "<"
        values = (labels.rgb, labels.temperature, labels.label, labels.confidence)
        for (name, offset, kind), each in zip(ADDED, values, strict=True):
            dtype = np.dtype(order + ("u4" if name == "rgb" else _TYPES[kind]))
            column = out[:, start + offset : start + offset + dtype.itemsize].view(dtype)
            column[:, 0] = each
        return out


@dataclass(frozen=True, slots=True, eq=False)
class LabelledCloud:
    """What becomes a `sensor_msgs/PointCloud2`.

    Attributes:
        header: std_msgs/Header.
        size: (height, width).
        fields: of its points.
        big_endian: byte order of the fields.
        points: (height * width, point_step) uint8.
    """

    header: Any
    size: tuple[int, int]
    fields: tuple[CloudField, ...]
    big_endian: bool
    points: NDArray[np.uint8]

    def layout(self) -> dict[str, Any]:
        """Return the message's fields but `fields` and `data`, which depend on who serialises."""
        (height, width), step = self.size, self.points.shape[1]
        return {
            **{"header": self.header, "height": height, "width": width},
            **{"is_bigendian": self.big_endian, "point_step": step, "row_step": step * width},
            "is_dense": False,
        }


def labelled_cloud(
    cloud: Cloud, labels: PointLabels, header: Any, fields: Iterable[Any]
) -> LabelledCloud:
    """Return a cloud with the added fields; one of theirs with the same name is replaced."""
    added = {name for name, _, _ in ADDED}
    start = offset_of_added(cloud.points.shape[1])
    kept = (
        CloudField(str(f.name), int(f.offset), int(f.datatype), int(f.count))
        for f in fields
        if f.name not in added
    )
    ours = (CloudField(name, start + offset, kind, 1) for name, offset, kind in ADDED)
    return LabelledCloud(
        header, cloud.size, (*kept, *ours), cloud.big_endian, cloud.labelled(labels)
    )


def offset_of_added(point_step: int) -> int:
    """Return where the added fields of a point begin: behind the old ones, on a multiple of 4."""
    return -(-point_step // 4) * 4


def read_cloud(message: Any) -> Cloud:
    """Check a `sensor_msgs/PointCloud2` and return views of its memory.

    Raises:
        CloudRefused: no x, y or z, of a type that is no float, sizes that contradict, too large.
    """
    height, width, step = int(message.height), int(message.width), int(message.point_step)
    row_step, length = int(message.row_step), len(message.data)
    count = height * width
    if count > MOST_POINTS:
        raise CloudRefused(f"{count} points, expected at most {MOST_POINTS}; thin the cloud out")
    if step < 1 or row_step < width * step or length < row_step * height:
        raise CloudRefused(
            f"point_step {step}, row_step {row_step} and {length} bytes do not hold "
            f"{width}x{height} points"
        )
    fields = {str(field.name): field for field in message.fields}
    data = np.frombuffer(message.data, np.uint8, row_step * height).reshape(height, row_step)
    points = data[:, : width * step].reshape(count, step)
    big = bool(message.is_bigendian)
    axes = []
    for name in ("x", "y", "z"):
        field = fields.get(name)
        if field is None:
            raise CloudRefused(
                f"no field {name!r} among {brief(', '.join(fields)) or 'none'}; expected x, y and z"
            )
        kind, offset = int(field.datatype), int(field.offset)
        if kind not in (7, 8) or int(field.count) != 1 or not 0 <= offset <= step - _SIZES[kind]:
            raise CloudRefused(
                f"field {name!r} has datatype {kind}, count {field.count} and offset {offset} in "
                f"points of {step} bytes; expected one FLOAT32 or FLOAT64 inside the point"
            )
        dtype = np.dtype((">" if big else "<") + _TYPES[kind])
        axis = np.ascontiguousarray(points[:, offset : offset + dtype.itemsize]).view(dtype)[:, 0]
        axes.append(axis if dtype.isnative else axis.astype(dtype.newbyteorder("=")))
    return Cloud(points, (axes[0], axes[1], axes[2]), (height, width), big)


def native_bytes(xyz: NDArray[np.float32]) -> Cloud:
    """Return an organised cloud (H, W, 3) of float32 as if it had been read from a message."""
    height, width = xyz.shape[:2]
    flat = np.ascontiguousarray(xyz).reshape(-1, 3)
    axes = (flat[:, 0], flat[:, 1], flat[:, 2])
    return Cloud(flat.view(np.uint8), axes, (height, width), sys.byteorder == "big")
