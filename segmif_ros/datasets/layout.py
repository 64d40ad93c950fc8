# SPDX-License-Identifier: Apache-2.0
"""What every reader says about itself, so that data sets can be told apart by their folders."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segmif_ros.datasets.dataset import Dataset
from segmif_ros.datasets.labels import LabelReading
from segmif_ros.datasets.sample import DatasetError, When

_SUFFIX = re.compile(r"\d([DN])(?:_flip)?$")


@dataclass(frozen=True, slots=True)
class Layout:
    """One way in which a data set lies on disk.

    Attributes:
        kind: what users call it.
        expects: what it looks like, in words, for messages and docs.
        fits: tells from a path, without reading a picture, whether a data set lies there so.
        open: opens it; arguments are the path, the split or None for all, and how to read labels.
        labels: class list of its annotations; None where the user has to say.
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
    """Return the error for a split that is not there."""
    there = ", ".join(splits)
    return DatasetError(
        f"{root} has no split {split!r}, "
        + (
            f"expected one of {there}"
            if there
            else 'it is not divided; leave the split out, or write split: "" in a recipe'
        )
    )
