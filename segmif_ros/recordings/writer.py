# SPDX-License-Identifier: Apache-2.0
"""Writes bags that `ros2 bag play` of Jazzy reads, without ROS; every mcap chunk has a checksum."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from mcap.writer import CompressionType
from mcap.writer import Writer as McapLibrary
from numpy.typing import NDArray
from rosbags.interfaces import (
    Connection,
    MessageDefinitionFormat,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from segmif_ros.outputs import written_aside
from segmif_ros.recordings.bag_files import is_only_a_bag
from segmif_ros.recordings.bags import IMAGE, BagError, BagSummary, message_types, summarize
from segmif_ros.recordings.clips import Camera, PairSource
from segmif_ros.recordings.storage import StorageKind
from segmif_ros.thermal import ThermalNormaliser

CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
STRING = "std_msgs/msg/String"

TOPICS: dict[Camera, str] = {
    "rgb": "/rgb/image_raw",
    "thermal": "/thermal/image_raw",
    "labels": "/rgb/labels",
}
INFO_TOPICS: dict[Camera, str] = {"rgb": "/rgb/camera_info", "thermal": "/thermal/camera_info"}
FRAME_IDS: dict[Camera, str] = {
    "rgb": "rgb_optical_frame",
    "thermal": "thermal_optical_frame",
    "labels": "rgb_optical_frame",
}
ENCODINGS = {
    (3, "uint8"): "rgb8",
    (2, "uint8"): "mono8",
    (2, "uint16"): "mono16",
    (2, "float32"): "32FC1",
}
"""(dimensions, type) of the pixels -> encoding of the message."""

_METADATA_VERSION: Literal[9] = 9
"""The version that ROS 2 Jazzy writes."""
_NO_HASH = f"RIHS01_{'0' * 64}"
_NO_LIMIT = QosTime(9223372036, 854775807)
_LATCHED = Qos(
    QosHistory.KEEP_LAST,
    1,
    QosReliability.RELIABLE,
    QosDurability.TRANSIENT_LOCAL,
    _NO_LIMIT,
    _NO_LIMIT,
    QosLiveliness.AUTOMATIC,
    _NO_LIMIT,
    avoid_ros_namespace_conventions=False,
)


class Definition(NamedTuple):
    """Definition of a message type: text as in .msg or .idl files, and its RIHS01 hash."""

    text: str
    digest: str = _NO_HASH


class _ChecksummedMcap:
    """Writes mcap for rosbags' writer with the reference library: rosbags writes no checksums."""

    def __init__(self, path: Path, compression: CompressionMode) -> None:
        self.path = path / f"{path.name}.mcap"
        self._file = self.path.open("xb")
        packed = compression is CompressionMode.STORAGE
        kind = CompressionType.ZSTD if packed else CompressionType.NONE
        self._mcap = McapLibrary(self._file, compression=kind, enable_data_crcs=True)
        self._mcap.start(profile="ros2", library="segmif_ros")
        self._schemas: dict[str, int] = {}
        self._channels: dict[int, int] = {}

    def add_msgtype(self, connection: Connection) -> None:
        definition = connection.msgdef
        encoding = "ros2idl" if definition.format is MessageDefinitionFormat.IDL else "ros2msg"
        self._schemas[connection.msgtype] = self._mcap.register_schema(
            connection.msgtype, encoding, definition.data.encode()
        )

    def add_connection(self, connection: Connection, offered_qos_profiles: str) -> None:
        self._channels[connection.id] = self._mcap.register_channel(
            connection.topic,
            "cdr",
            self._schemas[connection.msgtype],
            {"offered_qos_profiles": offered_qos_profiles, "topic_type_hash": connection.digest},
        )

    def write(self, connection: Connection, timestamp: int, data: bytes | memoryview) -> None:
        self._mcap.add_message(self._channels[connection.id], timestamp, bytes(data), timestamp)

    def close(self, version: int, metadata: str) -> None:
        del version
        self._mcap.add_metadata("rosbag2", {"serialized_metadata": metadata})
        self._mcap.finish()  # type: ignore[no-untyped-call]
        self._file.close()

    def abort(self) -> None:
        self._file.close()


