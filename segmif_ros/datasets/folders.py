# SPDX-License-Identifier: Apache-2.0
"""Pairs as files of equal names: FMB, MSRS, PST900, your own; and MFNet's in four channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from segmif_ros.datasets.belief import street_labels
from segmif_ros.datasets.dataset import (
    Dataset,
    Entry,
    Layout,
    listed,
    lists_of,
    no_split,
    time_of_day,
)
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
"""Names of subfolders that are splits of one data set."""


@dataclass(frozen=True, slots=True)
class FolderNames:
    """Names of the folders of a data set.

    Attributes:
        visible: folder of RGB pictures.
        infrared: folder of thermal pictures.
        labels: folder of label pictures.
        complete: every pair is supposed to have labels.
        dated: names or folders contain day or night.
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
        """Return the subfolders train, test, ... that contain these folders."""
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

    Labels are those of the street teachers (`mask_street/`, `mask_own/`), if any.

    Raises:
        DatasetError: a folder is missing or nothing matches.
    """
    visible = images(root / "visible")
    infrared = images(root / "infrared")
    common = sorted(visible.keys() & infrared.keys())
    if not common:
        raise DatasetError(f"{root}: no pair; expected equal names under visible/ and infrared/")
    return [
        partial(_with_street_labels, root, stem, (visible[stem], infrared[stem])) for stem in common
    ]


def _with_street_labels(root: Path, stem: str, files: tuple[Path, ...]) -> Sample:
    sample = _read_pair(files, None, None, Path(stem).name, None)
    return replace(sample, labels=street_labels(root, stem, sample.thermal.shape[:2]))


def _read_pair(
    files: tuple[Path, ...],
    labels: Path | None,
    reading: LabelReading | None,
    name: str,
    when: When | None,
) -> Sample:
    """Read RGB and thermal, or one picture of four channels, and labels if any."""
    if len(files) == 1:
        rgb, thermal = read_four(files[0])
    else:
        rgb, thermal = read_rgb(files[0]), read_thermal(files[1])
    ids = None if labels is None or reading is None else reading.read(labels)
    if ids is not None and ids.shape != rgb.shape[:2]:
        raise DatasetError(
            f"{files[0]} is {rgb.shape[:2]} and {labels} is {ids.shape}; labels are drawn on the "
            "RGB picture"
        )
    return paired(rgb, thermal, ids, name, when)


def paired(
    rgb: Image8, thermal: Image8, labels: Image8 | None, name: str, when: When | None = None
) -> Sample:
    """Scale a registered thermal picture of another size onto RGB, as the node does."""
    size, own = rgb.shape[:2], (thermal.shape[0], thermal.shape[1])
    if own == size:
        return Sample(rgb, thermal, labels, name, when)
    scaled = Registration().apply(thermal, (size[0], size[1]))
    return Sample(rgb, scaled, labels, name, when, thermal_size=own)


def _pairs(
    root: Path,
    split: str,
    names: FolderNames,
    reading: LabelReading,
    wanted: Sequence[str] | None = None,
) -> tuple[list[Entry], list[str]]:
    """Entries and unpaired files, in the order of `wanted`; sorted by name if None."""
    base = root / split
    cameras = {folder: images(base / folder) for folder in (names.visible, names.infrared)}
    labels = images(base / names.labels) if (base / names.labels).is_dir() else {}
    marked = {names.labels: labels}
    everything = sorted(set().union(*cameras.values(), labels)) if wanted is None else wanted
    entries, unpaired = [], []
    for stem in everything:
        name = f"{split}/{stem}" if split else stem
        needed = {**cameras, **(marked if names.complete else {})}
        missing = [folder for folder, files in needed.items() if stem not in files]
        if missing:
            unpaired.append(f"{name}: not in {', '.join(missing)}")
        if all(stem in files for files in cameras.values()):
            when = time_of_day(stem) if names.dated else None
            found = tuple(files[stem] for files in cameras.values())
            read = partial(_read_pair, found, labels.get(stem), reading, name, when)
            entries.append(Entry(name, read, when, split, stem in labels))
    return entries, unpaired


FMB = folder_layout("fmb", FolderNames("Visible", "Infrared", "Label"), "fmb15")
MSRS = folder_layout("msrs", FolderNames("vi", "ir", "Segmentation_labels", dated=True), "mfnet9")
PST900 = folder_layout("pst900", FolderNames("rgb", "thermal", "labels"), "pst900")
FOLDER = folder_layout(
    "folder", FolderNames("visible", "infrared", "labels", complete=False, dated=True), None
)


def open_mfnet(root: Path, split: str | None, reading: LabelReading) -> Dataset:
    """Open the pairs of one list, or all pictures.

    Raises:
        DatasetError: no such list, or no pictures.
    """
    lists = lists_of(root, split)
    wanted = None if split is None else listed(root / f"{split}.txt")
    names = FolderNames("images", "images", "labels", dated=True)
    entries, unpaired = _pairs(root, "", names, reading, wanted)
    if not entries:
        raise DatasetError(
            f"{root}: no pair"
            + (f" of {split}.txt" if split else "")
            + "; expected pictures of four channels under images/"
        )
    entries = [replace(entry, split=split or "") for entry in entries]
    return Dataset(
        "mfnet", root, split, reading.wanted, entries, tuple(unpaired), splits=tuple(lists)
    )


MFNET = Layout(
    "mfnet",
    "images/ with pictures of four channels (RGB and thermal), labels/, and lists train.txt, "
    "val.txt, test.txt, test_day.txt, ...",
    lambda root: (root / "images").is_dir() and (root / "labels").is_dir(),
    open_mfnet,
    "mfnet9",
)
