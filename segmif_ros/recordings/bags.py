# SPDX-License-Identifier: Apache-2.0
"""Reads rosbag2 without ROS: a summary of a bag, and its messages.

Every verb reads bags through `BagReader`. Damaged ones are read up to the damage, with a note.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from segmif_ros.error_codes import brief
from segmif_ros.recordings.bag_files import find_files, is_bag, open_storage
from segmif_ros.recordings.messages import (
    COMPRESSED_IMAGE,
    IMAGE,
    IMAGES,
    BagMessage,
    described,
    header_stamp_ns,
    image_of,
    message_types,
    plain,
    with_header_stamp,
)
from segmif_ros.recordings.storage import END_OF_TIME_NS, BagError, Channel, Storage

__all__ = [
    "COMPRESSED_IMAGE",
    "IMAGE",
    "IMAGES",
    "BagError",
    "BagMessage",
    "BagReader",
    "BagSummary",
    "Topic",
    "header_stamp_ns",
    "image_of",
    "is_bag",
    "message_types",
    "summarize",
    "with_header_stamp",
]

_CDR = "cdr"


@dataclass(frozen=True, slots=True)
class Topic:
    """One row of `segmif bag info`.

    Attributes:
        name: topic name.
        type: message type, "unknown" if the bag has none.
        count: messages.
        rate_hz: mean rate over the bag, 0 for a single message.
        detail: size, encoding and frame of the first message, for images.
        latched: some publisher offered transient-local durability.
        usable: for images: raw, JPEG or PNG, not another transport's own format.
    """

    name: str
    type: str
    count: int
    rate_hz: float
    detail: str = ""
    latched: bool = False
    usable: bool = True


@dataclass(frozen=True, slots=True)
class BagSummary:
    """What a bag holds.

    Attributes:
        path: of the bag.
        storage: "mcap" or "sqlite3".
        start_ns: recording time of the first message, 0 without messages.
        duration_ns: from the first to the last message.
        size_bytes: of all files.
        topics: by name.
        notes: what was left out, and differences from metadata.yaml.
        damage: what cannot be read, as far as known after opening the bag.
        checksums: messages are verified when they are read.
    """

    path: Path
    storage: str
    start_ns: int
    duration_ns: int
    size_bytes: int
    topics: tuple[Topic, ...]
    notes: tuple[str, ...] = ()
    damage: tuple[str, ...] = ()
    checksums: bool = True

    def of_type(self, *kinds: str) -> tuple[Topic, ...]:
        """Return the topics of these message types."""
        return tuple(topic for topic in self.topics if topic.type in kinds)

    def listing(self) -> str:
        """Return the topics in one line, for error messages."""
        return (
            ", ".join(f"{brief(topic.name)} ({brief(topic.type)})" for topic in self.topics)
            or "no topics"
        )


@cache
def _warn_once(text: str) -> None:
    sys.stderr.write(f"note: {text}\n")


class BagReader:
    """An open bag: a rosbag2 folder, or a single .mcap or .db3 file. Use as a context manager.

    Attributes:
        path: of the bag.
        notes: what was left out, and differences from metadata.yaml.
    """

    def __init__(self, path: Path, on_warning: Callable[[str], Any] = _warn_once) -> None:
        """Open the bag.

        Args:
            path: folder or file.
            on_warning: called once for each deviation or damage, on opening and while
                messages are read. By default a line on stderr, once in a process.

        Raises:
            BagError: missing, no bag of ROS 2, or nothing in it can be read.
        """
        self.path = path
        self._on_warning, self._told = on_warning, 0
        self._scratch: list[TemporaryDirectory[str]] = []
        self._storages: list[Storage] = []
        files = find_files(path)
        self._unreadable = [files.missing] if files.missing else []
        try:
            self._open(files.paths)
            self.notes = (*files.notes, *self._foreign(), *self._surplus(files.counted))
        except BaseException:
            self.close()
            raise
        self._storages.sort(key=lambda storage: storage.start_ns)
        for note in self.notes:
            on_warning(f"{path}: {note}")
        self._tell()

    def __enter__(self) -> BagReader:
        """Return the open reader."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files."""
        self.close()

    @property
    def start_ns(self) -> int:
        """Recording time of the first message, 0 for an empty bag."""
        start_ns = min(storage.start_ns for storage in self._storages)
        return 0 if start_ns == END_OF_TIME_NS else start_ns

    @property
    def damage(self) -> tuple[str, ...]:
        """What cannot be read; grows while messages are read."""
        return (*self._unreadable, *(text for s in self._storages for text in s.damage))

    def channels(self) -> list[Channel]:
        """Return the channels of all files that hold messages of ROS 2."""
        return [
            channel
            for storage in self._storages
            for channel in storage.channels.values()
            if channel.encoding == _CDR
        ]

    def close(self) -> None:
        """Close the files; safe to call twice."""
        for storage in self._storages:
            storage.close()
        for folder in self._scratch:
            folder.cleanup()

    def messages(
        self,
        topics: Collection[str] | None = None,
        start_ns: int | None = None,
        stop_ns: int | None = None,
    ) -> Iterator[BagMessage]:
        """Yield the messages in recording order; damaged parts are left out and reported.

        Args:
            topics: only these; all if None.
            start_ns: only those recorded at this time or later; earlier ones are not read.
            stop_ns: only those recorded before.
        """
        first = 0 if start_ns is None else start_ns
        last = END_OF_TIME_NS if stop_ns is None else stop_ns
        for storage in self._storages:
            wanted = [
                number
                for number, channel in storage.channels.items()
                if channel.encoding == _CDR and (topics is None or channel.topic in topics)
            ]
            if not wanted:
                continue
            for number, time_ns, data in storage.messages(wanted, first, last):
                channel = storage.channels[number]
                try:
                    cdr = plain(data, channel.type, self.path)
                except BagError as err:
                    storage.damage.append(f"{channel.topic} at {time_ns} ns: {err}")
                    continue
                yield BagMessage(channel.topic, channel.type or "unknown", time_ns, cdr)
        self._tell()

    def summary(self) -> BagSummary:
        """Return what the bag holds; reads the first image of every image topic."""
        end_ns = max(storage.end_ns for storage in self._storages)
        duration_ns = max(0, end_ns - self.start_ns)
        grouped: dict[tuple[str, str], list[Channel]] = {}
        for channel in self.channels():
            grouped.setdefault((channel.topic, channel.type), []).append(channel)
        topics = []
        for (name, kind), channels in sorted(grouped.items()):
            count = sum(channel.count for channel in channels)
            detail, usable = "", True
            if kind in IMAGES and count:
                detail, usable = self._first_image(name, kind)
            topics.append(
                Topic(
                    name,
                    kind or "unknown",
                    count,
                    (count - 1) / (duration_ns / 1e9) if count > 1 and duration_ns else 0.0,
                    detail,
                    any(channel.latched for channel in channels),
                    usable,
                )
            )
        files = self.path.iterdir() if self.path.is_dir() else [self.path]
        return BagSummary(
            path=self.path,
            storage=self._storages[0].kind,
            start_ns=self.start_ns,
            duration_ns=duration_ns,
            size_bytes=sum(file.stat().st_size for file in files if file.is_file()),
            topics=tuple(topics),
            notes=self.notes,
            damage=self.damage,
            checksums=all(storage.checksums for storage in self._storages),
        )

    def _open(self, paths: Collection[Path]) -> None:
        for file in paths:
            try:
                self._storages.append(open_storage(file, self._scratch))
            except BagError as err:
                self._unreadable.append(str(err))
        if not self._storages:
            raise BagError(f"bag {str(self.path)!r} cannot be read: {self._unreadable[-1]}")

    def _first_image(self, name: str, kind: str) -> tuple[str, bool]:
        """Describe the first image of a topic, and return whether its format can be decoded."""
        for message in self.messages({name}):
            if message.type == kind:
                return described(message)
        return "", True

    def _foreign(self) -> list[str]:
        """Name the channels that hold no messages of ROS 2."""
        foreign: dict[str, str] = {}
        for storage in self._storages:
            for channel in storage.channels.values():
                if channel.encoding == "ros1":
                    raise BagError(
                        f"{self.path} holds messages of ROS 1; convert the ROS 1 bag it was made "
                        "from with `rosbags-convert --src IN.bag --dst OUT` (it comes with the "
                        "rosbags package)"
                    )
                if channel.encoding != _CDR:
                    foreign[channel.topic] = channel.encoding or "no encoding"
        listed = ", ".join(
            f"{brief(topic)} ({brief(encoding)})" for topic, encoding in foreign.items()
        )
        return [f"left out, no messages of ROS 2: {listed}"] if foreign else []

    def _surplus(self, counted: int | None) -> list[str]:
        """Compare the number of messages with metadata.yaml; fewer are reported as lost."""
        held = sum(c.count for storage in self._storages for c in storage.channels.values())
        if counted is None or counted == held:
            return []
        text = f"metadata.yaml counts {counted} messages, the files hold {held}"
        if counted < held:
            return [text]
        self._unreadable.append(text)
        return []

    def _tell(self) -> None:
        """Report damage found since the last call."""
        damage = self.damage
        for text in damage[self._told :]:
            self._on_warning(f"{self.path}: {text}")
        self._told = len(damage)


def summarize(path: Path) -> BagSummary:
    """Open a bag and return what it holds.

    Raises:
        BagError: missing, no bag of ROS 2, or nothing in it can be read.
    """
    with BagReader(path) as reader:
        return reader.summary()
