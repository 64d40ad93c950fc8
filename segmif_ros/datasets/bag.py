# SPDX-License-Identifier: Apache-2.0
"""A rosbag2 as a data set: pairs by stamp as the node makes them, labels from a topic."""

from __future__ import annotations

import bisect
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from segmif_ros.datasets.dataset import Dataset, Entry
from segmif_ros.datasets.labels import LabelReading
from segmif_ros.datasets.layout import Layout, no_split
from segmif_ros.datasets.pictures import rendered
from segmif_ros.datasets.sample import DatasetError, Sample
from segmif_ros.evaluation.ground_truth import label_view
from segmif_ros.frames import Image8
from segmif_ros.images.compressed import decode
from segmif_ros.images.raw import ImageRefused, ImageView, view_rgb, view_thermal
from segmif_ros.pairing import PairingConfig, Stream, StreamPairer
from segmif_ros.recordings.bags import (
    COMPRESSED_IMAGE,
    IMAGE,
    BagError,
    BagReader,
    BagSummary,
    header_stamp_ns,
    is_bag,
    message_types,
)
from segmif_ros.recordings.camera_topics import camera_topics, require_topic
from segmif_ros.registration import Geometry, Registration, RegistrationError

_LABEL_NAME = re.compile(r"label[^/]*(/compressed)?$", re.I)
"""A mask that the node recorded is an answer, no truth: it must be asked for by its name."""


@dataclass(frozen=True, slots=True)
class BagReading:
    """What to take from a bag.

    Attributes:
        rgb_topic: told by names and encodings if None.
        thermal_topic: as `rgb_topic`.
        label_topic: mono8 images, raw or as PNG, with the stamps of the RGB images; if None the
            only topic whose name ends in "label..." or, without one, no labels.
        calibration: thermal to RGB geometry; None for pairs that are registered already.
        pairing: how far apart the stamps of a pair may be.
    """

    rgb_topic: str | None = None
    thermal_topic: str | None = None
    label_topic: str | None = None
    calibration: Geometry | None = None
    pairing: PairingConfig = field(default_factory=PairingConfig)


_SAME_NS = 5_000_000
"""Label and image of one moment have the same stamp; some tools round it to milliseconds."""


class Place(NamedTuple):
    """Where a message is: its topic, when it was recorded, and the stamp in its header."""

    topic: str
    time_ns: int
    stamp_ns: int


def open_bag(
    root: Path, split: str | None, reading: LabelReading, how: BagReading | None = None
) -> Dataset:
    """Pair the images of a bag by their stamps, without decoding one.

    Raises:
        DatasetError: no readable bag, cameras that cannot be told apart, or no pairs.
    """
    if split is not None:
        raise no_split(root, split, [])
    how = how or BagReading()
    try:
        with BagReader(root) as reader:
            summary = reader.summary()
            kinds = (IMAGE, COMPRESSED_IMAGE)
            rgb, thermal = camera_topics(summary, how.rgb_topic, how.thermal_topic, types=kinds)
            labels = _label_topic(summary, how.label_topic)
            topics = {rgb.name, thermal.name, *([labels] if labels else [])}
            places = [
                Place(message.topic, message.time_ns, header_stamp_ns(message.cdr))
                for message in reader.messages(topics)
            ]
    except BagError as err:
        raise DatasetError(str(err)) from err
    truth = _Truth([place for place in places if place.topic == labels])
    streams = {rgb.name: Stream.RGB, thermal.name: Stream.THERMAL}
    pairs, alone = _paired([p for p in places if p.topic in streams], streams, how.pairing)
    if not pairs:
        raise DatasetError(
            f"{root}: no images on {rgb.name} and {thermal.name} with stamps within "
            f"{how.pairing.tolerance_ns / 1e6:g} ms; record both cameras with one clock"
        )
    try:
        registration = Registration(how.calibration)
    except RegistrationError as err:
        raise DatasetError(f"{root}: {err}") from err
    entries = []
    for one, other in pairs:
        label = truth.take(one.stamp_ns)
        name = f"{root.name}/{one.stamp_ns}"
        read = _reader(root, name, (one, other, label), reading, registration)
        entries.append(Entry(name, read, None, "", label is not None))
    notes = [f"{reason}: {count}" for reason, count in sorted(alone.items())]
    if truth.left:
        notes.append(f"label images with the stamp of no pair: {truth.left}")
    return Dataset("bag", root, None, reading.wanted, entries, (), tuple(notes))


