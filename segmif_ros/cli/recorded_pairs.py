# SPDX-License-Identifier: Apache-2.0
"""A few pairs, evenly spaced, from a folder of pictures or from a bag."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segmif_ros.cli.demo_sources import BagSource
from segmif_ros.frames import Image8
from segmif_ros.images.raw import ImageRefused, view_rgb, view_thermal
from segmif_ros.recordings.bags import BagError, BagReader, header_stamp_ns, message_types
from segmif_ros.recordings.clips import FolderPairs

_FURTHEST_NS = 50_000_000
"""Images further apart in time are no pair."""


class Pictures(NamedTuple):
    """One pair: rgb HxWx3 uint8, thermal hxw of any depth."""

    rgb: Image8
    thermal: NDArray[Any]


def read_folder(folder: Path, count: int) -> list[Pictures]:
    """Read at most `count` pairs of FOLDER/visible and FOLDER/infrared.

    Raises:
        ClipError: no pairs, or a picture cannot be read.
    """
    images = [item.image for item in FolderPairs(folder, limit=count)]
    return [Pictures(rgb, thermal) for thermal, rgb in zip(images[::2], images[1::2], strict=True)]


def read_bag(
    path: Path, rgb_topic: str | None, thermal_topic: str | None, count: int
) -> list[Pictures]:
    """Read at most `count` pairs of a bag, nearest in header stamp.

    Raises:
        BagError: no bag, cameras that cannot be told apart, no pairs, or images of no use.
    """
    source = BagSource(path, seconds=1e9, rgb_topic=rgb_topic, thermal_topic=thermal_topic)
    topics = (source.rgb_topic, source.thermal_topic)
    stamps: dict[str, list[int]] = {topic: [] for topic in topics}
    with BagReader(path) as reader:
        for message in reader.messages(topics):
            stamps[message.topic].append(header_stamp_ns(message.cdr))
        rgb, thermal = (np.array(stamps[topic], np.int64) for topic in topics)
        matched, nearest = _matched(rgb, thermal)
        if not len(matched):
            raise BagError(
                f"{path}: no image on {topics[1]} with a stamp within {_FURTHEST_NS / 1e6:g} ms of "
                f"one on {topics[0]}; record both cameras with one clock"
            )
        spread = np.linspace(0, len(matched) - 1, min(count, len(matched)))
        chosen = matched[spread.round().astype(int)]
        wanted = {topics[0]: set(chosen.tolist()), topics[1]: set(nearest[chosen].tolist())}
        seen = dict.fromkeys(topics, -1)
        kept: dict[tuple[str, int], NDArray[Any]] = {}
        for message in reader.messages(topics):
            seen[message.topic] += 1
            number = seen[message.topic]
            if number in wanted[message.topic]:
                image = message_types().deserialize_cdr(message.cdr, message.type)
                try:
                    kept[message.topic, number] = (
                        view_rgb(image).to_rgb()
                        if message.topic == topics[0]
                        else view_thermal(image).to_thermal()
                    )
                except ImageRefused as err:
                    raise BagError(f"{path}, {message.topic}: {err}") from err
    return [Pictures(kept[topics[0], int(i)], kept[topics[1], int(nearest[i])]) for i in chosen]


def _matched(
    rgb: NDArray[np.int64], thermal: NDArray[np.int64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return which RGB images have a partner, and for every RGB image the nearest thermal one.

    Args:
        rgb: header stamps in order of arrival, nanoseconds; 0 was never set and has no partner.
        thermal: the same.
    """
    if not len(rgb) or not len(thermal):
        return np.empty(0, np.intp), np.zeros(len(rgb), np.intp)
    order = np.argsort(thermal, kind="stable")
    rising = thermal[order]
    after = np.searchsorted(rising, rgb).clip(max=len(rising) - 1)
    before = (after - 1).clip(min=0)
    nearer = np.abs(rising[before] - rgb) <= np.abs(rising[after] - rgb)
    nearest = order[np.where(nearer, before, after)]
    close = np.abs(thermal[nearest] - rgb) <= _FURTHEST_NS
    return np.flatnonzero(close & (rgb != 0) & (thermal[nearest] != 0)), nearest
