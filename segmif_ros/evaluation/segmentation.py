# SPDX-License-Identifier: Apache-2.0
"""Segmentation scores: confusion and IoU from masks, box scores where there are only boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segmif_ros.frames import Image8

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


class Confusion:
    """Counts predicted against true classes over any number of images."""

    def __init__(self, classes: int) -> None:
        self.matrix: NDArray[np.int64] = np.zeros((classes, classes), np.int64)

    def add(self, truth: Image8, predicted: Image8) -> None:
        """Count one image; ids outside the classes (255) are left out.

        Args:
            truth: HxW uint8, rows of the matrix.
            predicted: HxW uint8, columns; an unlabelled prediction counts as id 0.
        """
        classes = len(self.matrix)
        known = truth < classes
        guess = np.where(predicted < classes, predicted, 0)[known].astype(np.int64)
        flat = truth[known].astype(np.int64) * classes + guess
        self.matrix += np.bincount(flat, minlength=classes**2).reshape(classes, classes)

    def iou(self) -> NDArray[np.float64]:
        """Intersection over union per class; NaN for classes in neither truth nor prediction."""
        hit = np.diag(self.matrix).astype(np.float64)
        union = self.matrix.sum(axis=0) + self.matrix.sum(axis=1) - np.diag(self.matrix)
        return np.where(union > 0, hit / np.maximum(union, 1), np.nan)

    def mean_iou(self, ignore: Sequence[int] = (0,)) -> float:
        """Mean IoU over the classes that occur in the truth and are not ignored."""
        present = self.matrix.sum(axis=1) > 0
        present[list(ignore)] = False
        return float(self.iou()[present].mean()) if present.any() else float("nan")

    def accuracy(self) -> float:
        """Share of counted pixels with the right class."""
        total = int(self.matrix.sum())
        return float(np.trace(self.matrix)) / total if total else float("nan")


class BoxScores:
    """Scores masks against annotated boxes: are objects found, and is nothing else claimed."""

    def __init__(self) -> None:
        self._boxes: dict[int, int] = {}
        self._hits: dict[int, int] = {}
        self._pixels: dict[int, int] = {}
        self._inside: dict[int, int] = {}

    def add(self, boxes: Sequence[Box], mask: Image8, labels: Sequence[int]) -> None:
        """Score one image for the given class ids."""
        for label in labels:
            own = mask == label
            allowed = np.zeros(mask.shape, bool)
            for box in boxes:
                if box.label == label:
                    area = (slice(box.top, box.bottom), slice(box.left, box.right))
                    allowed[area] = True
                    self._boxes[label] = self._boxes.get(label, 0) + 1
                    hit = own[area].size > 0 and own[area].mean() >= BOX_HIT
                    self._hits[label] = self._hits.get(label, 0) + int(hit)
            self._pixels[label] = self._pixels.get(label, 0) + int(own.sum())
            self._inside[label] = self._inside.get(label, 0) + int((own & allowed).sum())

    def summary(self) -> Mapping[int, Mapping[str, float]]:
        """Per class: boxes, share of boxes hit, share of the mask inside own-class boxes."""
        nan = float("nan")
        return {
            label: {
                "boxes": self._boxes.get(label, 0),
                "hit": self._hits[label] / self._boxes[label] if label in self._hits else nan,
                "inside": self._inside[label] / pixels if pixels else nan,
            }
            for label, pixels in self._pixels.items()
        }