class _Truth:
    """Label images by their stamp; each belongs to one pair."""

    def __init__(self, places: list[Place]) -> None:
        self._places = sorted(places, key=lambda place: place.stamp_ns)
        self._stamps = [place.stamp_ns for place in self._places]
        self._taken: set[int] = set()

    def take(self, stamp_ns: int) -> Place | None:
        at = bisect.bisect_left(self._stamps, stamp_ns)
        near = [i for i in (at - 1, at) if 0 <= i < len(self._stamps) and i not in self._taken]
        best = min(near, key=lambda i: abs(self._stamps[i] - stamp_ns), default=None)
        if best is None or abs(self._stamps[best] - stamp_ns) > _SAME_NS:
            return None
        self._taken.add(best)
        return self._places[best]

    @property
    def left(self) -> int:
        return len(self._places) - len(self._taken)


def _label_topic(summary: BagSummary, wanted: str | None) -> str | None:
    if wanted is not None:
        return require_topic(summary, wanted, (IMAGE, COMPRESSED_IMAGE)).name
    named = [t for t in summary.topics if t.count > 0 and _LABEL_NAME.search(t.name)]
    raw = [topic.name for topic in named if topic.type == IMAGE]
    found = raw or [topic.name for topic in named if topic.type == COMPRESSED_IMAGE]
    if len(found) > 1:
        raise DatasetError(f"{summary.path} has several topics of labels: {', '.join(found)}")
    return found[0] if found else None


def _paired(
    places: list[Place], streams: dict[str, Stream], config: PairingConfig
) -> tuple[list[tuple[Place, Place]], Counter[str]]:
    """Pairs in order of time, and how many images of which camera are in none, with the reason.

    That is no fault: one camera may be faster, and the first one to start is alone for a while.
    """
    pairer: StreamPairer[Place] = StreamPairer(config)
    decided = [
        pairer.push(streams[place.topic], place.stamp_ns, place, arrival_ns=place.time_ns)
        for place in places
    ]
    if places:
        end_ns = places[-1].time_ns + config.max_wait_ns + config.tolerance_ns + 1
        decided += [pairer.tick(end_ns), pairer.reset()]
    alone = Counter(
        f"{drop.stream.value} images in no pair, {drop.reason.value}"
        for decisions in decided
        for drop in decisions.drops
    )
    pairs = [pair for decisions in decided for pair in decisions.pairs]
    return [(pair.rgb.payload, pair.thermal.payload) for pair in pairs], alone


def _reader(
    root: Path,
    name: str,
    places: tuple[Place, Place, Place | None],
    reading: LabelReading,
    registration: Registration,
) -> Callable[[], Sample]:
    def load() -> Sample:
        try:
            with BagReader(root) as reader:
                rgb = _image(reader, places[0], Stream.RGB).to_rgb()
                counts = _image(reader, places[1], Stream.THERMAL).to_thermal()
                label = places[2]
                ids = None if label is None else _image(reader, label, None).to_thermal()
            size = (rgb.shape[0], rgb.shape[1])
            thermal: Image8 = registration.apply(rendered(counts), size)
        except (BagError, ImageRefused, RegistrationError) as err:
            raise DatasetError(f"{name}: {err}") from err
        if ids is not None:
            if ids.shape != size or ids.dtype != "uint8":
                raise DatasetError(
                    f"{name}: labels of {ids.shape} {ids.dtype}, RGB image of {size}; expected "
                    "ids of 8 bits for every RGB pixel"
                )
            ids = reading.translate(ids, name)
        return Sample(rgb, thermal, ids, name)

    return load


def _image(reader: BagReader, place: Place, stream: Stream | None) -> ImageView:
    """Return one image; labels have no stream.

    Raises:
        BagError: the bag is damaged, or has changed.
        ImageRefused: the image is of no use.
    """
    for message in reader.messages({place.topic}, place.time_ns, place.time_ns + 1):
        if header_stamp_ns(message.cdr) != place.stamp_ns:
            continue
        try:
            raw: Any = message_types().deserialize_cdr(message.cdr, message.type)
        except Exception as err:
            # Bytes that are no message make the generated reader raise anything.
            raise BagError(f"an image on {place.topic} cannot be read: {err!r}") from err
        if stream is None:
            return label_view(raw)
        if message.type == COMPRESSED_IMAGE:
            return decode(stream, raw)
        return view_rgb(raw) if stream is Stream.RGB else view_thermal(raw)
    raise BagError(f"no image on {place.topic} with stamp {place.stamp_ns} any more")


BAG = Layout(
    "bag",
    "a rosbag2 folder (metadata.yaml), or a .mcap or .db3 file",
    is_bag,
    open_bag,
    None,
)
