# SPDX-License-Identifier: Apache-2.0
"""Average precision of objects at an IoU of 0.5 with manually drawn boxes, by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmif_ros.bundle import LabelClass
from segmif_ros.frames import Image8
from segmif_ros.metrics.boxes import Box, BoxScores
from segmif_ros.metrics.tally import Key, keys_of, table_of
from segmif_ros.objects.regions import COUNTABLE, DetectedObject, find_objects, iou

IOU = 0.5
"""An object is right when it overlaps a box of its class by this, intersection over union."""
_STEPS = 10_000
"""Scores are counted in so many steps, so that a long drive takes no more memory than a short."""


class ObjectScores:
    """Counts objects against boxes; what several processes counted adds up exactly."""

    def __init__(self) -> None:
        self._boxes: dict[Key, dict[int, int]] = {}
        self._found: dict[Key, dict[int, dict[int, list[int]]]] = {}

    def add_masks(
        self,
        boxes: Sequence[Box],
        masks: Mapping[str, tuple[Image8, Image8]],
        classes: Sequence[LabelClass],
        heat: NDArray[np.float32] | None,
        split: str | None = None,
    ) -> None:
        """Score the objects of one picture's masks.

        Args:
            boxes: what people drew; those of classes that never are objects are passed by.
            masks: row -> mask and confidence, HxW.
            classes: of masks and boxes.
            heat: HxW thermal values for every row but "visible", NaN where there are none.
            split: see `SegmentationScores.add`.
        """
        countable = {each.id for each in classes if each.name in COUNTABLE}
        theirs = [box for box in boxes if box.label in countable]
        for row, (mask, confidence) in masks.items():
            values = None if row == "visible" else heat
            self.add(theirs, find_objects(mask, confidence, classes, values), row, split)

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
                _count(found.setdefault(label, {}), round(_STEPS * each.score), right, not right)

    def merge(self, other: ObjectScores) -> None:
        """Add what another one counted."""
        for key, counts in other._boxes.items():
            mine, found = self._boxes.setdefault(key, {}), self._found.setdefault(key, {})
            for label, count in counts.items():
                mine[label] = mine.get(label, 0) + count
                for step, both in other._found[key].get(label, {}).items():
                    _count(found.setdefault(label, {}), step, *both)

    def state(self) -> dict[str, Any]:
        """Return everything counted as JSON-able values."""
        return {
            "counts": [
                [row, split, label, count, sorted(self._found[row, split].get(label, {}).items())]
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
            objects = {int(step): list(both) for step, both in found}
            scores._found.setdefault((row, split), {})[int(label)] = objects
        return scores

    def summary(self) -> dict[str, dict[str, dict[int, dict[str, float | None]]]]:
        """Return row -> split -> class id -> boxes, AP, precision and recall.

        `average_precision` is the area below the precision envelope over recall, at an IoU of 0.5;
        `object_precision` and `object_recall` count every object, whatever its score. Classes
        without a box are left out: they may hold unmarked objects.
        """
        table: dict[str, dict[str, dict[int, dict[str, float | None]]]] = {}
        for row, split in table_of(self._boxes):
            counts: dict[int, int] = {}
            objects: dict[int, dict[int, list[int]]] = {}
            for key in keys_of(self._boxes, row, split):
                for label, count in self._boxes[key].items():
                    counts[label] = counts.get(label, 0) + count
                    for step, both in self._found[key].get(label, {}).items():
                        _count(objects.setdefault(label, {}), step, *both)
            table.setdefault(row, {})[split] = {
                label: _figures(count, objects.get(label, {}))
                for label, count in sorted(counts.items())
                if count
            }
        return table


def named_figures(
    boxes: BoxScores, objects: ObjectScores, classes: Sequence[LabelClass]
) -> dict[str, dict[str, dict[str, dict[str, float | None]]]]:
    """Return row -> split -> class name -> figures of pixels and, of countable classes, objects."""
    names = {each.id: each.name for each in classes}
    counted = objects.summary()
    return {
        row: {
            split: {
                names[label]: f | counted.get(row, {}).get(split, {}).get(label, {})
                for label, f in figures.items()
                if f["boxes"]
            }
            for split, figures in splits.items()
        }
        for row, splits in boxes.summary().items()
    }


def _count(found: dict[int, list[int]], step: int, right: int, wrong: int) -> None:
    counts = found.setdefault(step, [0, 0])
    counts[0] += right
    counts[1] += wrong


def _figures(boxes: int, found: Mapping[int, Sequence[int]]) -> dict[str, float | None]:
    """Objects of equal score come together: their order is arbitrary."""
    counts = np.array([found[step] for step in sorted(found, reverse=True)], float).reshape(-1, 2)
    right, every = np.cumsum(counts[:, 0]), np.cumsum(counts.sum(axis=1))
    envelope = np.maximum.accumulate((right / every)[::-1])[::-1]
    total = float(every[-1]) if len(every) else 0.0
    return {
        "boxes": boxes,
        "average_precision": float(envelope @ counts[:, 0]) / boxes,
        "object_precision": float(right[-1]) / total if total else None,
        "object_recall": float(counts[:, 0].sum()) / boxes,
    }