class _RosbagsWriter(Writer):
    STORAGE_PLUGINS = {**Writer.STORAGE_PLUGINS, StoragePlugin.MCAP: _ChecksummedMcap}  # noqa: RUF012 - as in the base class


class BagWriter:
    """A bag that is being written, message by message; use as a context manager."""

    def __init__(self, out: Path, *, storage: StorageKind = "mcap", compress: bool = False) -> None:
        """Prepare; the folder is made on entering.

        Args:
            out: folder to make.
            storage: file format.
            compress: zstd chunks in mcap, lossless; too slow for live topics.

        Raises:
            BagError: `out` exists.
        """
        if out.exists() or out.is_symlink():
            raise BagError(f"{str(out)!r} exists already; give another name")
        self._store = message_types()
        plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
        self._writer = _RosbagsWriter(out, version=_METADATA_VERSION, storage_plugin=plugin)
        if compress and storage == "mcap":
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._connections: dict[str, Connection] = {}

    def __enter__(self) -> BagWriter:
        """Create the bag."""
        self._writer.open()
        return self

    def __exit__(self, *failure: Any) -> None:
        """Complete the bag."""
        self._writer.__exit__(*failure)

    @property
    def topics(self) -> frozenset[str]:
        """Topics that were added."""
        return frozenset(self._connections)

    def knows(self, message_type: str) -> bool:
        """Return whether a type such as "std_msgs/msg/String" needs no definition."""
        return message_type in self._store.types

    def add_topic(
        self,
        topic: str,
        message_type: str,
        *,
        latched: bool = False,
        qos: Sequence[Qos] = (),
        definition: Definition | None = None,
    ) -> None:
        """Add a topic.

        Args:
            topic: its name.
            message_type: for example "sensor_msgs/msg/Image".
            latched: transient-local durability: late subscribers get the last message.
            qos: profiles of its publishers, instead of `latched`.
            definition: required for a type that the bag does not have yet.
        """
        known = definition is None and self.knows(message_type)
        text, digest = definition or Definition("")
        self._connections[topic] = self._writer.add_connection(
            topic,
            message_type,
            typestore=self._store if known else None,
            msgdef=None if known else text,
            rihs01=None if known else digest,
            offered_qos_profiles=list(qos) or ([_LATCHED] if latched else []),
        )

    def write(self, topic: str, time_ns: int, cdr: bytes) -> None:
        """Append one message of a topic that was added.

        Args:
            topic: its name.
            time_ns: recording time.
            cdr: serialised message with its 4-byte encapsulation header.

        Raises:
            OSError, sqlite3.Error: the disk is full or not writable.
        """
        self._writer.write(self._connections[topic], time_ns, cdr)

    def write_message(
        self,
        topic: str,
        time_ns: int,
        message: tuple[str, Any],
        *,
        latched: bool = False,
    ) -> None:
        """Append a message of a known type; add its topic with the first message.

        Args:
            topic: its name.
            time_ns: recording time.
            message: type, and an object with its fields.
            latched: as of `add_topic`.

        Raises:
            OSError, sqlite3.Error: as `write`.
        """
        kind, content = message
        if topic not in self._connections:
            self.add_topic(topic, kind, latched=latched)
        self.write(topic, time_ns, bytes(self._store.serialize_cdr(content, kind)))


def image_message(pixels: NDArray[Any], stamp_ns: int, frame_id: str) -> tuple[str, Any]:
    """Return an image as `BagWriter.write_message` takes it.

    Args:
        pixels: HxWx3 uint8 RGB, or HxW uint8, uint16 or float32.
        stamp_ns: of its header, nanoseconds.
        frame_id: of its header.
    """
    height, width = pixels.shape[:2]
    data = np.ascontiguousarray(pixels)
    data = data.astype(data.dtype.newbyteorder("<"), copy=False)
    flat = data.reshape(-1).view(np.uint8)
    encoding = ENCODINGS[pixels.ndim, str(pixels.dtype)]
    content = message_types().types[IMAGE](
        header_of(stamp_ns, frame_id), height, width, encoding, 0, len(flat) // height, flat
    )
    return IMAGE, content


