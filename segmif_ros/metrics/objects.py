# SPDX-License-Identifier: Apache-2.0
"""Average precision of objects at an IoU of 0.5 with manually drawn boxes, by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from segmif_ros.bundle import LabelClass
from segmif_ros.frames import Image8
from segmif_ros.metrics.boxes import Box, BoxScores
from segmif_ros.metrics.tally import Counts, Tally, table_of
from segmif_ros.objects.regions import COUNTABLE, DetectedObject, find_objects, iou

IOU = 0.5
"""An object is right when it overlaps a box of its class by this, intersection over union."""
_STEPS = 10_000
"""Scores are counted in so many steps, so that a long drive takes no more memory than a short."""


class ObjectScores(Tally):
    """Counts objects against boxes; what several processes counted adds up exactly."""

    COUNTED = ("_boxes", "_found")

    def __init__(self) -> None:
        self._boxes, self._found = Counts(), Counts()

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
        for label in {box.label for box in boxes} | {each.label for each in objects}:
            theirs = [b for b in boxes if b.label == label]
            ours = sorted((o for o in objects if o.label == label), key=lambda o: -o.score)
            key = (row, split or "", label)
            self._boxes.add(key, len(theirs))
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
                self._found.add((*key, round(_STEPS * each.score)), [right, not right])

    def summary(self) -> dict[str, dict[str, dict[int, dict[str, float | None]]]]:
        """Return row -> split -> class id -> boxes, AP, precision and recall.

        `average_precision` is the area below the precision envelope over recall, at an IoU of 0.5;
        `object_precision` and `object_recall` count every object, whatever its score. Classes
        without a box are left out: they may hold unmarked objects.
        """
        table: dict[str, dict[str, dict[int, dict[str, float | None]]]] = {}
        for row, split in table_of(self._boxes):
            found: dict[int, list[list[int]]] = {}
            for label, _, both in self._found.of(row, split).state():
                found.setdefault(label, []).append(both)
            table.setdefault(row, {})[split] = {
                label: _figures(count, found.get(label, []))
                for label, count in self._boxes.of(row, split).state()
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


def _figures(boxes: int, found: Sequence[Sequence[int]]) -> dict[str, float | None]:
    """Objects of equal score come together, by rising score: their order is arbitrary."""
    counts = np.array(found[::-1], float).reshape(-1, 2)
    right, every = np.cumsum(counts[:, 0]), np.cumsum(counts.sum(axis=1))
    envelope = np.maximum.accumulate((right / every)[::-1])[::-1]
    total = float(every[-1]) if len(every) else 0.0
    return {
        "boxes": boxes,
        "average_precision": float(envelope @ counts[:, 0]) / boxes,
        "object_precision": float(right[-1]) / total if total else None,
        "object_recall": float(counts[:, 0].sum()) / boxes,
    }
