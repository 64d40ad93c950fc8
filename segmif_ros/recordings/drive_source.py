# SPDX-License-Identifier: Apache-2.0
"""A bag becomes pairs as in the node: the same checks, conversions and pairing, on the bag's clock.

One message is read and one image decoded at a time; besides it only what the pairer holds is in
memory. What ends in no pair is counted with its reason.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segmif_ros.evaluation.settings import DriveSettings
from segmif_ros.frames import Image8, ThermalImage
from segmif_ros.images.compressed import decode
from segmif_ros.images.raw import VIEWS, ImageRefused, ImageView, Refusal
from segmif_ros.images.suitability import objection
from segmif_ros.pairing import Decisions, Pair, Stream, StreamPairer
from segmif_ros.recordings.bags import (
    COMPRESSED_IMAGE,
    IMAGE,
    BagError,
    BagMessage,
    BagReader,
    BagSummary,
    message_types,
)
from segmif_ros.recordings.camera_topics import camera_topics, require_topic
from segmif_ros.registration import Geometry
from segmif_ros.sync.timing import StreamTiming, stream_timing

_SECOND = 1_000_000_000
_END = "end of the bag"
"""Why a frame that was still held is in no pair."""


@dataclass(frozen=True, slots=True, eq=False)
class RecordedImage:
    """One image that the pairer got.

    Attributes:
        number: of all images on its topic, from 0.
        view: its pixels.
        frame_id: frame of its header.
        message: as it lies in the bag.
    """

    number: int
    view: ImageView
    frame_id: str
    message: BagMessage


@dataclass(frozen=True, slots=True, eq=False)
class RecordedPair:
    """One pair, converted.

    Attributes:
        index: of all pairs, from 0.
        number: of its RGB image among all RGB images, from 0.
        rgb: HxWx3 uint8.
        thermal: hxw uint8, uint16 or float32.
        stamp_ns: of the RGB image.
        thermal_stamp_ns: of the thermal image.
        difference_ns: thermal minus RGB after the offsets.
        frame_id: of the RGB image.
        messages: both as they lie in the bag, RGB first.
    """

    index: int
    number: int
    rgb: Image8
    thermal: ThermalImage
    stamp_ns: int
    thermal_stamp_ns: int
    difference_ns: int
    frame_id: str
    messages: tuple[BagMessage, BagMessage]


class DriveSource:
    """The pairs of one bag, once. Use as a context manager; iterate on one thread.

    Attributes:
        summary: what the bag holds.
        topics: camera and topic name; "labels" too where there is such a topic.
        received: images read, by camera.
        refused: images of no use, by camera and reason.
        dropped: images in no pair, by camera and reason.
        pairs: pairs made so far.
        damage: why reading ended before the end of the bag, empty if it did not.
    """

    def __init__(
        self, path: Path, settings: DriveSettings, calibration: Geometry | None = None
    ) -> None:
        """Open the bag and find the cameras.

        Raises:
            BagError: no readable bag, or the cameras (or the label topic) are not there.
        """
        self._reader = BagReader(path)
        try:
            self.summary: BagSummary = self._reader.summary()
            kinds = (IMAGE, COMPRESSED_IMAGE)
            rgb, thermal = camera_topics(
                self.summary,
                settings.rgb_topic,
                settings.thermal_topic,
                types=kinds,
                others=[settings.label_topic] if settings.label_topic else [],
            )
            self.topics = {Stream.RGB.value: rgb.name, Stream.THERMAL.value: thermal.name}
            if settings.label_topic is not None:
                labels = require_topic(self.summary, settings.label_topic, kinds)
                self.topics["labels"] = labels.name
        except BaseException:
            self._reader.close()
            raise
        self._streams = {rgb.name: Stream.RGB, thermal.name: Stream.THERMAL}
        self.expected_pairs = min(rgb.count, thermal.count)
        self._counts = {Stream.RGB.value: rgb.count, Stream.THERMAL.value: thermal.count}
        self._settings = settings
        self._calibration = calibration
        self._pairer: StreamPairer[RecordedImage] = StreamPairer(settings.pairing)
        self.received = {stream.value: 0 for stream in Stream}
        self.refused: dict[str, Counter[str]] = {stream.value: Counter() for stream in Stream}
        self.last_refusal: dict[str, str] = {}
        self.dropped: dict[str, Counter[str]] = {stream.value: Counter() for stream in Stream}
        self.pairs = 0
        self.damage = ""
        self._stamps = {stream: (array("q"), array("q")) for stream in Stream}

    def __enter__(self) -> DriveSource:
        """Return the open source."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the bag."""
        self._reader.close()

    def __iter__(self) -> Iterator[RecordedPair]:
        """Yield the pairs in the order in which the node would have made them."""
        last_ns = 0
        try:
            for message in self._reader.messages(self._streams):
                last_ns = max(last_ns, message.time_ns)
                yield from self._pairs_of(self._push(message))
        except BagError as err:
            self.damage = str(err)
        self.damage = self.damage or self._missing()
        config = self._settings.pairing
        end_ns = last_ns + config.max_wait_ns + config.tolerance_ns + _SECOND
        yield from self._pairs_of(self._pairer.tick(end_ns))
        for drop in self._pairer.reset().drops:
            self.dropped[drop.stream.value][_END] += 1

    def timing(self) -> dict[str, StreamTiming]:
        """Judge the stamps of both cameras, as far as they were read."""
        return {
            stream.value: stream_timing(stamps, arrivals, np.zeros(len(stamps), bool).tolist())
            for stream, (stamps, arrivals) in self._stamps.items()
        }

    @property
    def clock_jumps(self) -> int:
        """Times that the stamps went back by more than a second."""
        return self._pairer.clock_jumps

    def _missing(self) -> str:
        """Say how many images the bag's own index names and nobody could read."""
        missing = [
            f"{count - self.received[stream]} of {count} {stream} images"
            for stream, count in self._counts.items()
            if self.received[stream] < count
        ]
        if not missing:
            return ""
        return (
            f"{' and '.join(missing)} in {self.summary.path} cannot be read; it is damaged: copy "
            "it again"
        )

    def _push(self, message: BagMessage) -> Decisions[RecordedImage]:
        """Take in one message the way the node does; its time is when it was recorded."""
        stream = self._streams[message.topic]
        number = self.received[stream.value]
        self.received[stream.value] += 1
        outcome: ImageView | ImageRefused
        try:
            raw: Any = message_types().deserialize_cdr(message.cdr, message.type)
            compressed = message.type == COMPRESSED_IMAGE
            outcome = decode(stream, raw) if compressed else VIEWS[stream.value](raw)
            mode = self._settings.thermal.mode
            unfit = objection(stream, outcome, thermal_mode=mode, calibration=self._calibration)
            outcome = unfit or outcome
        except ImageRefused as refusal:
            outcome = refusal
        except Exception as err:
            # Bytes that are no message make the generated reader raise anything.
            text = f"message {number} on {message.topic} cannot be read: {err!r}"
            outcome = ImageRefused(Refusal.CONVERSION, text)
        if isinstance(outcome, ImageRefused):
            self.refused[stream.value][outcome.reason.value] += 1
            self.last_refusal[stream.value] = str(outcome)
            return Decisions()
        stamp = raw.header.stamp
        stamp_ns = stamp.sec * _SECOND + stamp.nanosec
        stamps, arrivals = self._stamps[stream]
        stamps.append(stamp_ns)
        arrivals.append(message.time_ns)
        image = RecordedImage(number, outcome, str(raw.header.frame_id), message)
        return self._pairer.push(stream, stamp_ns, image, arrival_ns=message.time_ns)

    def _pairs_of(self, decisions: Decisions[RecordedImage]) -> Iterator[RecordedPair]:
        for drop in decisions.drops:
            self.dropped[drop.stream.value][drop.reason.value] += 1
        for pair in decisions.pairs:
            yield self._converted(pair)

    def _converted(self, pair: Pair[RecordedImage]) -> RecordedPair:
        rgb, thermal = pair.rgb.payload, pair.thermal.payload
        self.pairs += 1
        return RecordedPair(
            index=self.pairs - 1,
            number=rgb.number,
            rgb=rgb.view.to_rgb(),
            thermal=thermal.view.to_thermal(),
            stamp_ns=pair.rgb.stamp_ns,
            thermal_stamp_ns=pair.thermal.stamp_ns,
            difference_ns=pair.dt_ns,
            frame_id=rgb.frame_id,
            messages=(rgb.message, thermal.message),
        )