def string_message(text: str) -> tuple[str, Any]:
    """Return a std_msgs/String as `BagWriter.write_message` takes it."""
    return STRING, message_types().types[STRING](text)


def write_bag(
    source: PairSource,
    out: Path,
    *,
    storage: StorageKind = "mcap",
    compress: bool = True,
    start_ns: int | None = None,
    thermal_8bit: bool = False,
    camera_info: bool = False,
    force: bool = False,
    progress: Callable[[int], Any] = lambda _: None,
) -> BagSummary:
    """Write stamped images of both cameras as a bag, which is renamed when complete.

    Args:
        source: the images.
        out: folder to create.
        storage: file format.
        compress: zstd chunks inside mcap (lossless; sqlite3 has none).
        start_ns: stamp of the first frame, nanoseconds; now if None.
        thermal_8bit: render 16-bit thermal images in 8 bits as the node would.
        camera_info: also write camera_info with the image size and K = 0 (not calibrated).
        force: replace an existing bag (a folder with nothing but a bag's files in it).
        progress: called with 1 after every image.

    Raises:
        BagError: `out` exists or cannot be written.
        ClipError: an image of the source cannot be read; nothing is left behind.
    """
    base_ns = time.time_ns() if start_ns is None else start_ns
    if base_ns <= 0:
        raise BagError(f"start is {base_ns} ns; give a time above 0: zero stamps mean 'no clock'")
    check_output(out, replace=force, advice="give another name, or --force to replace it")
    normaliser = ThermalNormaliser()
    with new_bag(out, storage=storage, compress=compress) as writer:
        for item in source:
            image = item.image
            if item.camera == "thermal" and thermal_8bit:
                image = normaliser.normalise(image)
            stamp_ns, frame = base_ns + item.time_ns, FRAME_IDS[item.camera]
            message = image_message(image, stamp_ns, frame)
            writer.write_message(TOPICS[item.camera], stamp_ns, message)
            if camera_info and item.camera in INFO_TOPICS:
                info = _uncalibrated(image, stamp_ns, frame)
                writer.write_message(INFO_TOPICS[item.camera], stamp_ns, info)
            progress(1)
    return summarize(out)


@contextmanager
def new_bag(
    out: Path, *, storage: StorageKind = "mcap", compress: bool = True
) -> Iterator[BagWriter]:
    """Write a bag under a hidden name; it is renamed when complete, and replaces a bag there.

    Raises:
        BagError: it cannot be written.
    """
    with _as_bag_error(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with (
            written_aside(out) as hidden,
            BagWriter(hidden, storage=storage, compress=compress) as writer,
        ):
            yield writer


def check_output(out: Path, *, replace: bool, advice: str) -> None:
    """Refuse an existing folder; with `replace`, only one with files that are not of a bag.

    Raises:
        BagError: with the advice.
    """
    if not (out.exists() or out.is_symlink()):
        return
    if not replace:
        raise BagError(f"{str(out)!r} exists already; {advice}")
    if not is_only_a_bag(out):
        raise BagError(
            f"{str(out)!r} exists already and is not a bag and nothing else, so it is not "
            "replaced; give another name"
        )


@contextmanager
def _as_bag_error(out: Path) -> Iterator[None]:
    """Name the bag in errors such as a full disk."""
    try:
        yield
    except (OSError, sqlite3.Error) as err:
        reason = getattr(err, "strerror", None) or err
        raise BagError(
            f"cannot write bag {str(out)!r}: {reason}; free space or choose another folder"
        ) from err


def header_of(stamp_ns: int, frame_id: str) -> Any:
    """Return a std_msgs/Header as it goes into a bag."""
    types = message_types().types
    stamp = types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 1_000_000_000))
    return types["std_msgs/msg/Header"](stamp, frame_id)


def _uncalibrated(image: NDArray[Any], stamp_ns: int, frame_id: str) -> tuple[str, Any]:
    types, zeros = message_types().types, np.zeros
    region = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    height, width = image.shape[:2]
    return CAMERA_INFO, types[CAMERA_INFO](
        header_of(stamp_ns, frame_id),
        *(height, width, "", zeros(0), zeros(9), zeros(9), zeros(12), 0, 0, region),
    )
