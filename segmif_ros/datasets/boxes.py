# SPDX-License-Identifier: Apache-2.0
"""Manual boxes: one text file per picture, one line `class cx cy w h` per object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from segmif_ros.bundle import LabelClass
from segmif_ros.datasets.classes import ClassList, load_class_list
from segmif_ros.datasets.dataset import Dataset, Entry
from segmif_ros.datasets.sample import BICYCLE, CAR, PERSON, DatasetError, Sample
from segmif_ros.error_codes import brief
from segmif_ros.files import read_text
from segmif_ros.metrics.boxes import Box

FOLDER = "boxes"
NAMES_FILE = "classes.txt"
"""Names of the ids from 0, one per line, as labelling programs write them."""
LEFT_OUT = "-"
"""Stands for a class whose boxes are left out."""

_MSRS = {0: PERSON, 1: BICYCLE, 2: CAR}
_SPILL = 0.02
"""Part of the picture by which manual boxes may exceed it; more suggests another unit."""


@dataclass(frozen=True, slots=True)
class BoxClasses:
    """What the ids in box files mean.

    Attributes:
        ids: id in the files -> id of the masks, None for boxes that are left out.
        told: the classes as text, for messages.
    """

    ids: Mapping[int, int | None]
    told: str

    @property
    def labels(self) -> tuple[int, ...]:
        """Ids of the masks that boxes may have."""
        return tuple(sorted({own for own in self.ids.values() if own is not None}))

    @classmethod
    def named(cls, names: Sequence[str], classes: Sequence[LabelClass], owner: str) -> BoxClasses:
        """Use names of classes in the order of the ids, "-" for one that is left out.

        Raises:
            DatasetError: a name is not among these classes of the owner.
        """
        known = {label.name: label.id for label in classes}
        unknown = [name for name in names if name not in known and name != LEFT_OUT]
        if unknown:
            raise DatasetError(
                f"box class {unknown[0]!r} is no class of {owner!r}; it has "
                f"{', '.join(known)}, and {LEFT_OUT!r} stands for boxes that are left out"
            )
        ids = {number: known.get(name) for number, name in enumerate(names)}
        return cls(ids, ", ".join(f"{number} {name}" for number, name in enumerate(names)))

    @classmethod
    def usual(cls, folder: Path, classes: ClassList) -> BoxClasses:
        """Return the names of `classes.txt` beside the boxes, else 0 person, 1 bicycle, 2 car.

        Raises:
            DatasetError: the class list does not have these classes.
        """
        listing = folder / NAMES_FILE
        if listing.is_file():
            lines = listing.read_text(encoding="utf-8", errors="replace").splitlines()
            names = [line.strip() for line in lines if line.strip()]
            return cls.named(names, classes.classes, classes.name)
        try:
            table = load_class_list("fmb15").truth_table(classes.name)
        except ValueError as err:
            raise DatasetError(
                f"{folder}: no names for the ids of the boxes; give classes of {classes.name!r} "
                "with --box-classes, in the order of the ids"
            ) from err
        ids = {number: int(table[label]) for number, label in _MSRS.items()}
        return cls(ids, "0 person, 1 bicycle, 2 car")


def read_boxes(path: Path, size: Sequence[int], classes: BoxClasses) -> tuple[Box, ...]:
    """Read one box file.

    Args:
        path: one line per box: `class cx cy w h`, fractions of width and height, then ignored text.
        size: (height, width) of the picture in pixels.
        classes: what the ids mean.

    Returns:
        Boxes in whole pixels, clipped to the picture.

    Raises:
        DatasetError: unreadable, or a line is no box, lies outside the picture, or is of a class
            without a name.
    """
    try:
        lines = read_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise DatasetError(f"boxes {path} cannot be read: {err}") from err
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    read = [_box(line, f"{path}, line {number}", size, classes) for number, line in numbered]
    return tuple(box for box in read if box is not None)


def _box(line: str, where: str, size: Sequence[int], classes: BoxClasses) -> Box | None:
    try:
        name, *rest = line.split()
        x, y, w, h = (float(part) for part in rest[:4])
        label = int(name)
    except ValueError as err:
        raise DatasetError(
            f"{where}: '{brief(line)}' is no box; expected `class cx cy w h` with parts of the "
            "picture's width and height"
        ) from err
    if label not in classes.ids:
        raise DatasetError(
            f"{where}: class {label} is none of {classes.told}; name it with --box-classes, "
            f"{LEFT_OUT!r} for boxes that are left out"
        )
    low, high = min(x - w / 2, y - h / 2), max(x + w / 2, y + h / 2)
    if not (w > 0 and h > 0 and low >= -_SPILL and high <= 1 + _SPILL):  # NaN too
        raise DatasetError(
            f"{where}: '{brief(line)}' lies outside the picture; expected centre and size as parts "
            "of width and height, 0 to 1"
        )
    own = classes.ids[label]
    if own is None:
        return None
    height, width = size
    left, right = ((x + side * w / 2) * width for side in (-1, 1))
    top, bottom = ((y + side * h / 2) * height for side in (-1, 1))
    return Box(
        own,
        min(max(round(left), 0), width),
        min(max(round(top), 0), height),
        min(max(round(right), 0), width),
        min(max(round(bottom), 0), height),
    )


def with_boxes(
    dataset: Dataset, folder: Path | None = None, names: Sequence[str] | None = None
) -> Dataset:
    """Add the boxes beside the pictures to the pairs of a data set.

    Args:
        dataset: without boxes.
        folder: files named after the pairs; `boxes/` of the data set or of its parts if None.
        names: classes in the order of their ids; see `BoxClasses.usual` if None.

    Returns:
        The data set itself if it has no boxes.

    Raises:
        DatasetError: the folder is missing or has no file of any pair, or a class is unknown.
    """
    root = dataset.root if folder is None else folder
    if folder is not None and dataset.kind == "rig":
        raise DatasetError("the virtual rig has labels; leave --boxes out")
    if folder is not None and not folder.is_dir():
        raise DatasetError(f"{str(folder)!r} is no folder; give one with NAME.txt for each pair")
    if folder is None:
        parts = [root / part / FOLDER for part in ("", *dataset.splits)]
        if not any(map(Path.is_dir, parts)):
            if names is not None:
                raise DatasetError(f"{root} has no folder {FOLDER}/; name one with --boxes")
            return dataset
        beside = next(filter(Path.is_dir, parts))
    else:
        beside = folder
    listing = dataset.class_list
    if names is None:
        classes = BoxClasses.usual(beside, listing)
    else:
        classes = BoxClasses.named(names, listing.classes, listing.name)
    entries, missing = [], []
    for entry in dataset.entries:
        file = next(filter(Path.is_file, _files(root, entry.name, inside=folder is None)), None)
        if file is None:
            missing.append(f"{entry.name}: not in {FOLDER}")
        entries.append(
            entry if file is None else replace(entry, read=partial(_read, entry, file, classes))
        )
    if len(missing) == len(entries):
        raise DatasetError(
            f"{beside} holds no file named after a pair; expected "
            f"{Path(dataset.entries[0].name).name}.txt and so on, a line `class cx cy w h` a box"
        )
    return replace(
        dataset,
        entries=entries,
        unpaired=(*dataset.unpaired, *missing),
        notes=(*dataset.notes, f"boxes of {classes.told}"),
    )


def _files(root: Path, name: str, *, inside: bool) -> list[Path]:
    """Return the candidate box files of a pair; names of splits and bags begin with a folder."""
    first, _, rest = name.partition("/")
    if inside:
        return [root / FOLDER / f"{name}.txt", root / first / FOLDER / f"{rest}.txt"]
    return [root / f"{name}.txt", root / f"{rest or first}.txt", root / f"{Path(name).name}.txt"]


def _read(entry: Entry, file: Path, classes: BoxClasses) -> Sample:
    sample = entry()
    return replace(sample, boxes=read_boxes(file, sample.rgb.shape[:2], classes))
