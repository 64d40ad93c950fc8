# SPDX-License-Identifier: Apache-2.0
"""Rosbag2 without ROS: write camera pairs as a bag, look into one, walk through its messages."""

from __future__ import annotations

import shutil
import struct
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from segmif_ros.evaluation.clips import Camera, PairSource
from segmif_ros.thermal import ThermalNormaliser

Storage = Literal["mcap", "sqlite3"]

IMAGE = "sensor_msgs/msg/Image"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"

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

_PLUGINS: dict[Storage, StoragePlugin] = {
    "mcap": StoragePlugin.MCAP,
    "sqlite3": StoragePlugin.SQLITE3,
}
_METADATA_VERSION: Literal[9] = 9
"""The metadata version that ROS 2 Jazzy itself writes."""


class BagError(ValueError):
    """A bag cannot be written or read; the message names it and the next step."""


class BagMessage(NamedTuple):
    """One message as it lies in the bag.

    Attributes:
        topic: topic name.
        type: for example "sensor_msgs/msg/Image".
        time_ns: when it was recorded.
        cdr: serialised message with its 4-byte encapsulation header.
    """

    topic: str
    type: str
    time_ns: int
    cdr: bytes


@dataclass(frozen=True, slots=True)
class Topic:
    """One row of `segmif bag info`.

    Attributes:
        name: topic name.
        type: message type.
        count: messages.
        rate_hz: mean rate over the bag, 0 for a single message.
        detail: size, encoding and frame of the first message, for images.
        latched: some publisher offered transient-local durability.
    """

    name: str
    type: str
    count: int
    rate_hz: float
    detail: str = ""
    latched: bool = False


@dataclass(frozen=True, slots=True)
class BagSummary:
    """What a bag holds."""

    path: Path
    storage: str
    start_ns: int
    duration_ns: int
    size_bytes: int
    topics: tuple[Topic, ...]

    def of_type(self, kind: str) -> tuple[Topic, ...]:
        """Return the topics of one message type."""
        return tuple(topic for topic in self.topics if topic.type == kind)

    def listing(self) -> str:
        """Return the topics in one line, for error messages."""
        return ", ".join(f"{topic.name} ({topic.type})" for topic in self.topics) or "no topics"


def write_bag(
    source: PairSource,
    out: Path,
    *,
    storage: Storage = "mcap",
    compress: bool = True,
    start_ns: int | None = None,
    thermal_8bit: bool = False,
    camera_info: bool = False,
    force: bool = False,
    progress: Callable[[int], Any] = lambda _: None,
) -> BagSummary:
    """Write stamped images of both cameras as a rosbag2 that `ros2 bag play` of Jazzy reads.

    Args:
        source: the images.
        out: folder to create.
        storage: file format.
        compress: zstd chunks inside mcap (losless; sqlite3 has none).
        start_ns: stamp of the first frame, nanoseconds; now if None.
        thermal_8bit: render 16-bit thermal images in 8 bits as the node would.
        camera_info: also write camera_info with the image size and K = 0 (not calibrated).
        force: replace an existing bag (only a folder with a metadata.yaml, nothing else).
        progress: called with 1 after every image.

    Raises:
        BagError: `out` exists or cannot be written.
        ClipError: an image of the source cannot be read; nothing is left behind.
    """
    base_ns = time.time_ns() if start_ns is None else start_ns
    if base_ns <= 0:
        raise BagError(f"start is {base_ns} ns; give a time above 0: zero stamps mean 'no clock'")
    if out.exists() or out.is_symlink():
        _remove(out, force=force)
    normaliser = ThermalNormaliser()
    compressed = compress and storage == "mcap"
    try:
        with _BagWriter(out, storage, compressed=compressed, camera_info=camera_info) as writer:
            for item in source:
                image = item.image
                if item.camera == "thermal" and thermal_8bit:
                    image = normaliser.normalise(image)
                writer.write(item.camera, base_ns + item.time_ns, image)
                progress(1)
    except OSError as err:
        shutil.rmtree(out, ignore_errors=True)
        raise BagError(f"cannot write bag {str(out)!r}: {err.strerror or err}") from err
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise
    return summarize(out)


@cache
def _types() -> Any:
    return get_typestore(Stores.ROS2_JAZZY)


