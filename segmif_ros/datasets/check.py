# SPDX-License-Identifier: Apache-2.0
"""Reads a data set, reports its content and its defects, and draws a sheet of samples."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import cv2
import numpy as np

from segmif_ros.calibration.edge_shift import Shift, best_shift, large_enough, tile_scores
from segmif_ros.datasets.classes import ClassList
from segmif_ros.datasets.dataset import Dataset
from segmif_ros.datasets.sample import BACKGROUND, IGNORE, DatasetError, Sample
from segmif_ros.frames import Image8
from segmif_ros.render import Legend, SheetRow, contact_sheet, overlay, palette

OFF_PX = 2.0
"""A pair that is further off than this counts as off; small objects are a few pixels wide."""
_LEAST_PROMINENCE = 5.5
"""A single pair is conclusive from here; pairs of different places reach 5.2 by chance."""
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Alignment:
    """Alignment by the edges of all measured pairs, in pixels of the RGB pictures.

    Attributes:
        measured: pairs that were read.
        told: pairs with enough common edges to measure a shift; the rest of the numbers is of
            these, and None where there are none.
        median_px: median of how far thermal is off, a turn included.
        right_px: median shift of thermal to the right.
        down_px: median shift of thermal downwards.
        off_share: share of pairs off by more than `OFF_PX`.
        worst: names and pixels of the pairs that are furthest off.
    """

    measured: int
    told: int
    median_px: float | None = None
    right_px: float | None = None
    down_px: float | None = None
    off_share: float | None = None
    worst: tuple[tuple[str, float], ...] = ()

    def to_json(self) -> Mapping[str, Any]:
        """Return plain values."""
        return {**asdict(self), "limit_px": OFF_PX}


class AlignmentStatistic:
    """Measures pair by pair; keeps a few numbers of each."""

    def __init__(self) -> None:
        self._measured = 0
        self._told: list[tuple[str, Shift]] = []

    def add(self, sample: Sample) -> None:
        """Measure one pair (20 ms at 640x480); pairs that are too small are inconclusive."""
        self._measured += 1
        size = (sample.rgb.shape[0], sample.rgb.shape[1])
        if not large_enough(size):
            return
        shift = best_shift(tile_scores(sample.rgb, sample.thermal))
        if shift.prominence >= _LEAST_PROMINENCE:
            self._told.append((sample.name, shift))

    def result(self) -> Alignment:
        """Return what was found so far."""
        shifts = [shift for _, shift in self._told]
        if not shifts:
            return Alignment(self._measured, 0)
        off = sorted(
            ((name, round(shift.rms_px, 2)) for name, shift in self._told),
            key=lambda item: -item[1],
        )
        return Alignment(
            self._measured,
            len(shifts),
            round(median(shift.rms_px for shift in shifts), 2),
            round(median(shift.dx for shift in shifts), 2),
            round(median(shift.dy for shift in shifts), 2),
            round(sum(shift.rms_px > OFF_PX for shift in shifts) / len(shifts), 4),
            tuple(item for item in off[:_NAMED] if item[1] > OFF_PX),
        )


@dataclass(frozen=True, slots=True)
class ClassCount:
    """How often a class occurs.

    Attributes:
        id: in the labels.
        name: of the class.
        share: of all labelled pixels with a class, 0 to 1.
        pairs: with at least one such pixel.
    """

    id: int
    name: str
    share: float
    pairs: int


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """What a check found.

    Attributes:
        kind: of the layout.
        root: where it is.
        split: the part that was read, None for all.
        labels: class list of the labels.
        pairs: in the data set.
        read: pairs that were read.
        splits: pairs read by split, empty where there are none.
        when: pairs read by day, night and unknown.
        labelled: pairs read that come with labels.
        sizes: pairs read by "WIDTHxHEIGHT", with the size of the thermal picture where it differs.
        classes: every class of the list, in the order of their ids.
        background: share of labelled pixels with 254, see `sample.BACKGROUND`.
        ignored: share of labelled pixels with 255.
        unpaired: files without their counterpart.
        unreadable: pairs that could not be read, with the reason.
        unknown: pairs by id that the class list has not; "id" -> names of the first ones.
        blank: pairs in which one camera's picture has a single value.
        repeated: pairs whose RGB picture another pair has as well, with that one's name.
        alignment: how well the pairs lie on each other.
        notes: remarks that are no faults.
    """

    kind: str
    root: str
    split: str | None
    labels: str
    pairs: int
    read: int
    splits: Mapping[str, int]
    when: Mapping[str, int]
    labelled: int
    sizes: Mapping[str, int]
    classes: tuple[ClassCount, ...]
    background: float
    ignored: float
    unpaired: tuple[str, ...]
    unreadable: tuple[str, ...]
    unknown: Mapping[int, tuple[str, ...]]
    blank: tuple[str, ...]
    repeated: tuple[str, ...]
    alignment: Alignment
    notes: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """True if nothing is unpaired, unreadable or of an unknown class."""
        return not (self.unpaired or self.unreadable or self.unknown)

    def to_json(self) -> Mapping[str, Any]:
        """Return plain values."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return {
            "sound": self.sound,
            **fields,
            "classes": [
                {"id": c.id, "name": c.name, "share": c.share, "pairs": c.pairs}
                for c in self.classes
            ],
            "unknown": {str(label): list(names) for label, names in self.unknown.items()},
            "alignment": self.alignment.to_json(),
        }


