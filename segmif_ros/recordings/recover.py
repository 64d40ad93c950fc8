# SPDX-License-Identifier: Apache-2.0
"""Writes the readable messages of a damaged or incomplete bag as a complete bag."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from rosbags.interfaces import Qos
from rosbags.rosbag2.metadata import parse_qos

from segmif_ros.recordings.bags import BagError, BagReader, BagSummary, summarize
from segmif_ros.recordings.storage import Channel
from segmif_ros.recordings.writer import Definition, check_output, new_bag


class Recovered(NamedTuple):
    """What was saved.

    Attributes:
        summary: of the new bag.
        lost: what could not be read, or cannot be stored in a bag of ROS 2.
    """

    summary: BagSummary
    lost: tuple[str, ...]


def recover(
    path: Path,
    out: Path,
    progress: Callable[[int], Any] = lambda _: None,
    *,
    force: bool = False,
) -> Recovered:
    """Copy every message that can be read into a new mcap bag, byte by byte, with its checksums.

    Args:
        path: the damaged bag.
        out: folder to make.
        progress: called with 1 after each message.
        force: replace an existing bag (a folder with nothing but a bag's files in it).

    Raises:
        BagError: nothing can be read, or `out` exists or cannot be written.
    """
    check_output(out, replace=force, advice="give another name")
    lost: list[str] = []
    with BagReader(path, lambda _: None) as reader:
        kinds: dict[str, list[Channel]] = {}
        for channel in reader.channels():
            kinds.setdefault(channel.topic, []).append(channel)
        with new_bag(out) as bag:
            for message in reader.messages():
                channels = kinds[message.topic]
                if message.type != channels[0].type or not channels[0].type:
                    reason = f"{message.topic}: messages of type {message.type}"
                    lost += [] if reason in lost else [reason]
                    continue
                if message.topic not in bag.topics:
                    encoding, text = channels[0].definition
                    known = bag.knows(message.type) or encoding not in ("ros2msg", "ros2idl")
                    definition = Definition("" if known else text.decode("utf-8", "replace"))
                    bag.add_topic(
                        message.topic,
                        message.type,
                        qos=_profiles(channel.qos for channel in channels),
                        definition=None if bag.knows(message.type) else definition,
                    )
                bag.write(message.topic, message.time_ns, message.cdr)
                progress(1)
            if not bag.topics:
                raise BagError(f"{path}: no message can be read: {'; '.join(reader.damage)}")
        return Recovered(summarize(out), (*reader.notes, *reader.damage, *lost))


def _profiles(texts: Iterable[str]) -> list[Qos]:
    """Return the QoS profiles of a bag's metadata; empty if the text is damaged."""
    profiles: list[Qos] = []
    for text in dict.fromkeys(texts):
        try:
            profiles += parse_qos(text)
        except Exception:  # noqa: S112 - rosbags raises whatever YAML and enumerations do
            continue
    return profiles
