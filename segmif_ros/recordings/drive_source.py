# SPDX-License-Identifier: Apache-2.0
"""Pairs of a bag as in the node: the same checks, conversions and pairing, on the bag's clock.

One message is read and one image decoded at a time; only the frames of the pairer stay in memory.
Frames without a pair are counted by reason.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segmif_ros.frames import Image8, ThermalImage
from segmif_ros.images.raw import ImageRefused, ImageView
from segmif_ros.pairing import Match, PairingConfig, Stream, stamp_of
from segmif_ros.recordings.bags import BagMessage, BagReader, BagSummary, image_of
from segmif_ros.recordings.pairs import RecordedPairing
from segmif_ros.recordings.topics import camera_topics, require_topic, swapped_topics
from segmif_ros.sync.timing import StreamTiming, stream_timing


@dataclass(frozen=True, slots=True, eq=False)
class RecordedImage:
    """One image that the pairer got.

    Attributes:
        number: of all images on its topic, from 0.
        view: its pixels.
        frame_id: frame of its header.
        message: serialised, as in the bag.
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
        messages: both serialised, as in the bag, RGB first.
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
        expected_pairs: images of the camera with fewer of them.
        received: images read, by camera.
        refused: unusable images, by camera and reason.
        last_refusal: message of the last refusal, by camera.
        pairs: pairs made so far.
        swapped: a remark if the first images suggest that the topics are swapped.
    """

    def __init__(
        self,
        path: Path,
        config: PairingConfig,
        *,
        rgb_topic: str | None = None,
        thermal_topic: str | None = None,
        label_topic: str | None = None,
        check: Callable[[Stream, ImageView], ImageRefused | None] = lambda *_: None,
    ) -> None:
        """Open the bag and find the cameras.

        Args:
            path: the bag.
            config: how to pair.
            rgb_topic: chosen by names and encodings if None.
            thermal_topic: likewise.
            label_topic: images of class ids; None without.
            check: returns why a decoded image is unusable, None otherwise.

        Raises:
            BagError: no readable bag, or the cameras (or the label topic) are not there.
        """
        self._reader = BagReader(path, lambda _: None)
        try:
            self.summary: BagSummary = self._reader.summary()
            others = [label_topic] if label_topic else []
            rgb, thermal = camera_topics(self.summary, rgb_topic, thermal_topic, others=others)
            self.topics = {Stream.RGB.value: rgb.name, Stream.THERMAL.value: thermal.name}
            self.swapped = swapped_topics(self._reader, rgb.name, thermal.name)
            if label_topic is not None:
                self.topics["labels"] = require_topic(self.summary, label_topic).name
        except BaseException:
            self._reader.close()
            raise
        self._streams = {rgb.name: Stream.RGB, thermal.name: Stream.THERMAL}
        self.expected_pairs = min(rgb.count, thermal.count)
        self._counts = {Stream.RGB.value: rgb.count, Stream.THERMAL.value: thermal.count}
        self._check = check
        self._pairing: RecordedPairing[RecordedImage] = RecordedPairing(self._streams, config)
        self.received = {stream.value: 0 for stream in Stream}
        self.refused: dict[str, Counter[str]] = {stream.value: Counter() for stream in Stream}
        self.last_refusal: dict[str, str] = {}
        self.pairs = 0
        self._read = False
        self._stamps = {stream: (array("q"), array("q")) for stream in Stream}

    def __enter__(self) -> DriveSource:
        """Return the open source."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the bag."""
        self._reader.close()

    def __iter__(self) -> Iterator[RecordedPair]:
        """Yield the pairs in the order in which the node would have made them."""
        messages = self._reader.messages(self._streams)
        for pair in self._pairing.pairs(messages, self._look):
            yield self._converted(pair)
        self._read = True

    @property
    def dropped(self) -> dict[str, Counter[str]]:
        """Images in no pair, by camera and reason."""
        return self._pairing.dropped

    @property
    def clock_jumps(self) -> int:
        """Number of times that the stamps went back by more than 1 s."""
        return self._pairing.pairer.clock_jumps

    @property
    def damage(self) -> str:
        """What could not be read; empty for an undamaged bag."""
        missing = [
            f"{count - self.received[stream]} of {count} {stream} images"
            for stream, count in self._counts.items()
            if self._read and self.received[stream] < count
        ]
        lost = [f"{' and '.join(missing)} cannot be read"] if missing else []
        found = [*self._reader.damage, *lost]
        return f"{self.summary.path}: {'; '.join(found)}" if found else ""

    def timing(self) -> dict[str, StreamTiming]:
        """Evaluate the stamps of both cameras that were read."""
        return {
            stream.value: stream_timing(stamps, arrivals, np.zeros(len(stamps), bool).tolist())
            for stream, (stamps, arrivals) in self._stamps.items()
        }

    def _look(self, stream: Stream, message: BagMessage) -> tuple[int, RecordedImage] | None:
        """Process one message as the node does, at its recording time."""
        number = self.received[stream.value]
        self.received[stream.value] += 1
        try:
            view, header = image_of(message, stream)
            unfit = self._check(stream, view)
        except ImageRefused as refusal:
            unfit = refusal
        if unfit is not None:
            self.refused[stream.value][unfit.reason.value] += 1
            self.last_refusal[stream.value] = str(unfit)
            return None
        stamp_ns = stamp_of(header)
        stamps, arrivals = self._stamps[stream]
        stamps.append(stamp_ns)
        arrivals.append(message.time_ns)
        return stamp_ns, RecordedImage(number, view, str(header.frame_id), message)

    def _converted(self, pair: Match[RecordedImage]) -> RecordedPair:
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
