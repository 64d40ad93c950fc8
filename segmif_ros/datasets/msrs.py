# SPDX-License-Identifier: Apache-2.0
"""MSRS road pairs with human boxes and machine-made masks, merged into FMB's ids."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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

_BOX_CLASSES = {0: PERSON, 1: BICYCLE, 2: CAR}
_MFNET_TO_FMB = {1: CAR, 2: PERSON, 3: BICYCLE}
_CITY_CONFIDENCE = 153
"""Daylight pseudo labels count from a winning probability of 0.6 upwards."""


def msrs_pairs(root: Path, split: str) -> list[Callable[[], Sample]]:
    """Road pairs with human boxes and machine-made masks, as listed in `root/<split>.txt`."""
    listing = root / f"{split}.txt"
    if not listing.is_file():
        raise DatasetError(f"{listing} is missing; the split list belongs to the data set")
    names = [line.strip() for line in listing.read_text().splitlines() if line.strip()]
    return [_msrs_loader(root, Path(name).stem) for name in names]


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
    for line in (root / "boxes" / f"{name}.txt").read_text().splitlines():
        kind, cx, cy, w, h = (float(v) for v in line.split()[:5])
        rows = slice(max(0, int((cy - h / 2) * height)), int((cy + h / 2) * height) + 1)
        columns = slice(max(0, int((cx - w / 2) * width)), int((cx + w / 2) * width) + 1)
        label = _BOX_CLASSES[int(kind)]
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


def _msrs_loader(root: Path, name: str) -> Callable[[], Sample]:
    def load() -> Sample:
        rgb = read_rgb(root / "visible" / f"{name}.jpg")
        thermal = read_grey(root / "infrared" / f"{name}.png")
        return Sample(rgb, thermal, msrs_labels(root, name, thermal.shape), name)

    return load
