# SPDX-License-Identifier: Apache-2.0
"""The pairs of a bag, for the viewer: paired once by their stamps, read when they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from segmif_ros.frames import FramePair
from segmif_ros.images.compressed import decode
from segmif_ros.images.raw import VIEWS, ImageRefused, ImageView
from segmif_ros.pairing import Decisions, PairingConfig, Stream, StreamPairer
from segmif_ros.recordings.bags import IMAGE, BagError, BagReader, header_stamp_ns, message_types


class Place(NamedTuple):
    """Where a message lies: its topic, the time it was recorded, and its header stamp."""

    topic: str
    recorded_ns: int
    stamp_ns: int


@dataclass(frozen=True, slots=True)
class PlacedPair:
    """Where the two frames of a pair lie, and thermal minus RGB time after the offsets."""

    rgb: Place
    thermal: Place
    dt_ns: int


class BagPairs:
    """A `PairReader` over two image topics, raw or compressed, paired as in the node."""

    def __init__(
        self,
        path: Path,
        rgb_topic: str,
        thermal_topic: str,
        config: PairingConfig | None = None,
        progress: Callable[[int], Any] = lambda _: None,
    ) -> None:
        """Read all stamps and pair them.

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
        self._reader = BagReader(path)
        streams = {rgb_topic: Stream.RGB, thermal_topic: Stream.THERMAL}
        config = config or PairingConfig()
        try:
            self._pairs = self._paired(streams, StreamPairer(config), progress)
        except BagError:
            self._reader.close()
            raise
        if not self._pairs:
            self._reader.close()
            raise BagError(
                f"{path}: no pair on {rgb_topic} and {thermal_topic} within "
                f"{config.tolerance_ns / 1e6:g} ms; `segmif sync-check` tells the offset"
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

    def read(self, index: int) -> FramePair:
        """Read and convert both images.

        Raises:
            BagError: an image is malformed or of an encoding that is of no use here.
        """
        pair = self._pairs[index]
        rgb = self.image(pair.rgb, Stream.RGB).to_rgb()
        thermal = self.image(pair.thermal, Stream.THERMAL).to_thermal()
        return FramePair(rgb, thermal, pair.rgb.stamp_ns, pair.thermal.stamp_ns)

    def image(self, place: Place, stream: Stream) -> ImageView:
        """Return the pixels of one message.

        Args:
            place: where it lies.
            stream: which checks apply; mono8 results of the node pass those of the thermal camera.

        Raises:
            BagError: it is not there any more, or not an image of use.
        """
        near = self._reader.messages({place.topic}, place.recorded_ns, place.recorded_ns + 1)
        for message in near:
            if header_stamp_ns(message.cdr) != place.stamp_ns:
                continue
            image = message_types().deserialize_cdr(message.cdr, message.type)
            try:
                if message.type == IMAGE:
                    return VIEWS[stream.value](image)
                return decode(stream, image)
            except ImageRefused as err:
                raise BagError(f"{place.topic}: {err}") from err
        raise BagError(f"{place.topic}: no image with stamp {place.stamp_ns} any more; read again")

    def places(self, topics: dict[str, str]) -> dict[str, dict[int, Place]]:
        """Return, by name, where the messages of further image topics lie, by header stamp.

        Args:
            topics: topic -> name.

        Raises:
            BagError: the bag is damaged.
        """
        found: dict[str, dict[int, Place]] = {name: {} for name in topics.values()}
        for message in self._reader.messages(topics):
            stamp_ns = header_stamp_ns(message.cdr)
            place = Place(message.topic, message.time_ns, stamp_ns)
            found[topics[message.topic]][stamp_ns] = place
        return found

    def first_text(self, topic: str) -> str | None:
        """Return the text of the first std_msgs/String on a topic, None if there is none."""
        for message in self._reader.messages({topic}):
            return str(message_types().deserialize_cdr(message.cdr, message.type).data)
        return None

    def close(self) -> None:
        """Close the bag."""
        self._reader.close()

    def _paired(
        self,
        streams: dict[str, Stream],
        pairer: StreamPairer[Place],
        progress: Callable[[int], Any],
    ) -> list[PlacedPair]:
        pairs: list[PlacedPair] = []
        recorded_ns = 0

        def keep(decisions: Decisions[Place]) -> None:
            pairs.extend(
                PlacedPair(pair.rgb.payload, pair.thermal.payload, pair.dt_ns)
                for pair in decisions.pairs
            )

        for message in self._reader.messages(streams):
            recorded_ns, stamp_ns = message.time_ns, header_stamp_ns(message.cdr)
            place = Place(message.topic, recorded_ns, stamp_ns)
            keep(pairer.push(streams[message.topic], stamp_ns, place, arrival_ns=recorded_ns))
            progress(1)
        keep(pairer.tick(recorded_ns + 2 * pairer.config.max_wait_ns + 1))
        return pairs
