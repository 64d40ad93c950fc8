# SPDX-License-Identifier: Apache-2.0
"""Reads a data set, reports its content and its defects, and draws a sheet of samples."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import cv2
import numpy as np

from segmif_ros.calibration.edge_shift import Shift, best_shift, large_enough, tile_scores
from segmif_ros.datasets.dataset import Dataset
from segmif_ros.datasets.sample import BACKGROUND, IGNORE, DatasetError, Sample
from segmif_ros.frames import Image8
from segmif_ros.render import Legend, SheetRow, contact_sheet, overlay, palette

OFF_PX = 2.0
"""Limit of the shift of a pair, pixels; small objects are a few pixels wide."""
_LEAST_PROMINENCE = 5.5
"""Least prominence of a conclusive pair; unrelated pictures reach 5.2 by chance."""
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Alignment:
    """Alignment by the edges of all measured pairs, in pixels of the RGB pictures.

    Attributes:
        measured: pairs that were read.
        conclusive: pairs with enough common edges to measure a shift; the other figures are of
            these, None without any.
        median_px: median of the RMS shift of thermal, rotation included.
        right_px: median shift of thermal to the right.
        down_px: median shift of thermal downwards.
        off_share: share of pairs off by more than `OFF_PX`.
        worst: names and shifts of the pairs with the largest shift.
    """

    measured: int
    conclusive: int
    median_px: float | None = None
    right_px: float | None = None
    down_px: float | None = None
    off_share: float | None = None
    worst: tuple[tuple[str, float], ...] = ()

    def to_json(self) -> Mapping[str, Any]:
        """Return plain values."""
        return {**asdict(self), "limit_px": OFF_PX}


def shift_of(sample: Sample) -> Shift | None:
    """Measure one pair (20 ms at 640x480); None if inconclusive."""
    if not large_enough((sample.rgb.shape[0], sample.rgb.shape[1])):
        return None
    shift = best_shift(tile_scores(sample.rgb, sample.thermal))
    return shift if shift.prominence >= _LEAST_PROMINENCE else None


def alignment_of(measured: Sequence[tuple[str, Shift | None]]) -> Alignment:
    """Summarise the shifts of pairs."""
    conclusive = [(name, shift) for name, shift in measured if shift is not None]
    if not conclusive:
        return Alignment(len(measured), 0)
    shifts = [shift for _, shift in conclusive]
    off = sorted(
        ((name, round(shift.rms_px, 2)) for name, shift in conclusive), key=lambda o: -o[1]
    )
    return Alignment(
        len(measured),
        len(conclusive),
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
        unknown: ids that the class list does not have -> names of the first pairs.
        blank: pairs in which one camera's picture has a single value.
        repeated: pairs with the RGB picture of another pair, with the name of that pair.
        alignment: shift between thermal and RGB.
        notes: remarks that are not errors.
    """

    kind: str
    root: str
    split: str | None
    labels: str
    pairs: int
    read: int
    splits: dict[str, int]
    when: dict[str, int]
    labelled: int
    sizes: dict[str, int]
    classes: tuple[ClassCount, ...]
    background: float
    ignored: float
    unpaired: tuple[str, ...]
    unreadable: list[str]
    unknown: dict[int, list[str]]
    blank: list[str]
    repeated: list[str]
    alignment: Alignment
    notes: tuple[str, ...]

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
    """Read a data set and report on it; memory does not grow with the number of pictures.

    Args:
        dataset: opened with `strict=False`, so that unknown ids are counted.
        limit: read at most so many pairs, evenly spread; all if None.
        measured: measure the alignment of at most so many, evenly spread.
        progress: called with 1 after every pair.
    """
    chosen = spread(len(dataset), limit)
    measure = {chosen[place] for place in spread(len(chosen), measured)}
    read = labelled = 0
    splits, when, sizes = Counter[str](), Counter[str](), Counter[str]()
    unreadable, blank, repeated = list[str](), list[str](), list[str]()
    unknown: dict[int, list[str]] = {}
    pixels, pairs_with = np.zeros((2, 256), np.int64)
    seen: dict[bytes, str] = {}
    shifts: list[tuple[str, Shift | None]] = []
    for index in chosen:
        entry = dataset[index]
        when[entry.when or "unknown"] += 1
        splits[entry.split] += 1
        labelled += entry.labelled
        try:
            sample = entry()
        except DatasetError as err:
            unreadable.append(str(err))
            progress(1)
            continue
        read += 1
        sizes[_size_of(sample)] += 1
        if sample.labels is not None:
            counts = np.bincount(sample.labels.ravel(), minlength=256)
            pixels += counts
            pairs_with += counts > 0
            for label in dataset.class_list.unknown_ids(sample.labels):
                unknown.setdefault(label, []).append(sample.name)
        if not sample.thermal.std() or not sample.rgb.std():
            blank.append(sample.name)
        else:
            digest = hashlib.blake2b(sample.rgb.tobytes(), digest_size=16).digest()
            other = seen.setdefault(digest, sample.name)
            if other != sample.name:
                repeated.append(f"{sample.name} is the same picture as {other}")
            if index in measure:
                shifts.append((sample.name, shift_of(sample)))
        progress(1)
    classes = dataset.class_list.classes
    total, in_classes = int(pixels.sum()), int(pixels[[label.id for label in classes]].sum())
    return DatasetReport(
        kind=dataset.kind,
        root=str(dataset.root),
        split=dataset.split,
        labels=dataset.labels,
        pairs=len(dataset),
        read=read,
        splits={name: count for name, count in splits.items() if name},
        when=dict(when),
        labelled=labelled,
        sizes=dict(sizes.most_common()),
        classes=tuple(
            ClassCount(c.id, c.name, _share(pixels[c.id], in_classes), int(pairs_with[c.id]))
            for c in classes
        ),
        background=_share(pixels[BACKGROUND], total),
        ignored=_share(pixels[IGNORE], total),
        unpaired=dataset.unpaired,
        unreadable=unreadable,
        unknown=dict(sorted(unknown.items())),
        blank=blank,
        repeated=repeated,
        alignment=alignment_of(shifts),
        notes=dataset.notes,
    )


def spread(count: int, limit: int | None) -> list[int]:
    """Return at most `limit` of the indices 0 to `count` - 1, evenly spread."""
    if limit is None or limit >= count:
        return list(range(count))
    return [int(place) for place in np.linspace(0, count - 1, max(limit, 0)).round()]


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
    """Draw evenly spread pairs; unreadable ones are left out.

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
