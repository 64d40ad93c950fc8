# SPDX-License-Identifier: Apache-2.0
"""Scenes of the virtual rig as an unlimited data set; the scene number is the seed."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import overload

import numpy as np

from segmif_ros.datasets.dataset import Dataset, Entry, Layout, no_split
from segmif_ros.datasets.labels import LabelReading
from segmif_ros.datasets.sample import DatasetError, Sample, When, rendered
from segmif_ros.frames import Image8, ThermalImage
from segmif_ros.outputs import written_aside

SEEDS = {
    "test": range(50_000),
    "val": range(50_000, 100_000),
    "train": range(100_000, 2**31),
}
"""Scene numbers of each split. Recipes draw from train; its odd scenes contain objects that
resemble people and cars."""

NAME = "rig"
"""Used instead of a path: the rig has no folder."""


def rig_pairs(seeds: Sequence[int], cache: Path | None = None) -> list[Callable[[], Sample]]:
    """Scenes of the virtual rig with true labels, one per seed, thermal through the node's code.

    Args:
        seeds: scene numbers.
        cache: folder for rendered scenes (0.2 s per new scene); None renders again in every run.
    """
    return [partial(_read, seed, cache, None, None) for seed in seeds]


def open_rig(root: Path, split: str | None, reading: LabelReading) -> Dataset:
    """Open all scenes of a split; of training and all others together without one.

    Raises:
        DatasetError: no such split.
    """
    if split is not None and split not in SEEDS:
        raise no_split(root, split, list(SEEDS))
    seeds = range(2**31) if split is None else SEEDS[split]
    scenes = RigScenes(seeds, reading, split or "")
    return Dataset("rig", root, split, reading.wanted, scenes, splits=tuple(SEEDS))


@dataclass(frozen=True, slots=True)
class RigScenes(Sequence[Entry]):
    """Entries made on access.

    Attributes:
        seeds: scene numbers.
        reading: class list of the labels.
        split: named in the entries.
        cache: as for `rig_pairs`.
    """

    seeds: range
    reading: LabelReading
    split: str = ""
    cache: Path | None = None

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> RigScenes: ...
    def __getitem__(self, index: int | slice) -> Entry | RigScenes:
        """Return one scene, or a part of the sequence."""
        if isinstance(index, slice):
            return RigScenes(self.seeds[index], self.reading, self.split, self.cache)
        seed = self.seeds[index]
        when = _time_of_day(seed)
        read = partial(_read, seed, self.cache, self.reading, when)
        return Entry(f"rig-{seed}", read, when, self.split, labelled=True)

    def __len__(self) -> int:
        """Return the number of scenes."""
        return len(self.seeds)

    def __iter__(self) -> Iterator[Entry]:
        """Go through the scenes without rendering them."""
        return (self[index] for index in range(len(self)))


def _time_of_day(seed: int) -> When | None:
    from segmif_ros.rig.draw.render import training_lighting
    from segmif_ros.rig.scene.lighting import Lighting

    lighting = training_lighting(seed)
    if lighting is Lighting.DUSK:
        return None
    return "night" if lighting is Lighting.NIGHT else "day"


def _read(seed: int, cache: Path | None, reading: LabelReading | None, when: When | None) -> Sample:
    rgb, counts, labels = _frame(seed, cache)
    if reading is not None:
        labels = reading.translate(labels, f"rig-{seed}")
    return Sample(rgb, rendered(counts), labels, f"rig-{seed}", when)


def _frame(seed: int, cache: Path | None) -> tuple[Image8, ThermalImage, Image8]:
    from segmif_ros.rig.draw.render import training_frame

    kept = None if cache is None else cache / f"{seed}.npz"
    if kept is not None and kept.is_file():
        try:
            with np.load(kept) as stored:
                return stored["rgb"], stored["thermal"], stored["labels"]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as err:
            raise DatasetError(f"{kept} is damaged ({err}); remove it, it is made again") from err
    fresh = training_frame(seed, distractors=seed in SEEDS["train"] and seed % 2 == 1)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        # Several training processes may share one folder.
        with written_aside(kept) as part:
            np.savez_compressed(part, rgb=fresh.rgb, thermal=fresh.thermal, labels=fresh.labels)
    return fresh.rgb, fresh.thermal, fresh.labels


RIG = Layout(
    "rig",
    f"no folder: the word {NAME!r} instead of a path",
    lambda root: str(root) == NAME and not root.exists(),
    open_rig,
    "fmb15",
)
