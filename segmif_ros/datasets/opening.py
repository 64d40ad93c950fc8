# SPDX-License-Identifier: Apache-2.0
"""Opens a data set of any kind, recognised by its folders."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from segmif_ros.datasets.bag import BAG, BagReading, open_bag
from segmif_ros.datasets.boxes import with_boxes
from segmif_ros.datasets.dataset import Dataset, Layout
from segmif_ros.datasets.folders import FMB, FOLDER, MFNET, MSRS, PST900
from segmif_ros.datasets.labels import LabelReading
from segmif_ros.datasets.msrs import MSRS_BOXES
from segmif_ros.datasets.rig import RIG
from segmif_ros.datasets.sample import DatasetError

AUTO = "auto"
LAYOUTS: tuple[Layout, ...] = (FMB, MFNET, MSRS, MSRS_BOXES, PST900, BAG, RIG, FOLDER)
"""All readers, the most specific first. One kind may have two layouts."""
KINDS: tuple[str, ...] = tuple(dict.fromkeys(layout.kind for layout in LAYOUTS))


def open_dataset(
    kind: str,
    path: Path,
    split: str | None = None,
    *,
    labels: str | None = None,
    annotated: str = "fmb15",
    ignore: Collection[int] = (),
    strict: bool = True,
    bag: BagReading | None = None,
    boxes: Path | None = None,
    box_classes: Sequence[str] | None = None,
) -> Dataset:
    """Open a data set without reading a picture.

    Args:
        kind: one of `KINDS`, or "auto" to recognise it by the folders.
        path: of the data set; "rig" for the virtual rig.
        split: for example "train"; all of it if None or empty.
        labels: class list of the samples, the data set's own if None.
        annotated: class list of the annotations of a plain folder or a bag; the others have one.
        ignore: ids of `labels` that become 255: not scored, not trained on.
        strict: reading a pair fails on ids that its class list has not; otherwise they stay.
        boxes: folder of box files named after the pairs, `boxes/` of the data set if None.
        box_classes: names of the ids in box files; see `boxes.BoxClasses.usual` if None.
        bag: topics, calibration and tolerance for a bag; chosen by names if None.

    Raises:
        DatasetError: no such kind, no data set of that kind at the path, no such split, no pairs.
    """
    split = split or None
    layout = _layout(kind, path)
    own = layout.labels or annotated
    reading = LabelReading.of(own, labels, ignore, strict=strict)
    found = (
        open_bag(path, split, reading, bag) if layout is BAG else layout.open(path, split, reading)
    )
    return with_boxes(found, boxes, box_classes)


def _layout(kind: str, path: Path) -> Layout:
    if kind not in (AUTO, *KINDS):
        raise DatasetError(f"no kind of data set {kind!r}, expected auto, {', '.join(KINDS)}")
    tried = [layout for layout in LAYOUTS if kind in (AUTO, layout.kind)]
    for layout in tried:
        if layout.fits(path):
            return layout
    there = _there(path, tried)
    if kind == AUTO:
        raise DatasetError(
            f"{path} is no data set: {there}; known are {', '.join(KINDS)}, and --kind KIND says "
            "what its folders should look like"
        )
    raise DatasetError(
        f"{path} is no data set of kind {kind}: {there}; expected {tried[0].expects}"
    )


def _there(path: Path, tried: Sequence[Layout]) -> str:
    """Describe the content of a path and suggest folders that can be opened."""
    if not path.exists():
        return "it does not exist"
    if not path.is_dir():
        return "it is a file"
    inside = sorted(child.name for child in path.iterdir())
    shown = ", ".join(inside[:6]) + (", ..." if len(inside) > 6 else "") or "nothing"
    meant = [
        child
        for child in (*path.iterdir(), path.parent)
        if child.is_dir() and any(layout.fits(child) for layout in tried)
    ]
    hint = f"; did you mean {' or '.join(map(str, sorted(meant)[:3]))}?" if meant else ""
    return f"it holds {shown}{hint}"
