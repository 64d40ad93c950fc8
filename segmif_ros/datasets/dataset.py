# SPDX-License-Identifier: Apache-2.0
"""An opened data set with its entries, and how readers recognise a folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from segmif_ros.datasets.classes import ClassList
from segmif_ros.datasets.labels import LabelReading
from segmif_ros.datasets.sample import DatasetError, Sample, When
from segmif_ros.files import read_text
from segmif_ros.images.pictures import SUFFIXES


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One pair; every call reads it again.

    Attributes:
        name: unique within the data set.
        read: returns the pair.
        when: day or night, None if unknown.
        split: part of the data set that it belongs to, "" where there are no parts.
        labelled: the pair comes with labels.
    """

    name: str
    read: Callable[[], Sample]
    when: When | None = None
    split: str = ""
    labelled: bool = False

    def __call__(self) -> Sample:
        """Read the pair.

        Raises:
            DatasetError: a file is missing or damaged, or the pictures do not fit together.
        """
        return self.read()


@dataclass(frozen=True, slots=True, eq=False)
class Dataset(Sequence[Entry]):
    """Pairs of one data set in a fixed order; a `sample.Source`.

    Attributes:
        kind: row of `opening.LAYOUTS`.
        root: where it is.
        split: the part that was opened, None for all of it.
        class_list: of the samples' labels.
        entries: pairs, in order of time if the names contain it.
        unpaired: files without their counterpart, each with what is missing.
        notes: remarks that are not errors.
        splits: parts that can be opened, by folders or by lists; empty if it is not divided.
    """

    kind: str
    root: Path
    split: str | None
    class_list: ClassList
    entries: Sequence[Entry]
    unpaired: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()

    @property
    def labels(self) -> str:
        """Name of the class list of the samples' labels."""
        return self.class_list.name

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | Sequence[Entry]:
        """Return what can be read there."""
        return self.entries[index]

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        """Go through the pairs without reading them."""
        return iter(self.entries)


_BLOCK = 8


def held_out(count: int, every: int) -> list[int]:
    """Return the indices that a recipe holds out from training.

    Neighbouring pairs of a drive are nearly equal, so whole blocks are held out.

    Args:
        count: pairs in the order of the drive.
        every: every n-th block of 8 pairs is held out; 0 holds out none.
    """
    return [i for i in range(count) if every and (i // _BLOCK) % every == every - 1]


_SUFFIX = re.compile(r"\d([DN])(?:_flip)?$")


@dataclass(frozen=True, slots=True)
class Layout:
    """One layout of a data set on disk.

    Attributes:
        kind: name for users.
        expects: description for messages and docs.
        fits: whether a path holds a data set of this layout; reads no picture.
        open: opens it; arguments are the path, the split or None for all, and how to read labels.
        labels: class list of its annotations; None if the user has to give it.
    """

    kind: str
    expects: str
    fits: Callable[[Path], bool]
    open: Callable[[Path, str | None, LabelReading], Dataset]
    labels: str | None = None


def time_of_day(name: str) -> When | None:
    """Return day or night from a name of MFNet or MSRS ("00537D"), or from a folder in it.

    Args:
        name: relative path without suffix.
    """
    *folders, stem = name.split("/")
    found = _SUFFIX.search(stem)
    if found:
        return "day" if found.group(1) == "D" else "night"
    for folder in folders:
        if folder.lower() == "day":
            return "day"
        if folder.lower() == "night":
            return "night"
    return None


def no_split(root: Path, split: str, splits: Sequence[str]) -> DatasetError:
    """Return the error for a split that does not exist."""
    there = ", ".join(splits)
    return DatasetError(
        f"{root} has no split {split!r}, "
        + (
            f"expected one of {there}"
            if there
            else 'it is not divided; leave the split out, or write split: "" in a recipe'
        )
    )


def lists_of(root: Path, split: str | None) -> list[str]:
    """Return the names of the lists in a folder.

    Raises:
        DatasetError: `split` is none of them.
    """
    lists = sorted(path.stem for path in root.glob("*.txt"))
    if split is not None and split not in lists:
        raise no_split(root, split, lists)
    return lists


def listed(listing: Path) -> list[str]:
    """Return the names in a list, a name a line, without the suffix of a picture.

    Raises:
        DatasetError: missing, or no text.
    """
    try:
        lines = read_text(listing).splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise DatasetError(
            f"{listing} is missing or no text ({err}); the split list belongs to the data set"
        ) from err
    names = [line.strip() for line in lines if line.strip()]
    return [
        str(Path(name).with_suffix("")) if Path(name).suffix.lower() in SUFFIXES else name
        for name in names
    ]
