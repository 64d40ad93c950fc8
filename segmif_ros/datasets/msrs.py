# SPDX-License-Identifier: Apache-2.0
"""MSRS road pairs with human boxes and machine-made masks, merged into FMB's ids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from segmif_ros.datasets.dataset import Dataset, Entry
from segmif_ros.datasets.labels import LabelReading
from segmif_ros.datasets.layout import Layout, no_split, time_of_day
from segmif_ros.datasets.lists import listed
from segmif_ros.datasets.pictures import read_grey, read_rgb
from segmif_ros.datasets.sample import (
    BACKGROUND,
    BICYCLE,
    CAR,
    IGNORE,
    PERSON,
    DatasetError,
    Sample,
)
from segmif_ros.frames import Image8
from segmif_ros.metrics.boxes import Box

_BOX_CLASSES = {0: PERSON, 1: BICYCLE, 2: CAR}
_MFNET_TO_FMB = {1: CAR, 2: PERSON, 3: BICYCLE}
_CITY_CONFIDENCE = 153
"""Daylight pseudo labels count from a winning probability of 0.6 upwards."""


def msrs_pairs(root: Path, split: str) -> list[Callable[[], Sample]]:
    """Road pairs with human boxes and machine-made masks, as listed in `root/<split>.txt`."""
    return [_msrs_loader(root, name) for name in listed(root / f"{split}.txt")]


def msrs_labels(root: Path, name: str, size: tuple[int, int]) -> Image8:
    """Merge boxes, 9-class masks and daylight masks of one MSRS pair.

    Boxes are drawn by people and taken as complete: inside a box only its own class is believed,
    outside every box no mask may claim person, car or bicycle.
    """
    mfnet = read_grey(root / "mask_mfnet9" / f"{name}.png")
    labels = np.full(size, IGNORE, np.uint8)
    city_path = root / "mask_city" / f"{name}.png"
    if city_path.is_file():
        sure = read_grey(root / "mask_city" / f"{name}_conf.png") >= _CITY_CONFIDENCE
        labels = np.where(sure, read_grey(city_path), labels)
    boxed = np.zeros(size, bool)
    own: dict[int, NDArray[np.bool_]] = {}
    height, width = size
    for label, cx, cy, w, h in _drawn(root, name):
        rows = slice(max(0, int((cy - h / 2) * height)), int((cy + h / 2) * height) + 1)
        columns = slice(max(0, int((cx - w / 2) * width)), int((cx + w / 2) * width) + 1)
        own.setdefault(label, np.zeros(size, bool))[rows, columns] = True
        boxed[rows, columns] = True
    for label in (PERSON, CAR, BICYCLE):
        inside = own.get(label, np.zeros(size, bool))
        labels[(labels == label) & ~inside] = IGNORE
    foreign = boxed & ~np.isin(labels, (PERSON, CAR, BICYCLE))
    labels[foreign] = IGNORE
    for source, label in _MFNET_TO_FMB.items():
        claimed = (mfnet == source) & own.get(label, np.zeros(size, bool))
        labels[claimed] = label
    labels[(labels == IGNORE) & ~boxed & (mfnet == 0)] = BACKGROUND
    return labels


def msrs_boxes(root: Path, name: str, size: tuple[int, int]) -> tuple[Box, ...]:
    """Return what people drew boxes around in one pair, in FMB's ids and whole pixels.

    Raises:
        DatasetError: no file of boxes, or a damaged one.
    """
    height, width = size
    return tuple(
        Box(
            drawn.label,
            max(0, round((drawn.x - drawn.width / 2) * width)),
            max(0, round((drawn.y - drawn.height / 2) * height)),
            round((drawn.x + drawn.width / 2) * width),
            round((drawn.y + drawn.height / 2) * height),
        )
        for drawn in _drawn(root, name)
    )


def open_msrs(root: Path, split: str | None, reading: LabelReading) -> Dataset:
    """Open the pairs of one list, or of all lists.

    Raises:
        DatasetError: no such list, or no pairs.
    """
    lists = sorted(path.stem for path in root.glob("*.txt"))
    if split is not None and split not in lists:
        raise no_split(root, split, lists)
    entries, unpaired = [], []
    for part in lists if split is None else [split]:
        for name in listed(root / f"{part}.txt"):
            files = {
                "visible": root / "visible" / f"{name}.jpg",
                "infrared": root / "infrared" / f"{name}.png",
                "boxes": root / "boxes" / f"{name}.txt",
                "mask_mfnet9": root / "mask_mfnet9" / f"{name}.png",
            }
            missing = [folder for folder, file in files.items() if not file.is_file()]
            if missing:
                unpaired.append(f"{name}: not in {', '.join(missing)}")
            else:
                read = _entry_reader(root, name, reading)
                entries.append(Entry(name, read, time_of_day(name), part, labelled=True))
    if not entries:
        raise DatasetError(f"{root}: no pair of {' or '.join(lists)} is complete")
    return Dataset(
        "msrs", root, split, reading.wanted, entries, tuple(unpaired), splits=tuple(lists)
    )


def _entry_reader(root: Path, name: str, reading: LabelReading) -> Callable[[], Sample]:
    load = _msrs_loader(root, name)

    def read() -> Sample:
        sample = load()
        size = (sample.thermal.shape[0], sample.thermal.shape[1])
        boxes = tuple(
            replace(box, label=int(reading.table[box.label]))
            for box in msrs_boxes(root, name, size)
        )
        labels = None if sample.labels is None else reading.translate(sample.labels, name)
        return replace(sample, labels=labels, when=time_of_day(name), boxes=boxes)

    return read


def _msrs_loader(root: Path, name: str) -> Callable[[], Sample]:
    def load() -> Sample:
        rgb = read_rgb(root / "visible" / f"{name}.jpg")
        thermal = read_grey(root / "infrared" / f"{name}.png")
        return Sample(rgb, thermal, msrs_labels(root, name, thermal.shape), name)

    return load


class _Drawn(NamedTuple):
    """A line of a box file: FMB id, then centre and size as shares of the picture."""

    label: int
    x: float
    y: float
    width: float
    height: float


def _drawn(root: Path, name: str) -> list[_Drawn]:
    path = root / "boxes" / f"{name}.txt"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [[float(value) for value in line.split()[:5]] for line in lines]
        return [_Drawn(_BOX_CLASSES[int(row[0])], *row[1:]) for row in rows]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as err:
        raise DatasetError(
            f"{path} is missing or damaged ({err}); expected lines of class, cx, cy, width, height"
        ) from err


MSRS_BOXES = Layout(
    "msrs",
    "visible/, infrared/, boxes/ and mask_mfnet9/, with lists train.txt and val.txt",
    lambda root: all((root / name).is_dir() for name in ("visible", "boxes", "mask_mfnet9")),
    open_msrs,
    "fmb15",
)
