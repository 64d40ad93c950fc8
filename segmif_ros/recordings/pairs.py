# SPDX-License-Identifier: Apache-2.0
"""Pairs the images of a bag by their stamps as the node does, on the clock of the recording."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from segmif_ros.frames import Pair
from segmif_ros.images.raw import ImageRefused, ImageView
from segmif_ros.pairing import SECOND, Decisions, Match, PairingConfig, Stream, StreamPairer
from segmif_ros.recordings.bags import (
    BagError,
    BagMessage,
    BagReader,
    header_stamp_ns,
    image_of,
    message_types,
)

Payload = TypeVar("Payload")

SAME_STAMP_NS = 5_000_000
"""Tolerance between label and image: their stamps are equal, but some tools round to 1 ms."""
_END = "end of the bag"
"""Drop reason of frames that still wait at the end."""


class Place(NamedTuple):
    """Position of a message: topic, recording time and header stamp."""

    topic: str
    recorded_ns: int
    stamp_ns: int


class RecordedPairing(Generic[Payload]):
    """Pairs recorded images in one pass.

    Attributes:
        dropped: images in no pair, by camera and reason. Some are normal: one camera may be
            faster, and one starts first.
        pairer: the node's pairing.
    """

    def __init__(self, streams: Mapping[str, Stream], config: PairingConfig) -> None:
        """Prepare.

        Args:
            streams: topic -> camera.
            config: offsets and tolerance.
        """
        self._streams = streams
        self.pairer: StreamPairer[Payload] = StreamPairer(config)
        self.dropped: dict[str, Counter[str]] = {stream.value: Counter() for stream in Stream}

    def pairs(
        self,
        messages: Iterable[BagMessage],
        look: Callable[[Stream, BagMessage], tuple[int, Payload] | None],
    ) -> Iterator[Match[Payload]]:
        """Yield the pairs in the order in which the node would have made them.

        Args:
            messages: of both cameras, in recording order.
            look: returns the stamp of a message and the payload of its pair, None for an
                unusable image.
        """
        last_ns = 0
        for message in messages:
            last_ns = max(last_ns, message.time_ns)
            stream = self._streams[message.topic]
            seen = look(stream, message)
            if seen is not None:
                pushed = self.pairer.push(stream, *seen, arrival_ns=message.time_ns)
                yield from self._decided(pushed)
        config = self.pairer.config
        end_ns = last_ns + config.max_wait_ns + config.tolerance_ns + SECOND
        yield from self._decided(self.pairer.tick(end_ns))
        for drop in self.pairer.reset().drops:
            self.dropped[drop.stream.value][_END] += 1

    def _decided(self, decisions: Decisions[Payload]) -> Iterator[Match[Payload]]:
        for drop in decisions.drops:
            self.dropped[drop.stream.value][drop.reason.value] += 1
        yield from decisions.pairs


@dataclass(frozen=True, slots=True)
class PlacedPair:
    """Positions of the two frames of a pair, and thermal minus RGB time after the offsets."""

    rgb: Place
    thermal: Place
    dt_ns: int


class BagPairs:
    """The pairs of two image topics, raw or compressed, read on access.

    Attributes:
        title: name of the bag.
        dropped: images in no pair, by camera and reason.
    """

    def __init__(
        self,
        path: Path,
        rgb_topic: str,
        thermal_topic: str,
        config: PairingConfig | None = None,
        progress: Callable[[int], Any] = lambda _: None,
    ) -> None:
        """Read all stamps and pair them, without decoding an image.

        Args:
            path: the bag.
            rgb_topic: visible camera.
            thermal_topic: thermal camera.
            config: offsets and tolerance, the node's defaults if None.
            progress: called with 1 after each image.

        Raises:
            BagError: the bag cannot be read, or nothing in it pairs.
        """
        self.title = path.resolve().name
        config = config or PairingConfig()
        streams = {rgb_topic: Stream.RGB, thermal_topic: Stream.THERMAL}
        pairing: RecordedPairing[Place] = RecordedPairing(streams, config)

        def look(_: Stream, message: BagMessage) -> tuple[int, Place] | None:
            progress(1)
            place = _place(message)
            return None if place is None else (place.stamp_ns, place)

        self._reader = BagReader(path)
        found = pairing.pairs(self._reader.messages(streams), look)
        self._pairs = [PlacedPair(p.rgb.payload, p.thermal.payload, p.dt_ns) for p in found]
        self.dropped = pairing.dropped
        if not self._pairs:
            self._reader.close()
            raise BagError(
                f"{path}: no pair of images on {rgb_topic} and {thermal_topic} with stamps within "
                f"{config.tolerance_ns / 1e6:g} ms; `segmif sync-check` measures the offset "
                "of their clocks"
            )

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self._pairs)

    def time_s(self, index: int) -> float:
        """Return the RGB stamp, seconds after the first pair's."""
        return (self._pairs[index].rgb.stamp_ns - self._pairs[0].rgb.stamp_ns) / 1e9

    def stamp_ns(self, index: int) -> int:
        """Return the RGB stamp."""
        return self._pairs[index].rgb.stamp_ns

    def caption(self, index: int) -> str:
        """Return time, stamp and time difference of a pair."""
        pair = self._pairs[index]
        return (
            f"{self.time_s(index):.2f} s, stamp {pair.rgb.stamp_ns / 1e9:.3f}, "
            f"thermal {pair.dt_ns / 1e6:+.1f} ms"
        )

    def read(self, index: int) -> Pair:
        """Read and convert both images.

        Raises:
            BagError: an image is malformed or of an unusable encoding.
        """
        pair = self._pairs[index]
        rgb = self.image(pair.rgb, Stream.RGB).to_rgb()
        thermal = self.image(pair.thermal, Stream.THERMAL).to_thermal()
        return Pair(rgb, thermal, pair.rgb.stamp_ns, pair.thermal.stamp_ns)

    def image(self, place: Place, stream: Stream | None) -> ImageView:
        """Return the pixels of one message.

        Args:
            place: its position.
            stream: which checks apply; None for pictures of class ids. The node's mono8 results
                pass those of the thermal camera.

        Raises:
            BagError: it is missing, or not a usable image.
        """
        near = self._reader.messages({place.topic}, place.recorded_ns, place.recorded_ns + 1)
        for message in near:
            if _place(message) == place:
                try:
                    return image_of(message, stream)[0]
                except ImageRefused as err:
                    raise BagError(f"{place.topic}: {err}") from err
        raise BagError(f"{place.topic}: no image with stamp {place.stamp_ns}; read again")

    def places(self, topics: Iterable[str]) -> dict[str, dict[int, Place]]:
        """Return the positions of messages of further image topics, by topic and header stamp."""
        found: dict[str, dict[int, Place]] = {topic: {} for topic in topics}
        for message in self._reader.messages(found):
            place = _place(message)
            if place is not None:
                found[place.topic][place.stamp_ns] = place
        return found

    def first_text(self, topic: str) -> str | None:
        """Return the text of the first std_msgs/String on a topic, None if there is none."""
        for message in self._reader.messages({topic}):
            return str(message_types().deserialize_cdr(message.cdr, message.type).data)
        return None

    def close(self) -> None:
        """Close the bag."""
        self._reader.close()


def nearest(sorted_stamps: Sequence[int], stamp_ns: int) -> int | None:
    """Return the index of the nearest of rising stamps, None without any."""
    at = bisect.bisect_left(sorted_stamps, stamp_ns)
    near = [index for index in (at - 1, at) if 0 <= index < len(sorted_stamps)]
    return min(near, key=lambda index: abs(sorted_stamps[index] - stamp_ns), default=None)


def _place(message: BagMessage) -> Place | None:
    """Return the position of a message; None if it has no header."""
    try:
        return Place(message.topic, message.time_ns, header_stamp_ns(message.cdr))
    except BagError:
        return None
