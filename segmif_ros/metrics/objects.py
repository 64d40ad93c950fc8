# SPDX-License-Identifier: Apache-2.0
"""Average precision of objects at an IoU of 0.5 with boxes that people drew, by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segmif_ros.metrics.boxes import Box
from segmif_ros.metrics.tally import Key, keys_of, table_of
from segmif_ros.objects.regions import DetectedObject, iou

IOU = 0.5
"""An object is right when it overlaps a box of its class by this, intersection over union."""


class ObjectScores:
    """Counts objects against boxes; what several processes counted adds up exactly."""

    def __init__(self) -> None:
        self._boxes: dict[Key, dict[int, int]] = {}
        self._found: dict[Key, dict[int, list[tuple[float, bool]]]] = {}

    def add(
        self,
        boxes: Sequence[Box],
        objects: Sequence[DetectedObject],
        row: str = "fused",
        split: str | None = None,
    ) -> None:
        """Score one picture: by falling score each object takes the free box that it fits best.

        Args:
            boxes: what people drew; all objects of their classes.
            objects: what was found.
            row: see `SegmentationScores.add`.
            split: likewise.
        """
        key = (row, split or "")
        counts, found = self._boxes.setdefault(key, {}), self._found.setdefault(key, {})
        for label in {box.label for box in boxes} | {each.label for each in objects}:
            theirs = [b for b in boxes if b.label == label]
            ours = sorted((o for o in objects if o.label == label), key=lambda o: -o.score)
            counts[label] = counts.get(label, 0) + len(theirs)
            overlaps = iou(
                np.array([o.box for o in ours], float).reshape(-1, 4),
                np.array([(b.left, b.top, b.right, b.bottom) for b in theirs], float).reshape(
                    -1, 4
                ),
            )
            for each, row_of in zip(ours, overlaps, strict=True):
                best = int(row_of.argmax()) if len(row_of) else 0
                right = bool(len(row_of)) and bool(row_of[best] >= IOU)
                if right:
                    overlaps[:, best] = -1.0
                found.setdefault(label, []).append((round(each.score, 4), right))

    def merge(self, other: ObjectScores) -> None:
        """Add what another one counted."""
        for key, counts in other._boxes.items():
            mine = self._boxes.setdefault(key, {})
            for label, count in counts.items():
                mine[label] = mine.get(label, 0) + count
        for key, found in other._found.items():
            theirs = self._found.setdefault(key, {})
            for label, objects in found.items():
                theirs.setdefault(label, []).extend(objects)

    def state(self) -> dict[str, Any]:
        """Return everything counted as JSON-able values."""
        return {
            "counts": [
                [row, split, label, count, self._found.get((row, split), {}).get(label, [])]
                for (row, split), counts in self._boxes.items()
                for label, count in counts.items()
            ]
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> ObjectScores:
        """Read back what `state` returned."""
        scores = cls()
        for row, split, label, count, found in state["counts"]:
            scores._boxes.setdefault((row, split), {})[int(label)] = int(count)
            objects = [(float(score), bool(right)) for score, right in found]
            scores._found.setdefault((row, split), {})[int(label)] = objects
        return scores

    def summary(self) -> dict[str, dict[str, dict[int, dict[str, float | None]]]]:
        """Return row -> split -> class id -> boxes, AP, precision and recall.

        `average_precision` is the area below the precision envelope over recall, at an IoU of 0.5;
        `object_precision` and `object_recall` count every object, whatever its score. Classes
        without a box are left out: nobody said that there are none.
        """
        table: dict[str, dict[str, dict[int, dict[str, float | None]]]] = {}
        for row, split in table_of(self._boxes):
            counts: dict[int, int] = {}
            objects: dict[int, list[tuple[float, bool]]] = {}
            for key in keys_of(self._boxes, row, split):
                for label, count in self._boxes[key].items():
                    counts[label] = counts.get(label, 0) + count
                for label, found in self._found.get(key, {}).items():
                    objects.setdefault(label, []).extend(found)
            table.setdefault(row, {})[split] = {
                label: _figures(count, objects.get(label, []))
                for label, count in sorted(counts.items())
                if count
            }
        return table


def _figures(boxes: int, found: Sequence[tuple[float, bool]]) -> dict[str, float | None]:
    right = np.array([hit for _, hit in sorted(found, key=lambda f: -f[0])], bool)
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(right) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return {
        "boxes": boxes,
        "average_precision": float(envelope[right].sum()) / boxes,
        "object_precision": float(right.mean()) if len(right) else None,
        "object_recall": float(right.sum()) / boxes,
    }
