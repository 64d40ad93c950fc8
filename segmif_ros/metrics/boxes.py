# SPDX-License-Identifier: Apache-2.0
"""Segmentation scores where there are only boxes: objects found, and nothing else claimed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segmif_ros.frames import Image8
from segmif_ros.metrics.tally import Counts, Tally, table_of

BOX_HIT = 0.2
"""A box is hit when its own class covers at least this share of its area."""


@dataclass(frozen=True, slots=True)
class Box:
    """One annotated object: class id and pixel extents, end exclusive."""

    label: int
    left: int
    top: int
    right: int
    bottom: int


class BoxScores(Tally):
    """Scores masks against annotated boxes: are objects found, and is nothing else claimed.

    >>> import numpy as np
    >>> from segmif_ros import Box, BoxScores
    >>> mask = np.zeros((100, 100), np.uint8)
    >>> mask[20:60, 30:40] = 8
    >>> scores = BoxScores()
    >>> scores.add([Box(8, 30, 20, 40, 60), Box(8, 70, 20, 80, 60)], mask, labels=[8])
    0.5
    """

    COUNTED = ("_counts",)

    def __init__(self) -> None:
        self._counts = Counts()

    def add(
        self,
        boxes: Sequence[Box],
        mask: Image8,
        labels: Sequence[int],
        row: str = "fused",
        split: str | None = None,
    ) -> float | None:
        """Score one image for the given class ids.

        Args:
            boxes: what people drew; all objects of these classes.
            mask: HxW uint8 ids.
            labels: ids to score; boxes of others are ignored.
            row: see `SegmentationScores.add`.
            split: likewise.

        Returns:
            Share of this image's boxes that are hit; None if it has none.
        """
        boxed = hits = 0
        for label in labels:
            own, allowed, found = mask == label, np.zeros(mask.shape, bool), []
            for box in boxes:
                if box.label == label:
                    area = (slice(box.top, box.bottom), slice(box.left, box.right))
                    allowed[area] = True
                    found.append(own[area].size > 0 and bool(own[area].mean() >= BOX_HIT))
            boxed, hits = boxed + len(found), hits + sum(found)
            pixels = int(own.sum()), int((own & allowed).sum())
            self._counts.add((row, split or "", label), [len(found), sum(found), *pixels])
        return hits / boxed if boxed else None

    def summary(self) -> dict[str, dict[str, dict[int, dict[str, float | None]]]]:
        """Return row -> split -> class id -> boxes, share of boxes hit, share of mask inside.

        `box_recall` is the share of boxes that their class covers by `BOX_HIT` or more,
        `box_precision` the share of the class's pixels that lie in a box of that class. None where
        nothing was counted.
        """
        table: dict[str, dict[str, dict[int, dict[str, float | None]]]] = {}
        for row, split in table_of(self._counts):
            table.setdefault(row, {})[split] = {
                label: {
                    "boxes": boxes,
                    "box_recall": hits / boxes if boxes else None,
                    "box_precision": inside / pixels if pixels else None,
                }
                for label, (boxes, hits, pixels, inside) in self._counts.of(row, split).state()
            }
        return table
