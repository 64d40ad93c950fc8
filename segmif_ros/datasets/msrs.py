# SPDX-License-Identifier: Apache-2.0
"""MSRS road pairs with human boxes and machine-made masks, merged into FMB's ids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segmif_ros.datasets.boxes import BoxClasses, read_boxes
from segmif_ros.datasets.dataset import Dataset, Entry
from segmif_ros.datasets.folders import paired
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

_BOX_CLASSES = BoxClasses({0: PERSON, 1: BICYCLE, 2: CAR}, "0 person, 1 bicycle, 2 car")
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
        confidence = root / "mask_city" / f"{name}_conf.png"
        if not confidence.is_file():
            raise DatasetError(
                f"{city_path} has no {confidence.name} beside it that says how sure it is"
            )
        sure = read_grey(confidence) >= _CITY_CONFIDENCE
        labels = np.where(sure, read_grey(city_path), labels)
    boxed = np.zeros(size, bool)
    own: dict[int, NDArray[np.bool_]] = {}
    for box in read_boxes(root / "boxes" / f"{name}.txt", size, _BOX_CLASSES):
        area = (slice(box.top, box.bottom + 1), slice(box.left, box.right + 1))
        own.setdefault(box.label, np.zeros(size, bool))[area] = True
        boxed[area] = True
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
            missing = [
                folder
                for folder in ("visible", "infrared", "mask_mfnet9")
                if not _picture(root, folder, name).is_file()
            ]
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
        labels = None if sample.labels is None else reading.translate(sample.labels, name)
        return replace(sample, labels=labels, when=time_of_day(name), machine_made=True)

    return read


def _msrs_loader(root: Path, name: str) -> Callable[[], Sample]:
    def load() -> Sample:
        rgb = read_rgb(_picture(root, "visible", name))
        thermal = read_grey(_picture(root, "infrared", name))
        return paired(rgb, thermal, msrs_labels(root, name, rgb.shape[:2]), name)

    return load


def _picture(root: Path, folder: str, name: str) -> Path:
    """Return the picture of a pair, PNG where there is none: MSRS goes about as PNG and as JPEG."""
    files = (root / folder / f"{name}{suffix}" for suffix in (".png", ".jpg", ".jpeg"))
    return next(filter(Path.is_file, files), root / folder / f"{name}.png")


MSRS_BOXES = Layout(
    "msrs",
    "visible/, infrared/, boxes/ and mask_mfnet9/, with lists train.txt and val.txt",
    lambda root: all((root / name).is_dir() for name in ("visible", "boxes", "mask_mfnet9")),
    open_msrs,
    "fmb15",
)
