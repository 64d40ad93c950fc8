# SPDX-License-Identifier: Apache-2.0
"""Segmentation scores where there are only boxes: objects found, and nothing else claimed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segmif_ros.frames import Image8
from segmif_ros.metrics.tally import Key, keys_of, table_of

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


@dataclass(slots=True)
class _Found:
    """Counts of one class."""

    boxes: int = 0
    hits: int = 0
    pixels: int = 0
    inside: int = 0


class BoxScores:
    """Scores masks against annotated boxes: are objects found, and is nothing else claimed.

    >>> import numpy as np
    >>> from segmif_ros import Box, BoxScores
    >>> mask = np.zeros((100, 100), np.uint8)
    >>> mask[20:60, 30:40] = 8
    >>> scores = BoxScores()
    >>> scores.add([Box(8, 30, 20, 40, 60), Box(8, 70, 20, 80, 60)], mask, labels=[8])
    0.5
    """

    def __init__(self) -> None:
        self._found: dict[Key, dict[int, _Found]] = {}

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
        found = self._found.setdefault((row, split or ""), {})
        image = _Found()
        for label in labels:
            counts = found.setdefault(label, _Found())
            own = mask == label
            allowed = np.zeros(mask.shape, bool)
            for box in boxes:
                if box.label == label:
                    area = (slice(box.top, box.bottom), slice(box.left, box.right))
                    allowed[area] = True
                    hit = int(own[area].size > 0 and own[area].mean() >= BOX_HIT)
                    _add(counts, _Found(boxes=1, hits=hit))
                    _add(image, _Found(boxes=1, hits=hit))
            counts.pixels += int(own.sum())
            counts.inside += int((own & allowed).sum())
        return image.hits / image.boxes if image.boxes else None

    def merge(self, other: BoxScores) -> None:
        """Add what another one counted."""
        for key, found in other._found.items():
            mine = self._found.setdefault(key, {})
            for label, counts in found.items():
                _add(mine.setdefault(label, _Found()), counts)

    def state(self) -> dict[str, Any]:
        """Return everything counted as JSON-able values."""
        return {
            "counts": [
                [row, split, label, [c.boxes, c.hits, c.pixels, c.inside]]
                for (row, split), found in self._found.items()
                for label, c in found.items()
            ]
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> BoxScores:
        """Read back what `state` returned."""
        scores = cls()
        for row, split, label, counts in state["counts"]:
            scores._found.setdefault((row, split), {})[int(label)] = _Found(*counts)
        return scores

    def summary(self) -> dict[str, dict[str, dict[int, dict[str, float | None]]]]:
        """Return row -> split -> class id -> boxes, share of boxes hit, share of mask inside.

        `box_recall` is the share of boxes that their class covers by `BOX_HIT` or more,
        `box_precision` the share of the class's pixels that lie in a box of that class. None where
        nothing was counted.
        """
        table: dict[str, dict[str, dict[int, dict[str, float | None]]]] = {}
        for row, split in table_of(self._found):
            total: dict[int, _Found] = {}
            for key in keys_of(self._found, row, split):
                for label, counts in self._found[key].items():
                    _add(total.setdefault(label, _Found()), counts)
            table.setdefault(row, {})[split] = {
                label: {
                    "boxes": c.boxes,
                    "box_recall": c.hits / c.boxes if c.boxes else None,
                    "box_precision": c.inside / c.pixels if c.pixels else None,
                }
                for label, c in sorted(total.items())
            }
        return table


def _add(mine: _Found, other: _Found) -> None:
    mine.boxes += other.boxes
    mine.hits += other.hits
    mine.pixels += other.pixels
    mine.inside += other.inside
