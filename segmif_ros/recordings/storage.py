# SPDX-License-Identifier: Apache-2.0
"""The interface of a bag file, independent of its format."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import zstandard

StorageKind = Literal["mcap", "sqlite3"]

END_OF_TIME_NS = 2**63 - 1
LARGEST_BLOCK = 1 << 30
"""Largest size of a decompressed chunk or message, bytes; larger values are damage."""
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class BagError(ValueError):
    """A bag cannot be written or read; the message names it and the next step."""


@dataclass(frozen=True, slots=True)
class Channel:
    """Messages of one topic in one file.

    Attributes:
        id: number in the file.
        topic: its name.
        type: for example "sensor_msgs/msg/Image"; empty if the file has none.
        encoding: of the messages; ROS 2 uses "cdr".
        definition: (encoding, text) of the message definition, both empty where there is none.
        qos: offered QoS profiles as YAML.
        count: messages by the file's index, or found by a scan.
    """

    id: int
    topic: str
    type: str
    encoding: str
    definition: tuple[str, bytes] = ("", b"")
    qos: str = ""
    count: int = 0

    @property
    def latched(self) -> bool:
        """Some publisher offered transient-local durability (1 in metadata before version 9)."""
        lines = (line.strip().lower() for line in self.qos.replace("- ", "").splitlines())
        return any(line in ("durability: transient_local", "durability: 1") for line in lines)


class Storage(Protocol):
    """One open file of a bag.

    Attributes:
        kind: "mcap" or "sqlite3".
        start_ns: recording time of the first message, `END_OF_TIME_NS` without messages.
        end_ns: of the last one, 0 without messages.
        checksums: every message has a checksum, which is verified on reading.
        damage: what cannot be read; grows while messages are read.
    """

    kind: StorageKind
    start_ns: int
    end_ns: int
    checksums: bool
    damage: list[str]

    @property
    def channels(self) -> Mapping[int, Channel]:
        """Channels by their number."""
        ...

    def messages(
        self, channels: Collection[int], start_ns: int, stop_ns: int
    ) -> Iterator[tuple[int, int, bytes]]:
        """Yield (channel, recording time, message) in order of time; never raises on damage."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def ros_type(name: str) -> str:
    """Return the full name of a message type; some writers omit `msg` or use IDL's form."""
    parts = [part for part in name.replace("::", "/").split("/") if part]
    if len(parts) == 2:
        parts.insert(1, "msg")
    return "/".join(parts)


def unpacked(data: bytes, path: Path) -> bytes:
    """Return a message without the zstd compression that rosbag2 may have given it.

    Raises:
        BagError: not zstd, or implausibly large.
    """
    try:
        size = zstandard.frame_content_size(data)
        if size > LARGEST_BLOCK:
            raise BagError(f"{path}: a message announces {size} bytes; it is damaged")
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=LARGEST_BLOCK // 16)
    except zstandard.ZstdError as err:
        raise BagError(f"{path}: a compressed message cannot be unpacked: {err}") from err