class DatasetChecker:
    """Takes in the pairs of one data set; memory does not grow with the pictures."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._sizes: Counter[str] = Counter()
        self._pixels = np.zeros(256, np.int64)
        self._pairs_with = np.zeros(256, np.int64)
        self._unknown: dict[int, list[str]] = {}
        self._unreadable: list[str] = []
        self._blank: list[str] = []
        self._repeated: list[str] = []
        self._seen: dict[bytes, str] = {}
        self._alignment = AlignmentStatistic()
        self._splits: Counter[str] = Counter()
        self._when: Counter[str] = Counter()
        self._labelled = self._read = 0

    def add(self, index: int, *, measure: bool) -> Sample | None:
        """Read one pair and count it.

        Args:
            index: in the data set, which was opened with `strict=False`.
            measure: also measure how well the pair is aligned.

        Returns:
            The pair; None if it cannot be read, which is counted.
        """
        entry = self._dataset[index]
        self._when[entry.when or "unknown"] += 1
        self._labelled += entry.labelled
        if entry.split:
            self._splits[entry.split] += 1
        try:
            sample = entry()
        except DatasetError as err:
            self._unreadable.append(str(err))
            return None
        self._read += 1
        self._sizes[_size_of(sample)] += 1
        if sample.labels is not None:
            self._count(sample.name, sample.labels)
        if not sample.thermal.std() or not sample.rgb.std():
            self._blank.append(sample.name)
            return sample
        self._compare(sample)
        if measure:
            self._alignment.add(sample)
        return sample

    def report(self) -> DatasetReport:
        """Return what was found."""
        dataset = self._dataset
        known = [label.id for label in dataset.class_list.classes]
        total, in_classes = int(self._pixels.sum()), int(self._pixels[known].sum())
        return DatasetReport(
            kind=dataset.kind,
            root=str(dataset.root),
            split=dataset.split,
            labels=dataset.labels,
            pairs=len(dataset),
            read=self._read,
            splits=dict(self._splits),
            when=dict(self._when),
            labelled=self._labelled,
            sizes=dict(self._sizes.most_common()),
            classes=_counts(dataset.class_list, self._pixels, self._pairs_with, in_classes),
            background=_share(int(self._pixels[BACKGROUND]), total),
            ignored=_share(int(self._pixels[IGNORE]), total),
            unpaired=dataset.unpaired,
            unreadable=tuple(self._unreadable),
            unknown={label: tuple(names) for label, names in sorted(self._unknown.items())},
            blank=tuple(self._blank),
            repeated=tuple(self._repeated),
            alignment=self._alignment.result(),
            notes=dataset.notes,
        )

    def _compare(self, sample: Sample) -> None:
        digest = hashlib.blake2b(sample.rgb.tobytes(), digest_size=16).digest()
        other = self._seen.setdefault(digest, sample.name)
        if other != sample.name:
            self._repeated.append(f"{sample.name} is the same picture as {other}")

    def _count(self, name: str, labels: Any) -> None:
        counts = np.bincount(labels.ravel(), minlength=256)
        self._pixels += counts
        self._pairs_with += counts > 0
        for label in self._dataset.class_list.unknown_ids(labels):
            self._unknown.setdefault(label, []).append(name)


def check_dataset(
    dataset: Dataset,
    *,
    limit: int | None = None,
    measured: int = 200,
    progress: Callable[[int], Any] = lambda _: None,
) -> DatasetReport:
    """Read a data set and report on it.

    Args:
        dataset: opened with `strict=False`, so that unknown ids are counted.
        limit: read at most so many pairs, evenly spread; all if None.
        measured: measure the alignment of at most so many, evenly spread.
        progress: called with 1 after every pair.
    """
    checker = DatasetChecker(dataset)
    chosen = spread(len(dataset), limit)
    measure = {chosen[place] for place in spread(len(chosen), measured)}
    for index in chosen:
        checker.add(index, measure=index in measure)
        progress(1)
    return checker.report()


def spread(count: int, limit: int | None) -> list[int]:
    """Return at most `limit` of the places 0 to `count` - 1, evenly spread."""
    if limit is None or limit >= count:
        return list(range(count))
    return [int(place) for place in np.linspace(0, count - 1, max(limit, 0)).round()]


def _counts(classes: ClassList, pixels: Any, pairs_with: Any, total: int) -> tuple[ClassCount, ...]:
    return tuple(
        ClassCount(
            label.id,
            label.name,
            _share(int(pixels[label.id]), total),
            int(pairs_with[label.id]),
        )
        for label in classes.classes
    )


def _size_of(sample: Sample) -> str:
    height, width = sample.rgb.shape[:2]
    if sample.thermal_size is None:
        return f"{width}x{height}"
    return f"{width}x{height}, thermal {sample.thermal_size[1]}x{sample.thermal_size[0]}"


def _share(part: int, total: int) -> float:
    return round(part / total, 6) if total else 0.0


COLUMNS = ("Visible", "Thermal", "Labels on visible", "Thermal edges on visible")
_EDGE = (255, 64, 32)
_CAPTION = 15


def draw_sheet(dataset: Dataset, *, pairs: int = 6, pane_width: int = 300) -> Image8:
    """Draw evenly spread pairs; such that cannot be read are left out.

    Args:
        dataset: any.
        pairs: at most so many.
        pane_width: pixels.

    Returns:
        HxWx3 uint8 RGB.

    Raises:
        DatasetError: none of these pairs can be read.
    """
    rows, present = [], set[int]()
    reason = ""
    table = palette(dataset.class_list.classes)
    for index in spread(min(len(dataset), 10_000), pairs):
        try:
            sample = dataset[index]()
        except DatasetError as err:
            reason = str(err)
            continue
        if sample.labels is not None:
            present.update(np.unique(sample.labels).tolist())
        rows.append(_row(sample, table))
    if not rows:
        raise DatasetError(f"no pair can be drawn: {reason or 'the data set is empty'}")
    part = f", {dataset.split}" if dataset.split else ""
    return contact_sheet(
        rows,
        Legend(dataset.class_list.classes, present),
        title=f"{dataset.root.name}{part}",
        subtitle=f"{dataset.kind}, {len(dataset)} pairs, labels {dataset.labels}",
        columns=COLUMNS,
        pane_width=pane_width,
    )


def _row(sample: Sample, table: Image8) -> SheetRow:
    grey = cv2.GaussianBlur(sample.thermal, (0, 0), 1.5)
    edges = cv2.Canny(np.asarray(grey, np.uint8), 20, 60)
    marked = sample.rgb // 2 + 40
    marked[cv2.dilate(edges, np.ones((2, 2), np.uint8)) > 0] = _EDGE
    labels = sample.rgb // 3
    if sample.labels is not None:
        ids = np.where(sample.labels < 254, sample.labels, np.uint8(255))
        labels = overlay(sample.rgb, np.asarray(ids, np.uint8), table, 0.65)
    name = sample.name
    lines = [name[at : at + _CAPTION] for at in range(0, min(len(name), 4 * _CAPTION), _CAPTION)]
    caption = (*lines, sample.when or "")
    return SheetRow((sample.rgb, sample.thermal, labels, marked), caption)