class _BagWriter:
    """Rosbag2 writer that makes a topic when its first image arrives."""

    def __init__(self, out: Path, storage: Storage, *, compressed: bool, camera_info: bool) -> None:
        self._store = _types()
        self._writer = Writer(out, version=_METADATA_VERSION, storage_plugin=_PLUGINS[storage])
        mode = CompressionMode.STORAGE if compressed else CompressionMode.NONE
        self._writer.set_compression(mode, CompressionFormat.ZSTD)
        self._connections: dict[str, Any] = {}
        self._camera_info = camera_info

    def __enter__(self) -> _BagWriter:
        self._writer.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.__exit__(kind, value, trace)

    def write(self, camera: Camera, stamp_ns: int, image: NDArray[Any]) -> None:
        height, width = image.shape[:2]
        header = self._header(stamp_ns, FRAME_IDS[camera])
        encoding = {(3, "uint8"): "rgb8", (2, "uint8"): "mono8", (2, "uint16"): "mono16"}[
            image.ndim, str(image.dtype)
        ]
        data = np.ascontiguousarray(image)
        if data.dtype == np.uint16:
            data = data.astype("<u2", copy=False)
        pixels = data.reshape(-1).view(np.uint8)
        make = self._store.types[IMAGE]
        message = make(header, height, width, encoding, 0, len(pixels) // height, pixels)
        self._append(TOPICS[camera], IMAGE, stamp_ns, message)
        if self._camera_info and camera in INFO_TOPICS:
            info = self._uncalibrated(header, height, width)
            self._append(INFO_TOPICS[camera], CAMERA_INFO, stamp_ns, info)

    def _append(self, topic: str, kind: str, stamp_ns: int, message: Any) -> None:
        connection = self._connections.get(topic)
        if connection is None:
            connection = self._writer.add_connection(topic, kind, typestore=self._store)
            self._connections[topic] = connection
        self._writer.write(connection, stamp_ns, self._store.serialize_cdr(message, kind))

    def _header(self, stamp_ns: int, frame_id: str) -> Any:
        seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
        stamp = self._store.types["builtin_interfaces/msg/Time"](seconds, nanoseconds)
        return self._store.types["std_msgs/msg/Header"](stamp, frame_id)

    def _uncalibrated(self, header: Any, height: int, width: int) -> Any:
        region = self._store.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
        zeros = np.zeros
        return self._store.types[CAMERA_INFO](
            header, height, width, "", zeros(0), zeros(9), zeros(9), zeros(12), 0, 0, region
        )


def _remove(out: Path, *, force: bool) -> None:
    if not force:
        raise BagError(f"{str(out)!r} exists already; give another name, or --force to replace it")
    is_bag = (out / "metadata.yaml").is_file() or (out.is_dir() and not any(out.iterdir()))
    if out.is_symlink() or not is_bag:
        raise BagError(
            f"{str(out)!r} is not a bag, so --force does not remove it; give another name"
        )
    shutil.rmtree(out)


class BagReader:
    """An open bag: a rosbag2 folder, or a single .mcap or .db3 file.

    Use as a context manager.
    """

    def __init__(self, path: Path) -> None:
        """Open the bag.

        Raises:
            BagError: missing, no bag, damaged or cut off.
        """
        self.path = path
        if not path.exists():
            raise BagError(f"bag {str(path)!r} does not exist; check the path")
        if path.is_dir() and not (path / "metadata.yaml").is_file():
            raise BagError(_no_metadata(path))
        with _reading(path):
            self._reader = Reader(path)
            self._reader.open()

    def __enter__(self) -> BagReader:
        """Return the open reader."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the files."""
        self.close()

    @property
    def start_ns(self) -> int:
        """Recording time of the first message, 0 for an empty bag."""
        return self._reader.start_time if self._reader.message_count else 0

    def close(self) -> None:
        """Close the files; safe to call twice."""
        if self._reader.is_open:
            self._reader.close()

    def messages(self, topics: Collection[str] | None = None) -> Iterator[BagMessage]:
        """Walk through the messages in recording order.

        Args:
            topics: only these; all if None.

        Raises:
            BagError: the bag turns out to be damaged on the way.
        """
        wanted = [c for c in self._reader.connections if topics is None or c.topic in topics]
        if not wanted:
            return
        with _reading(self.path):
            for connection, time_ns, cdr in self._reader.messages(wanted):
                yield BagMessage(connection.topic, connection.msgtype, time_ns, bytes(cdr))

    def summary(self) -> BagSummary:
        """Return what the bag holds; looks at the first image of every image topic.

        Raises:
            BagError: the bag is damaged.
        """
        reader = self._reader
        duration = max(0, reader.duration - 1)
        topics = []
        for name, info in sorted(reader.topics.items()):
            kind = info.msgtype or "several types"
            rate = (info.msgcount - 1) / (duration / 1e9) if info.msgcount > 1 and duration else 0.0
            detail = ""
            if kind == IMAGE and info.msgcount:
                detail = _describe_image(next(self.messages({name})).cdr, self.path)
            topics.append(Topic(name, kind, info.msgcount, rate, detail, _latched(info)))
        files = self.path.iterdir() if self.path.is_dir() else [self.path]
        storage = "mcap" if any(f.suffix == ".mcap" for f in _data_files(self.path)) else "sqlite3"
        return BagSummary(
            path=self.path,
            storage=storage,
            start_ns=self.start_ns,
            duration_ns=duration if reader.message_count else 0,
            size_bytes=sum(file.stat().st_size for file in files if file.is_file()),
            topics=tuple(topics),
        )


def summarize(path: Path) -> BagSummary:
    """Open a bag and return what it holds.

    Raises:
        BagError: missing, no bag, damaged or cut off.
    """
    with BagReader(path) as reader:
        return reader.summary()


def header_stamp_ns(cdr: bytes) -> int:
    """Return the header stamp of a serialised message whose first field is a std_msgs/Header.

    Raises:
        BagError: too short for a header.
    """
    order, _ = _encapsulation(cdr)
    seconds, nanoseconds = struct.unpack_from(f"{order}iI", cdr, 4)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def with_header_stamp(cdr: bytes, stamp_ns: int) -> bytes:
    """Return the serialised message with another header stamp; nothing else changes.

    Raises:
        BagError: too short for a header.
    """
    order, prefix = _encapsulation(cdr)
    stamp = struct.pack(f"{order}iI", *divmod(stamp_ns, 1_000_000_000))
    return b"".join((prefix, stamp, memoryview(cdr)[12:]))


def _encapsulation(cdr: bytes) -> tuple[str, bytes]:
    if len(cdr) < 12 or cdr[0] != 0 or cdr[1] not in (0, 1):
        raise BagError(f"a message of {len(cdr)} bytes has no CDR header; the bag is damaged")
    return ("<" if cdr[1] == 1 else ">"), cdr[:4]


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn whatever the file libraries raise on broken input into one BagError."""
    try:
        yield
    except BagError:
        raise
    except Exception as err:
        # rosbags, apsw, struct, zstd and assertion errors alike, depending on where the damage is.
        text = (str(err).strip().splitlines() or [""])[0]
        raise BagError(
            f"bag {str(path)!r} cannot be read: {type(err).__name__} {text}; it is damaged or was "
            "cut off: copy it again, or try `ros2 bag reindex` on the machine that recorded it"
        ) from err


def _no_metadata(path: Path) -> str:
    inside = sorted(file.name for file in path.iterdir())
    shown = ", ".join(inside[:4]) + (", ..." if len(inside) > 4 else "") or "nothing"
    data = _data_files(path)
    step = (
        f"open the file itself ({data[0]}), or run `ros2 bag reindex`"
        if data
        else "give the folder that `ros2 bag record` or `segmif bag make` wrote"
    )
    return f"{str(path)!r} has no metadata.yaml (it holds {shown}); {step}"


def _data_files(path: Path) -> list[Path]:
    files = path.iterdir() if path.is_dir() else [path]
    return sorted(f for f in files if f.suffix in (".mcap", ".db3", ".zstd"))


def _latched(info: Any) -> bool:
    profiles = [qos for c in info.connections for qos in c.ext.offered_qos_profiles]
    return any(qos.durability.name == "TRANSIENT_LOCAL" for qos in profiles)


def _describe_image(cdr: bytes, path: Path) -> str:
    with _reading(path):
        image: Any = _types().deserialize_cdr(cdr, IMAGE)
        return f"{image.width}x{image.height} {image.encoding}, frame {image.header.frame_id!r}"
