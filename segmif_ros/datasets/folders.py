# SPDX-License-Identifier: Apache-2.0
"""Pairs as files of equal names: FMB, MSRS, PST900, your own; and MFNet's in four channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segmif_ros.datasets.belief import street_labels
from segmif_ros.datasets.dataset import Dataset, Entry, Layout, listed, no_split, time_of_day
from segmif_ros.datasets.labels import LabelReading
from segmif_ros.datasets.sample import (
    DatasetError,
    Sample,
    When,
    images,
    read_four,
    read_rgb,
    read_thermal,
)
from segmif_ros.frames import Image8
from segmif_ros.registration import Registration

SPLITS = ("train", "val", "test", "trainval", "valid", "validation", "testing", "training")
"""Subfolders that are taken as parts of one data set."""


@dataclass(frozen=True, slots=True)
class FolderNames:
    """How a data set calls its folders.

    Attributes:
        visible: folder of RGB pictures.
        infrared: folder of thermal pictures.
        labels: folder of label pictures.
        complete: every pair is supposed to have labels.
        dated: names or folders say day or night.
    """

    visible: str
    infrared: str
    labels: str
    complete: bool = True
    dated: bool = False

    def here(self, folder: Path) -> bool:
        """Return whether the folders lie directly there."""
        return (folder / self.visible).is_dir() and (folder / self.infrared).is_dir()

    def parts(self, root: Path) -> tuple[str, ...]:
        """Return the subfolders train, test, ... that have the folders in them."""
        return tuple(part for part in SPLITS if self.here(root / part))


def folder_layout(kind: str, names: FolderNames, labels: str | None) -> Layout:
    """Return the reader of data sets whose folders have these names."""
    optional = "" if names.complete else " (optional)"
    expects = (
        f"{names.visible}/, {names.infrared}/ and {names.labels}/{optional} with equal file names, "
        "directly (splits by lists train.txt, ...) or in each of train/, val/, test/"
    )

    def open_folders(root: Path, split: str | None, reading: LabelReading) -> Dataset:
        whole = names.here(root)
        lists = sorted(path.stem for path in root.glob("*.txt"))
        parts = tuple(lists) if whole else names.parts(root)
        if split is not None and split not in parts:
            raise no_split(root, split, parts)
        if whole:
            wanted = None if split is None else listed(root / f"{split}.txt")
            entries, unpaired = _pairs(root, "", names, reading, wanted)
        else:
            each = [
                _pairs(root, part, names, reading) for part in (parts if split is None else [split])
            ]
            entries = [entry for found, _ in each for entry in found]
            unpaired = [text for _, alone in each for text in alone]
        if not entries:
            raise DatasetError(
                f"{root}: no pair; expected equal names under {names.visible}/ and "
                f"{names.infrared}/"
            )
        return Dataset(kind, root, split, reading.wanted, entries, tuple(unpaired), splits=parts)

    return Layout(
        kind,
        expects,
        lambda root: names.here(root) or bool(names.parts(root)),
        open_folders,
        labels,
    )


def folder_pairs(root: Path) -> list[Callable[[], Sample]]:
    """Pairs under `root/visible` and `root/infrared`, matched by relative stem.

    Labels are those of the street teachers (`mask_street/`, `mask_own/`), where there are any.

    Raises:
        DatasetError: a folder is missing or nothing matches.
    """
    visible = images(root / "visible")
    infrared = images(root / "infrared")
    common = sorted(visible.keys() & infrared.keys())
    if not common:
        raise DatasetError(f"{root}: no pair; expected equal names under visible/ and infrared/")
    return [
        _with_street_labels(
            root, stem, pair_reader(visible[stem], infrared[stem], None, None, name=Path(stem).name)
        )
        for stem in common
    ]


def _with_street_labels(root: Path, stem: str, read: Callable[[], Sample]) -> Callable[[], Sample]:
    def load() -> Sample:
        sample = read()
        return replace(sample, labels=street_labels(root, stem, sample.thermal.shape[:2]))

    return load


def pair_reader(
    visible: Path,
    infrared: Path,
    labels: Path | None,
    reading: LabelReading | None,
    *,
    name: str,
    when: When | None = None,
) -> Callable[[], Sample]:
    """Return a loader of one pair of files, labels where there are any."""

    def load() -> Sample:
        rgb, thermal = read_rgb(visible), read_thermal(infrared)
        ids = None if labels is None or reading is None else reading.read(labels)
        if ids is not None and labels is not None:
            check_sizes(rgb.shape[:2], visible, ids.shape, labels)
        return paired(rgb, thermal, ids, name, when)

    return load


def paired(
    rgb: Image8, thermal: Image8, labels: Image8 | None, name: str, when: When | None = None
) -> Sample:
    """Scale a registered thermal picture of another size onto RGB, as the node does."""
    size, own = rgb.shape[:2], (thermal.shape[0], thermal.shape[1])
    if own == size:
        return Sample(rgb, thermal, labels, name, when)
    scaled = Registration().apply(thermal, (size[0], size[1]))
    return Sample(rgb, scaled, labels, name, when, thermal_size=own)


def check_sizes(one: tuple[int, ...], a: Path, other: tuple[int, ...], b: Path) -> None:
    """Compare two (height, width).

    Raises:
        DatasetError: they differ.
    """
    if one != other:
        raise DatasetError(f"{a} is {one} and {b} is {other}; labels are drawn on the RGB picture")


def _pairs(
    root: Path,
    split: str,
    names: FolderNames,
    reading: LabelReading,
    wanted: Sequence[str] | None = None,
) -> tuple[list[Entry], list[str]]:
    """Entries and what has no counterpart; in the order of `wanted`, of names if None."""
    base = root / split
    visible, infrared = images(base / names.visible), images(base / names.infrared)
    there = (base / names.labels).is_dir()
    labels = images(base / names.labels) if there else {}
    entries, unpaired = [], []
    everything = visible.keys() | infrared.keys() | labels.keys()
    for stem in sorted(everything) if wanted is None else wanted:
        name = f"{split}/{stem}" if split else stem
        missing = [
            folder
            for folder, files in ((names.visible, visible), (names.infrared, infrared))
            if stem not in files
        ]
        if names.complete and stem not in labels:
            missing.append(names.labels)
        if missing:
            unpaired.append(f"{name}: not in {', '.join(missing)}")
        if stem in visible and stem in infrared:
            when = time_of_day(stem) if names.dated else None
            read = pair_reader(
                visible[stem], infrared[stem], labels.get(stem), reading, name=name, when=when
            )
            entries.append(Entry(name, read, when, split, stem in labels))
    return entries, unpaired


FMB = folder_layout("fmb", FolderNames("Visible", "Infrared", "Label"), "fmb15")
MSRS = folder_layout("msrs", FolderNames("vi", "ir", "Segmentation_labels", dated=True), "mfnet9")
PST900 = folder_layout("pst900", FolderNames("rgb", "thermal", "labels"), "pst900")
FOLDER = folder_layout(
    "folder", FolderNames("visible", "infrared", "labels", complete=False, dated=True), None
)


def open_mfnet(root: Path, split: str | None, reading: LabelReading) -> Dataset:
    """Open the pairs of one list, or all pictures that there are.

    Raises:
        DatasetError: no such list, or no pictures.
    """
    pictures, labels = images(root / "images"), images(root / "labels")
    lists = sorted(path.stem for path in root.glob("*.txt"))
    if split is not None and split not in lists:
        raise no_split(root, split, lists)
    wanted = sorted(pictures.keys() | labels.keys())
    if split is not None:
        wanted = listed(root / f"{split}.txt")
    entries, unpaired = [], []
    for name in wanted:
        missing = [
            folder
            for folder, files in (("images", pictures), ("labels", labels))
            if name not in files
        ]
        if missing:
            unpaired.append(f"{name}: not in {', '.join(missing)}")
        if name in pictures:
            when = time_of_day(name)
            read = _reader(pictures[name], labels.get(name), reading, name, when)
            entries.append(Entry(name, read, when, split or "", name in labels))
    if not entries:
        raise DatasetError(
            f"{root}: no pair"
            + (f" of {split}.txt" if split else "")
            + "; expected pictures of four channels under images/"
        )
    return Dataset(
        "mfnet", root, split, reading.wanted, entries, tuple(unpaired), splits=tuple(lists)
    )


def _reader(
    picture: Path, labels: Path | None, reading: LabelReading, name: str, when: When | None
) -> Callable[[], Sample]:
    def load() -> Sample:
        rgb, thermal = read_four(picture)
        ids = None if labels is None else reading.read(labels)
        if ids is not None and labels is not None:
            check_sizes(thermal.shape, picture, ids.shape, labels)
        return Sample(rgb, thermal, ids, name, when)

    return load


MFNET = Layout(
    "mfnet",
    "images/ with pictures of four channels (RGB and thermal), labels/, and lists train.txt, "
    "val.txt, test.txt, test_day.txt, ...",
    lambda root: (root / "images").is_dir() and (root / "labels").is_dir(),
    open_mfnet,
    "mfnet9",
)
