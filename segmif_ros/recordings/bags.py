# SPDX-License-Identifier: Apache-2.0
"""Rosbag2 without ROS: look into a bag, walk through its messages, change their stamps."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"


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


@cache
def message_types() -> Any:
    """Return the message definitions of ROS 2 Jazzy, as rosbags knows them."""
    return get_typestore(Stores.ROS2_JAZZY)


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

    def messages(
        self,
        topics: Collection[str] | None = None,
        start_ns: int | None = None,
        stop_ns: int | None = None,
    ) -> Iterator[BagMessage]:
        """Walk through the messages in recording order.

        Args:
            topics: only these; all if None.
            start_ns: only those recorded then or later; what lies before is not read.
            stop_ns: only those recorded before.

        Raises:
            BagError: the bag turns out to be damaged on the way.
        """
        wanted = [c for c in self._reader.connections if topics is None or c.topic in topics]
        if not wanted:
            return
        with _reading(self.path):
            for connection, time_ns, cdr in self._reader.messages(wanted, start_ns, stop_ns):
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
                first = next(self.messages({name}), None)
                if first is None:
                    raise BagError(
                        f"bag {str(self.path)!r} announces {info.msgcount} images on {name} and "
                        "holds none; it is damaged, copy it again"
                    )
                detail = _describe_image(first.cdr, self.path)
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


def is_bag(path: Path) -> bool:
    """True for a rosbag2 folder or a bag file, by its looks."""
    return path.suffix in (".mcap", ".db3") or (path / "metadata.yaml").is_file()


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
        mcap = any(".mcap" in file.suffixes for file in _data_files(path))
        remedy = "`mcap recover` saves what a file holds" if mcap else "try `ros2 bag reindex`"
        raise BagError(
            f"bag {str(path)!r} cannot be read: {type(err).__name__} {text}; it is damaged or was "
            f"cut off: copy it again from the machine that recorded it, or {remedy}"
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
        image: Any = message_types().deserialize_cdr(cdr, IMAGE)
        return f"{image.width}x{image.height} {image.encoding}, frame {image.header.frame_id!r}"
