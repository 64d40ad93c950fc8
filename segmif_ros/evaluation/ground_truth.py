# SPDX-License-Identifier: Apache-2.0
"""Ground truth of a drive: label images on a topic, label pictures or boxes in a folder.

Pictures and box files are found by their names: the stamp of the RGB image in nanoseconds (or
seconds and nanoseconds with a dot, dash or underscore between them), or its number, counted from 0.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import cv2
import numpy as np

from segmif_ros.bundle import Bundle
from segmif_ros.datasets.boxes import NAMES_FILE, BoxClasses, read_boxes
from segmif_ros.datasets.sample import DatasetError
from segmif_ros.evaluation.settings import DriveSettings
from segmif_ros.frames import UNLABELLED, Image8
from segmif_ros.images.pictures import SUFFIXES, PictureError, read_labels
from segmif_ros.images.raw import ImageRefused
from segmif_ros.metrics.boxes import Box
from segmif_ros.recordings.bags import BagError, BagMessage, BagReader, header_stamp_ns, image_of
from segmif_ros.recordings.drive_source import RecordedPair
from segmif_ros.recordings.pairs import SAME_STAMP_NS

_SECOND = 1_000_000_000
_FUTURE_NS = 60 * _SECOND
"""Limit of a stamp after its recording time. Reading up to a wrong stamp would skip all other
labels."""
_HELD = 64
"""Label images in memory at most."""
_FIRST_STAMP = 10**12
"""Smaller numbers are image numbers: as a stamp, this is 17 minutes after the epoch."""
_PARTS = re.compile(r"^(\d{9,})[._-](\d{1,9})$")
_NUMBER = re.compile(r"(\d+)$")

Truth = TypeVar("Truth")


class LabelError(ValueError):
    """Unusable ground truth; the message names the file and the next step."""


class Labels(Protocol):
    """Finds the label image of a pair."""

    def of(self, pair: RecordedPair) -> Image8 | None:
        """Return HxW uint8 ids, None if this pair has none.

        Raises:
            LabelError: there is one, but it cannot be used.
        """
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


class TopicLabels:
    """Label images of a topic in the same bag, read beside the cameras'; in order of time."""

    def __init__(self, bag: Path, topic: str) -> None:
        """Open the bag once more."""
        # The reader of the cameras reports damage of the bag.
        self._reader = BagReader(bag, lambda _: None)
        self._messages = self._reader.messages([topic])
        self._held: deque[tuple[int, BagMessage]] = deque(maxlen=_HELD)
        self._misstamped = 0

    def of(self, pair: RecordedPair) -> Image8 | None:
        """See `Labels.of`."""
        self._read_up_to(pair.stamp_ns + SAME_STAMP_NS, pair.stamp_ns - pair.messages[0].time_ns)
        best = min(self._held, key=lambda held: abs(held[0] - pair.stamp_ns), default=None)
        if best is None or abs(best[0] - pair.stamp_ns) > SAME_STAMP_NS:
            if self._misstamped:
                self._misstamped -= 1
                raise LabelError("a label image has a stamp long after it was recorded")
            return None
        where = f"label image at {best[0]} ns"
        try:
            return ids_of(image_of(best[1], None)[0].to_thermal(), where)
        except ImageRefused as refusal:
            raise LabelError(f"{where}: {refusal}") from refusal

    def close(self) -> None:
        """See `Labels.close`."""
        self._reader.close()

    def _read_up_to(self, stamp_ns: int, clock_ns: int) -> None:
        """Read labels until one has this stamp; `clock_ns` is stamps minus recording times."""
        while not self._held or self._held[-1][0] < stamp_ns:
            message = next(self._messages, None)
            if message is None:
                return
            try:
                own_ns = header_stamp_ns(message.cdr)
            except BagError as err:
                raise LabelError(f"a label image on {message.topic}: {err}") from err
            if own_ns > message.time_ns + clock_ns + _FUTURE_NS:
                self._misstamped += 1
            else:
                self._held.append((own_ns, message))


