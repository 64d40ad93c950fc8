# SPDX-License-Identifier: Apache-2.0
"""Registered pairs with whatever labels there are, as plain arrays."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.frames import Image8, ThermalImage
from segmif_ros.thermal import ThermalNormaliser, ThermalSettings

IGNORE = 255
"""Nothing is known about this pixel."""
BACKGROUND = 254
"""Known to be neither person nor car nor bicycle, otherwise unknown."""

PERSON, CAR, BICYCLE = 8, 9, 13
_BOX_CLASSES = {0: PERSON, 1: BICYCLE, 2: CAR}
_MFNET_TO_FMB = {1: CAR, 2: PERSON, 3: BICYCLE}
_BLOCK = 8
_CITY_CONFIDENCE = 153
"""Daylight pseudo labels count from a winning probability of 0.6 upwards."""


class DatasetError(ValueError):
    """A data set is not where or what the recipe says; the message names the path."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One registered pair.

    Attributes:
        rgb: HxWx3 uint8.
        thermal: HxW uint8.
        labels: HxW uint8 FMB ids, 255 ignore, 254 background; None for pairs without labels.
        name: where it came from.
    """

    rgb: Image8
    thermal: Image8
    labels: Image8 | None
    name: str


def cached(loaders: Sequence[Callable[[], Sample]]) -> list[Callable[[], Sample]]:
    """Keep every decoded sample in memory (1.5 MB a VGA pair) after its first use."""
    return [functools.cache(load) for load in loaders]


Source = Sequence[Callable[[], Sample]]
"""A data set is a list of loaders, so that only what a batch needs is decoded."""


def folder_pairs(root: Path) -> list[Callable[[], Sample]]:
    """Unlabelled pairs under `root/visible` and `root/infrared`, matched by relative stem.

    Raises:
        DatasetError: a folder is missing or nothing matches.
    """
    visible = _images(root / "visible")
    infrared = _images(root / "infrared")
    common = sorted(visible.keys() & infrared.keys())
    if not common:
        raise DatasetError(f"{root}: no pair; expected equal names under visible/ and infrared/")
    return [_loader(visible[stem], infrared[stem], None) for stem in common]


def msrs_pairs(root: Path, split: str) -> list[Callable[[], Sample]]:
    """Road pairs with human boxes and machine-made masks, as listed in `root/<split>.txt`."""
    listing = root / f"{split}.txt"
    if not listing.is_file():
        raise DatasetError(f"{listing} is missing; the split list belongs to the data set")
    names = [line.strip() for line in listing.read_text().splitlines() if line.strip()]
    return [_msrs_loader(root, Path(name).stem) for name in names]


def held_out(count: int, every: int) -> list[int]:
    """Return the places that a recipe keeps from training.

    Neighbouring pairs of a drive are nearly the same picture, so whole blocks are kept.

    Args:
        count: pairs in the order of the drive.
        every: of the blocks of 8, each n-th is kept; 0 keeps none.
    """
    return [i for i in range(count) if every and (i // _BLOCK) % every == every - 1]


def msrs_labels(root: Path, name: str, size: tuple[int, int]) -> Image8:
    """Merge boxes, 9-class masks and daylight masks of one MSRS pair.

    Boxes are drawn by people and taken as complete: inside a box only its own class is believed,
    outside every box no mask may claim person, car or bicycle.
    """
    mfnet = _read_grey(root / "mask_mfnet9" / f"{name}.png")
    labels = np.full(size, IGNORE, np.uint8)
    city_path = root / "mask_city" / f"{name}.png"
    if city_path.is_file():
        sure = _read_grey(root / "mask_city" / f"{name}_conf.png") >= _CITY_CONFIDENCE
        labels = np.where(sure, _read_grey(city_path), labels)
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
        rgb = _read_rgb(root / "visible" / f"{name}.jpg")
        thermal = _read_grey(root / "infrared" / f"{name}.png")
        return Sample(rgb, thermal, msrs_labels(root, name, thermal.shape), name)

    return load


def rig_pairs(seeds: Sequence[int], cache: Path | None = None) -> list[Callable[[], Sample]]:
    """Scenes of the virtual rig with true labels, one per seed, thermal through the node's code.

    Args:
        seeds: scene numbers.
        cache: folder that keeps what was rendered (0.2 s a new scene); None renders
            again in every run.
    """
    from segmif_ros.rig.sampling import training_frame

    def frame(seed: int) -> tuple[Image8, ThermalImage, Image8]:
        kept = None if cache is None else cache / f"{seed}.npz"
        if kept is not None and kept.is_file():
            with np.load(kept) as stored:
                return stored["rgb"], stored["thermal"], stored["labels"]
        fresh = training_frame(seed)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            part = kept.with_suffix(".part.npz")
            np.savez_compressed(part, rgb=fresh.rgb, thermal=fresh.thermal, labels=fresh.labels)
            part.replace(kept)
        return fresh.rgb, fresh.thermal, fresh.labels

    def loader(seed: int) -> Callable[[], Sample]:
        def load() -> Sample:
            rgb, counts, labels = frame(seed)
            thermal = ThermalNormaliser(ThermalSettings()).normalise(counts)
            return Sample(rgb, thermal, labels, f"rig-{seed}")

        return load

    return [loader(seed) for seed in seeds]


def _loader(visible: Path, infrared: Path, labels: Path | None) -> Callable[[], Sample]:
    def load() -> Sample:
        rgb, thermal = _read_rgb(visible), _read_grey(infrared)
        if rgb.shape[:2] != thermal.shape:
            raise DatasetError(
                f"{visible} is {rgb.shape[:2]} and {infrared} is {thermal.shape}; "
                "registered pairs have equal size"
            )
        return Sample(rgb, thermal, None if labels is None else _read_grey(labels), visible.stem)

    return load


def _images(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DatasetError(f"folder {folder} is missing")
    suffixes = {".png", ".jpg", ".jpeg", ".bmp"}
    return {
        str(path.relative_to(folder).with_suffix("")): path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in suffixes
    }


def _read_rgb(path: Path) -> Image8:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise DatasetError(f"{path} is missing or no picture")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _read_grey(path: Path) -> Image8:
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise DatasetError(f"{path} is missing or no picture")
    return np.asarray(image, np.uint8)
