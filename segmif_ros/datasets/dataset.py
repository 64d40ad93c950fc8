# SPDX-License-Identifier: Apache-2.0
"""An opened data set: what there is to read, before anything is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from segmif_ros.datasets.classes import ClassList
from segmif_ros.datasets.sample import Sample, When


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One pair that can be read; calling it reads it, every time anew.

    Attributes:
        name: unique within the data set.
        read: returns the pair.
        when: day or night, None where the data set does not say.
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
        entries: what can be read, neighbours in time beside each other where names tell.
        unpaired: files without their counterpart, each with what is missing.
        notes: what a person should know, although it is no fault.
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