class FolderTruth(Generic[Truth]):
    """Files of a folder, found by stamp or by number."""

    def __init__(
        self,
        folder: Path,
        suffixes: frozenset[str],
        read: Callable[[Path, RecordedPair], Truth],
    ) -> None:
        """List the folder.

        Args:
            folder: with a file for each image.
            suffixes: of these files.
            read: returns the content of a file for a pair.

        Raises:
            LabelError: no folder, no files, or names that say neither stamp nor number.
        """
        if not folder.is_dir():
            raise LabelError(f"{str(folder)!r} is no folder; give one with a file for each image")
        files = sorted(
            f for f in folder.iterdir() if f.suffix.lower() in suffixes and f.name != NAMES_FILE
        )
        keys = {key: file for file in files if (key := _key(file.stem)) is not None}
        if not keys:
            raise LabelError(
                f"{str(folder)!r} holds no file named after a stamp or a number "
                f"({len(files)} of type {', '.join(sorted(suffixes))}); name it "
                "1700000000123456789.png after the stamp of its RGB image, or 000012.png after "
                "its number from 0"
            )
        self._by_stamp = max(keys) >= _FIRST_STAMP
        self._files = keys
        self._stamps = np.array(sorted(keys), np.int64)
        self._read = read

    def of(self, pair: RecordedPair) -> Truth | None:
        """Return the ground truth of a pair, None if it has no file.

        Raises:
            LabelError: it cannot be used.
        """
        path = self._files.get(pair.number)
        if self._by_stamp:
            nearest = int(self._stamps[np.abs(self._stamps - pair.stamp_ns).argmin()])
            path = self._files[nearest] if abs(nearest - pair.stamp_ns) <= SAME_STAMP_NS else None
        try:
            return None if path is None else self._read(path, pair)
        except (DatasetError, PictureError) as err:
            raise LabelError(str(err)) from err

    def close(self) -> None:
        """Do nothing; no file is open."""


def ids_of(labels: Any, source: str) -> Image8:
    """Return ids as uint8; larger ids become unlabelled.

    Raises:
        LabelError: no image of whole numbers.
    """
    if labels.ndim != 2 or labels.dtype.kind != "u":
        raise LabelError(
            f"{source} has shape {labels.shape} and type {labels.dtype}, expected one channel of "
            "class ids in 8 or 16 bits"
        )
    if labels.dtype == np.uint8:
        return np.asarray(labels, np.uint8)
    return np.where(labels > UNLABELLED, UNLABELLED, labels).astype(np.uint8)


def at_size_of(labels: Image8, mask: Image8) -> Image8:
    """Return the mask at the size of the labels, where both have the same shape of picture.

    Raises:
        LabelError: another aspect ratio, so the alignment is unknown.
    """
    if labels.shape == mask.shape:
        return mask
    height, width = labels.shape
    wide, high = width * mask.shape[0], height * mask.shape[1]
    if abs(wide - high) > 0.01 * max(wide, high):
        raise LabelError(
            f"labels of {width}x{height} pixels for images of {mask.shape[1]}x{mask.shape[0]}: "
            "another shape; label the RGB images themselves, or crop both alike"
        )
    return np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def _key(stem: str) -> int | None:
    parts = _PARTS.match(stem)
    if parts is not None:
        seconds, fraction = parts.groups()
        return int(seconds) * _SECOND + int(fraction.ljust(9, "0") if "." in stem else fraction)
    number = _NUMBER.search(stem)
    return int(number.group(1)) if number and int(number.group(1)) < 2**63 else None


def open_truth(
    settings: DriveSettings, path: Path, bundle: Bundle
) -> tuple[Labels | None, FolderTruth[tuple[Box, ...]] | None]:
    """Open the ground truth of one bag; for several bags, a subfolder with the name of the bag.

    Raises:
        LabelError: a folder is unusable.
        DatasetError: the name of a box class is not a class of the model.
    """
    labels: Labels | None = None
    if settings.label_topic:
        labels = TopicLabels(path, settings.label_topic)
    elif settings.labels:
        folder = _own_folder(Path(settings.labels), path)
        labels = FolderTruth(folder, SUFFIXES, lambda file, _: ids_of(read_labels(file), str(file)))
    boxes = None
    if settings.boxes:
        folder, classes = _own_folder(Path(settings.boxes), path), box_classes(settings, bundle)
        boxes = FolderTruth(
            folder,
            frozenset({".txt"}),
            lambda file, pair: read_boxes(file, pair.rgb.shape[:2], classes),
        )
    return labels, boxes


def _own_folder(folder: Path, bag: Path) -> Path:
    own = folder / (bag.stem if bag.is_file() else bag.name)
    return own if own.is_dir() else folder


def box_classes(settings: DriveSettings, bundle: Bundle) -> BoxClasses:
    """Return the translation of ids in box files to the model's; the same ids without names.

    Raises:
        DatasetError: a name that is no class of the model.
    """
    classes = bundle.manifest.classes
    if settings.box_classes:
        return BoxClasses.named(settings.box_classes, classes, bundle.manifest.name)
    told = f"the ids of model {bundle.manifest.name!r} (0 to {len(classes) - 1})"
    return BoxClasses({label.id: label.id for label in classes}, told)
