# SPDX-License-Identifier: Apache-2.0
"""MFNet as it is released: pictures of four channels, and lists of names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from segmif_ros.datasets.dataset import Dataset, Entry, Layout, listed, no_split, time_of_day
from segmif_ros.datasets.folders import check_sizes
from segmif_ros.datasets.labels import LabelReading
from segmif_ros.datasets.pictures import images, read_four
from segmif_ros.datasets.sample import DatasetError, Sample, When


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
