# SPDX-License-Identifier: Apache-2.0
"""Small drives as real bags, and a small bundle whose answers on them are known.

The tiny bundle says person (8) where thermal is above 127 and road (1) elsewhere, its fused image
is the visible one and its confidence is the thermal one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from segmif_ros.recordings.bags import (
    BagReader,
    header_stamp_ns,
    message_types,
    with_header_stamp,
)
from segmif_ros.recordings.clips import StampedImage
from segmif_ros.recordings.writer import TOPICS, BagWriter, write_bag

SIZE = (64, 96)
START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 50_000_000
PERSON, ROAD = 8, 1


class Drive:
    """A warm square that walks through a textured street; with the truth if wanted."""

    notes = ()

    def __init__(
        self,
        count: int,
        *,
        labels: bool = False,
        thermal_late_ns: int = 0,
        period_ns: int = PERIOD_NS,
    ) -> None:
        self.count, self.labels, self.late_ns = count, labels, thermal_late_ns
        self.period_ns = period_ns

    @property
    def frames(self) -> int:
        return (3 if self.labels else 2) * self.count

    def __iter__(self) -> Iterator[StampedImage]:
        texture = np.random.default_rng(5).integers(60, 120, (*SIZE, 3), np.uint8)
        for index in range(self.count):
            time_ns = index * self.period_ns
            visible = texture.copy()
            visible[:8, :8] = index % 256
            yield StampedImage("thermal", time_ns + self.late_ns, thermal(index))
            yield StampedImage("rgb", time_ns, visible)
            if self.labels:
                yield StampedImage("labels", time_ns, truth(index))


def thermal(index: int) -> np.ndarray:
    picture = np.full(SIZE, 40 + index % 8, np.uint8)
    left = 4 + index % (SIZE[1] - 28)
    picture[20:44, left : left + 20] = 200
    return picture


def truth(index: int) -> np.ndarray:
    return np.where(thermal(index) > 127, PERSON, ROAD).astype(np.uint8)


def drive_bag(path: Path, count: int = 20, **options) -> Path:
    """Write a bag of `count` pairs; options as of `Drive` and `write_bag`."""
    names = ("labels", "thermal_late_ns", "period_ns")
    own = {name: options.pop(name) for name in names if name in options}
    write_bag(Drive(count, **own), path, start_ns=START_NS, **options)
    return path


def rewritten(source: Path, out: Path, change) -> Path:
    """Copy a bag message by message; `change(message, number)` gives stamp and CDR, or None."""
    with BagReader(source) as reader, BagWriter(out) as bag:
        known = set()
        for number, message in enumerate(reader.messages()):
            changed = change(message, number)
            if changed is None:
                continue
            time_ns, cdr = changed
            if message.topic not in known:
                bag.add_topic(message.topic, message.type)
                known.add(message.topic)
            bag.write(message.topic, time_ns, cdr)
    return out


def compressed(source: Path, out: Path) -> Path:
    """Copy a bag as image_transport would publish it: RGB as JPEG, all other images as PNG."""
    store, kind = message_types(), "sensor_msgs/msg/CompressedImage"
    with BagReader(source) as reader, BagWriter(out) as bag:
        for message in reader.messages():
            image = store.deserialize_cdr(message.cdr, message.type)
            values = image.data.view("<u2") if image.encoding == "mono16" else image.data
            pixels = values.reshape(image.height, image.width, -1)
            coloured = image.encoding == "rgb8"
            if coloured:
                pixels = pixels[..., ::-1]
            _, packed = cv2.imencode(".jpg" if coloured else ".png", pixels)
            form = f"{image.encoding}; {'jpeg compressed bgr8' if coloured else 'png compressed '}"
            content = store.types[kind](image.header, form, packed.ravel())
            bag.write_message(f"{message.topic}/compressed", message.time_ns, (kind, content))
    return out


def swapped_stamps(source: Path, out: Path) -> Path:
    """Copy a bag in which every tenth RGB image carries the stamp of the one before the last."""
    seen = 0

    def change(message, _):
        nonlocal seen
        if message.topic != TOPICS["rgb"]:
            return message.time_ns, message.cdr
        seen += 1
        if seen % 10:
            return message.time_ns, message.cdr
        older = header_stamp_ns(message.cdr) - 2 * PERIOD_NS
        return message.time_ns, with_header_stamp(message.cdr, older)

    return rewritten(source, out, change)
