# SPDX-License-Identifier: Apache-2.0
"""A rosbag2 as a data set: pairs by stamp as the node makes them, labels from a topic."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock

from segmif_ros.datasets.dataset import Dataset, Entry, Layout, no_split
from segmif_ros.datasets.labels import LabelReading
from segmif_ros.datasets.sample import DatasetError, Sample, rendered
from segmif_ros.frames import Image8
from segmif_ros.pairing import PairingConfig
from segmif_ros.recordings.bags import IMAGES, BagError, BagSummary, is_bag, summarize
from segmif_ros.recordings.pairs import SAME_STAMP_NS, BagPairs, Place, nearest
from segmif_ros.recordings.topics import camera_of, camera_topics, require_topic
from segmif_ros.registration import Geometry, Registration, RegistrationError

_LABEL_NAME = re.compile(r"label[^/]*(/compressed)?$", re.I)
"""A mask that the node recorded is no ground truth: it must be named explicitly."""


@dataclass(frozen=True, slots=True)
class BagReading:
    """Topics, calibration and pairing for a bag.

    Attributes:
        rgb_topic: chosen by names and encodings if None.
        thermal_topic: as `rgb_topic`.
        label_topic: mono8 images, raw or as PNG, with the stamps of the RGB images; if None the
            only topic whose name ends in "label..." or, without one, no labels.
        calibration: thermal to RGB geometry; None for pairs that are registered already.
        pairing: offsets and tolerance.
    """

    rgb_topic: str | None = None
    thermal_topic: str | None = None
    label_topic: str | None = None
    calibration: Geometry | None = None
    pairing: PairingConfig = field(default_factory=PairingConfig)


def open_bag(
    root: Path, split: str | None, reading: LabelReading, how: BagReading | None = None
) -> Dataset:
    """Pair the images of a bag by their stamps, without decoding one.

    Raises:
        DatasetError: no readable bag, cameras that cannot be identified, or no pairs.
    """
    if split is not None:
        raise no_split(root, split, [])
    opened = OpenedBag(root, how or BagReading())
    lock, entries = Lock(), []
    for index in range(len(opened.pairs)):
        name = f"{root.name}/{opened.pairs.stamp_ns(index)}"
        read = partial(_read, opened, lock, index, name, reading)
        entries.append(Entry(name, read, None, "", opened.labels[index] is not None))
    return Dataset("bag", root, None, reading.wanted, entries, (), tuple(opened.notes))


class OpenedBag:
    """A bag whose images are paired, and its labels.

    Attributes:
        pairs: positions of the images.
        registration: warps thermal onto RGB.
        labels: position of the labels of each pair, None for a pair without.
        notes: remarks that are not errors.
    """

    def __init__(self, root: Path, how: BagReading) -> None:
        """Pair the images by their stamps, without decoding one.

        Raises:
            DatasetError: no readable bag, cameras that cannot be identified, or no pairs.
        """
        try:
            summary = summarize(root)
            topic = _label_topic(summary, how.label_topic)
            others = [topic] if topic else []
            rgb, thermal = camera_topics(summary, how.rgb_topic, how.thermal_topic, others=others)
            self.pairs = BagPairs(root, rgb.name, thermal.name, how.pairing)
            self.registration = Registration(how.calibration)
        except BagError as err:
            raise DatasetError(str(err)) from err
        except RegistrationError as err:
            raise DatasetError(f"{root}: {err}") from err
        truth = self.pairs.places(others)[topic] if topic else {}
        left, self.labels = sorted(truth), list[Place | None]()
        for index in range(len(self.pairs)):
            stamp_ns = self.pairs.stamp_ns(index)
            at = nearest(left, stamp_ns)
            if at is None or abs(left[at] - stamp_ns) > SAME_STAMP_NS:
                self.labels.append(None)
            else:
                self.labels.append(truth[left.pop(at)])
        self.notes = [
            f"{stream} images in no pair, {reason}: {count}"
            for stream, reasons in sorted(self.pairs.dropped.items())
            for reason, count in sorted(reasons.items())
        ]
        if left:
            self.notes.append(f"label images with the stamp of no pair: {len(left)}")
        self.notes += [*summary.notes, *summary.damage]

    def labels_at(self, index: int, size: tuple[int, int]) -> Image8 | None:
        """Read the ids of a pair as they are in the bag.

        Raises:
            BagError: it cannot be read, or is no picture of ids of this (height, width).
        """
        place = self.labels[index]
        if place is None:
            return None
        ids = self.pairs.image(place, None).to_thermal()
        if ids.shape != size or ids.dtype != "uint8":
            raise BagError(
                f"labels of {ids.shape} {ids.dtype}, RGB image of {size}; expected ids of 8 bits "
                "for every RGB pixel"
            )
        return ids

    def close(self) -> None:
        """Close the bag."""
        self.pairs.close()


def _label_topic(summary: BagSummary, wanted: str | None) -> str | None:
    if wanted is not None:
        return require_topic(summary, wanted).name
    named = [t for t in summary.of_type(*IMAGES) if t.count > 0 and _LABEL_NAME.search(t.name)]
    # The raw topic if a mask is both raw and compressed.
    found = {camera_of(t.name): t.name for t in sorted(named, key=lambda t: t.type)}
    if len(found) > 1:
        raise DatasetError(f"{summary.path} has several topics of labels: {', '.join(found)}")
    return next(iter(found.values()), None)


def _read(opened: OpenedBag, lock: Lock, index: int, name: str, reading: LabelReading) -> Sample:
    try:
        with lock:
            rgb, counts = opened.pairs.read(index).arrays()
            size = (rgb.shape[0], rgb.shape[1])
            ids = opened.labels_at(index, size)
        thermal: Image8 = opened.registration.apply(rendered(counts), size)
    except (BagError, RegistrationError) as err:
        raise DatasetError(f"{name}: {err}") from err
    return Sample(rgb, thermal, None if ids is None else reading.translate(ids, name), name)


BAG = Layout(
    "bag",
    "a rosbag2 folder (metadata.yaml), or a .mcap or .db3 file",
    is_bag,
    open_bag,
    None,
)
