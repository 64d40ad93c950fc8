# SPDX-License-Identifier: Apache-2.0
"""MSRS road pairs with human boxes and machine-made masks, merged into FMB's ids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from segmif_ros.datasets.belief import msrs_labels
from segmif_ros.datasets.boxes import BoxClasses, read_boxes
from segmif_ros.datasets.dataset import Dataset, Entry, Layout, listed, lists_of, time_of_day
from segmif_ros.datasets.folders import paired
from segmif_ros.datasets.labels import LabelReading
from segmif_ros.datasets.sample import (
    BACKGROUND,
    BICYCLE,
    CAR,
    IGNORE,
    PERSON,
    VAGUE,
    DatasetError,
    Sample,
    read_grey,
    read_rgb,
)

_BOX_CLASSES = BoxClasses({0: PERSON, 1: BICYCLE, 2: CAR}, "0 person, 1 bicycle, 2 car")


def msrs_pairs(root: Path, split: str) -> list[Callable[[], Sample]]:
    """Road pairs with human boxes and machine-made masks, as listed in `root/<split>.txt`."""
    return [partial(_read, root, name) for name in listed(root / f"{split}.txt")]


def open_msrs(root: Path, split: str | None, reading: LabelReading) -> Dataset:
    """Open the pairs of one list, or of all lists.

    Raises:
        DatasetError: no such list, or no pairs.
    """
    lists = lists_of(root, split)
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
                read = partial(_translated, root, name, reading)
                entries.append(Entry(name, read, time_of_day(name), part, labelled=True))
    if not entries:
        raise DatasetError(f"{root}: no pair of {' or '.join(lists)} is complete")
    return Dataset(
        "msrs", root, split, reading.wanted, entries, tuple(unpaired), splits=tuple(lists)
    )


def _translated(root: Path, name: str, reading: LabelReading) -> Sample:
    sample = _read(root, name)
    labels = sample.labels
    if labels is not None:
        # Only training uses exclusions of classes inside a box.
        partly = (labels >= VAGUE) & (labels < BACKGROUND)
        labels = reading.translate(np.where(partly, IGNORE, labels).astype(np.uint8), name)
    # `boxes.with_boxes` adds the boxes in the requested class list.
    return replace(sample, labels=labels, when=time_of_day(name), machine_made=True, boxes=None)


def _read(root: Path, name: str) -> Sample:
    rgb = read_rgb(_picture(root, "visible", name))
    thermal = read_grey(_picture(root, "infrared", name))
    size = (rgb.shape[0], rgb.shape[1])
    boxes = read_boxes(root / "boxes" / f"{name}.txt", size, _BOX_CLASSES)
    pair = paired(rgb, thermal, msrs_labels(root, name, size, boxes), name)
    return replace(pair, boxes=boxes)


def _picture(root: Path, folder: str, name: str) -> Path:
    """Return the PNG or JPEG file of a pair (MSRS exists as both), the PNG name if neither."""
    files = (root / folder / f"{name}{suffix}" for suffix in (".png", ".jpg", ".jpeg"))
    return next(filter(Path.is_file, files), root / folder / f"{name}.png")


MSRS_BOXES = Layout(
    "msrs",
    "visible/, infrared/, boxes/ and mask_mfnet9/, with lists train.txt and val.txt",
    lambda root: all((root / name).is_dir() for name in ("visible", "boxes", "mask_mfnet9")),
    open_msrs,
    "fmb15",
)
