# SPDX-License-Identifier: Apache-2.0
"""Writes serialised messages to a rosbag2, without ROS."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from segmif_ros.recordings.bags import BagError, message_types

_METADATA_VERSION: Literal[9] = 9
"""The one that ROS 2 Jazzy itself writes."""

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


class RawBag:
    """An mcap bag that is being written; use as a context manager."""

    def __init__(self, out: Path, *, compress: bool = False) -> None:
        """Prepare; the folder is made on entering.

        Args:
            out: folder to make.
            compress: zstd chunks, lossless; too slow for what comes live.

        Raises:
            BagError: `out` exists.
        """
        if out.exists():
            raise BagError(f"{str(out)!r} exists already; give another name")
        self._store = message_types()
        self._writer = Writer(out, version=_METADATA_VERSION, storage_plugin=StoragePlugin.MCAP)
        if compress:
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._connections: dict[str, Any] = {}

    def __enter__(self) -> RawBag:
        """Create the bag."""
        self._writer.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Complete the bag: before that it cannot be read."""
        self._writer.__exit__(kind, value, trace)

    def knows(self, message_type: str) -> bool:
        """Tell whether a type such as "std_msgs/msg/String" can be written."""
        return message_type in self._store.types

    def add_topic(self, topic: str, message_type: str, *, latched: bool = False) -> None:
        """Make room for the messages of a topic.

        Args:
            topic: its name.
            message_type: one that the bag `knows`.
            latched: whoever plays the bag is to keep the last message for later subscribers.
        """
        self._connections[topic] = self._writer.add_connection(
            topic,
            message_type,
            typestore=self._store,
            offered_qos_profiles=[_LATCHED] if latched else [],
        )

    def write(self, topic: str, time_ns: int, cdr: bytes) -> None:
        """Append one message of a topic that was added.

        Args:
            topic: its name.
            time_ns: what it is filed under.
            cdr: serialised message with its 4-byte encapsulation header.
        """
        self._writer.write(self._connections[topic], time_ns, cdr)
