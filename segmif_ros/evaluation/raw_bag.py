# SPDX-License-Identifier: Apache-2.0
"""Writes serialised messages to a rosbag2, without ROS."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from rosbags.rosbag2 import StoragePlugin, Writer

from segmif_ros.evaluation.bags import BagError, message_types

_METADATA_VERSION: Literal[9] = 9
"""The one that ROS 2 Jazzy itself writes."""


class RawBag:
    """An mcap bag that is being written, without compression; use as a context manager."""

    def __init__(self, out: Path) -> None:
        """Prepare; the folder is made on entering.

        Raises:
            BagError: `out` exists.
        """
        if out.exists():
            raise BagError(f"{str(out)!r} exists already; give another name")
        self._store = message_types()
        self._writer = Writer(out, version=_METADATA_VERSION, storage_plugin=StoragePlugin.MCAP)
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

    def add_topic(self, topic: str, message_type: str) -> None:
        """Make room for the messages of a topic; its type must be one that the bag `knows`."""
        self._connections[topic] = self._writer.add_connection(
            topic, message_type, typestore=self._store
        )

    def write(self, topic: str, time_ns: int, cdr: bytes) -> None:
        """Append one message of a topic that was added.

        Args:
            topic: its name.
            time_ns: what it is filed under.
            cdr: serialised message with its 4-byte encapsulation header.
        """
        self._writer.write(self._connections[topic], time_ns, cdr)
