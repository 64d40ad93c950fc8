# SPDX-License-Identifier: Apache-2.0
"""Reads a data set, reports its content and its defects, and draws a sheet of samples."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
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


def shift_of(sample: Sample) -> Shift | None:
    """Measure one pair (20 ms at 640x480); None where it is inconclusive."""
    if not large_enough((sample.rgb.shape[0], sample.rgb.shape[1])):
        return None
    shift = best_shift(tile_scores(sample.rgb, sample.thermal))
    return shift if shift.prominence >= _LEAST_PROMINENCE else None


def alignment_of(measured: Sequence[tuple[str, Shift | None]]) -> Alignment:
    """Sum up the names and shifts of pairs."""
    told = [(name, shift) for name, shift in measured if shift is not None]
    if not told:
        return Alignment(len(measured), 0)
    shifts = [shift for _, shift in told]
    off = sorted(((name, round(shift.rms_px, 2)) for name, shift in told), key=lambda o: -o[1])
    return Alignment(
        len(measured),
        len(told),
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


@dataclass(slots=True)
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
    read: int = 0
    splits: dict[str, int] = field(default_factory=dict)
    when: dict[str, int] = field(default_factory=dict)
    labelled: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    classes: tuple[ClassCount, ...] = ()
    background: float = 0.0
    ignored: float = 0.0
    unpaired: tuple[str, ...] = ()
    unreadable: list[str] = field(default_factory=list)
    unknown: dict[int, list[str]] = field(default_factory=dict)
    blank: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    alignment: Alignment = field(default_factory=lambda: Alignment(0, 0))
    notes: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """True if nothing is unpaired, unreadable or of an unknown class."""
        return not (self.unpaired or self.unreadable or self.unknown)

    def to_json(self) -> Mapping[str, Any]:
        """Return plain values."""
        return {"sound": self.sound, **asdict(self), "alignment": self.alignment.to_json()}


def check_dataset(
    dataset: Dataset,
    *,
    limit: int | None = None,
    measured: int = 200,
    progress: Callable[[int], Any] = lambda _: None,
) -> DatasetReport:
    """Read a data set and report on it; memory does not grow with the pictures.

    Args:
        dataset: opened with `strict=False`, so that unknown ids are counted.
        limit: read at most so many pairs, evenly spread; all if None.
        measured: measure the alignment of at most so many, evenly spread.
        progress: called with 1 after every pair.
    """
    chosen = spread(len(dataset), limit)
    measure = {chosen[place] for place in spread(len(chosen), measured)}
    report = DatasetReport(
        dataset.kind, str(dataset.root), dataset.split, dataset.labels, len(dataset)
    )
    report.unpaired, report.notes = dataset.unpaired, dataset.notes
    splits, when, sizes = Counter[str](), Counter[str](), Counter[str]()
    pixels, pairs_with = np.zeros((2, 256), np.int64)
    seen: dict[bytes, str] = {}
    shifts: list[tuple[str, Shift | None]] = []
    for index in chosen:
        entry = dataset[index]
        when[entry.when or "unknown"] += 1
        splits[entry.split] += 1
        report.labelled += entry.labelled
        try:
            sample = entry()
        except DatasetError as err:
            report.unreadable.append(str(err))
            progress(1)
            continue
        report.read += 1
        sizes[_size_of(sample)] += 1
        if sample.labels is not None:
            counts = np.bincount(sample.labels.ravel(), minlength=256)
            pixels += counts
            pairs_with += counts > 0
            for label in dataset.class_list.unknown_ids(sample.labels):
                report.unknown.setdefault(label, []).append(sample.name)
        if not sample.thermal.std() or not sample.rgb.std():
            report.blank.append(sample.name)
        else:
            digest = hashlib.blake2b(sample.rgb.tobytes(), digest_size=16).digest()
            other = seen.setdefault(digest, sample.name)
            if other != sample.name:
                report.repeated.append(f"{sample.name} is the same picture as {other}")
            if index in measure:
                shifts.append((sample.name, shift_of(sample)))
        progress(1)
    report.splits, report.when = {k: n for k, n in splits.items() if k}, dict(when)
    report.sizes, report.unknown = dict(sizes.most_common()), dict(sorted(report.unknown.items()))
    report.alignment = alignment_of(shifts)
    _count(report, dataset.class_list, pixels, pairs_with)
    return report


def spread(count: int, limit: int | None) -> list[int]:
    """Return at most `limit` of the places 0 to `count` - 1, evenly spread."""
    if limit is None or limit >= count:
        return list(range(count))
    return [int(place) for place in np.linspace(0, count - 1, max(limit, 0)).round()]


def _count(report: DatasetReport, classes: ClassList, pixels: Any, pairs_with: Any) -> None:
    """Put the shares of all ids into a report."""
    known = [label.id for label in classes.classes]
    total, in_classes = int(pixels.sum()), int(pixels[known].sum())
    report.classes = tuple(
        ClassCount(c.id, c.name, _share(pixels[c.id], in_classes), int(pairs_with[c.id]))
        for c in classes.classes
    )
    report.background = _share(pixels[BACKGROUND], total)
    report.ignored = _share(pixels[IGNORE], total)


def _size_of(sample: Sample) -> str:
    height, width = sample.rgb.shape[:2]
    if sample.thermal_size is None:
        return f"{width}x{height}"
    return f"{width}x{height}, thermal {sample.thermal_size[1]}x{sample.thermal_size[0]}"


def _share(part: Any, total: int) -> float:
    return round(int(part) / total, 6) if total else 0.0


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
