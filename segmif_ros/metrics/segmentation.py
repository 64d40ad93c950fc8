# SPDX-License-Identifier: Apache-2.0
"""Segmentation scores against masks: confusion, IoU under protocols, accuracy, boundary IoU."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.bundle import LabelClass
from segmif_ros.frames import Image8
from segmif_ros.metrics.tally import WHOLE, Counts, ScoreError, Tally, table_of

# Boundary IoU (Cheng et al., CVPR 2021): of every class only the pixels within a distance d of its
# own outline are compared, so a large area that is right inside does not hide a wrong outline.
DILATION = 0.02
"""Distance as a share of the image diagonal, as in the paper; 16 pixels at 480x640."""


def boundary_distance(size: tuple[int, int], dilation: float = DILATION) -> int:
    """Return the distance in pixels for an image of (height, width), at least 1."""
    return max(1, round(dilation * math.hypot(*size)))


def boundary_band(labels: Image8, known: NDArray[np.bool_], distance: int) -> NDArray[np.bool_]:
    """Mark the pixels within `distance` (chessboard) of another class or of the image edge.

    The same as eroding every class separately and taking the difference, in two passes for all.

    Args:
        labels: HxW uint8 ids.
        known: HxW; where False no pixel is marked, and no outline runs along it.
        distance: pixels, at least 1.
    """
    window = np.ones((2 * distance + 1, 2 * distance + 1), np.uint8)
    low, high = np.where(known, labels, 255), np.where(known, labels, 0)
    # Beyond the image edge lie both extremes, so no window near it has one class only.
    lowest = cv2.erode(low, window, borderType=cv2.BORDER_CONSTANT, borderValue=(0,) * 4)
    highest = cv2.dilate(high, window, borderType=cv2.BORDER_CONSTANT, borderValue=(255,) * 4)
    return np.asarray((lowest != highest) & known, np.bool_)


def boundary_counts(
    truth: Image8,
    predicted: Image8,
    classes: int,
    *,
    ignored: Collection[int] = (),
    dilation: float = DILATION,
) -> NDArray[np.int64]:
    """Count one image.

    Args:
        truth: HxW uint8 ids; ids from `classes` upwards are not known.
        predicted: HxW uint8 ids; ids from `classes` upwards count as id 0.
        classes: number of ids.
        ignored: ids of the truth that are not known either.
        dilation: distance as a share of the image diagonal.

    Returns:
        3 x `classes`: pixels of each class in both bands, in the truth's, in the prediction's.
    """
    counts = np.zeros(256, np.bool_)
    counts[:classes] = True
    counts[[label for label in ignored if label < classes]] = False
    known = counts[truth]
    guess = np.where(predicted < classes, predicted, 0).astype(np.uint8)
    distance = boundary_distance((truth.shape[0], truth.shape[1]), dilation)
    in_truth = boundary_band(truth, known, distance)
    in_guess = boundary_band(guess, known, distance)
    same = in_truth & in_guess & (truth == guess)
    counted = (truth[same], truth[in_truth], guess[in_guess])
    return np.stack([np.bincount(ids, minlength=classes) for ids in counted]).astype(np.int64)


class ScoringProtocol(Protocol):
    """Which classes a mean is taken over: published numbers differ by it.

    Pixels whose true id is in `ignored` (or is no class at all) are left out. The mean is taken
    over `counted`. An id in neither stays in the picture: what is wrongly predicted on its pixels
    costs the class that was predicted.
    """

    @property
    def name(self) -> str:
        """As users write it, for example "fmb14"."""
        ...

    @property
    def counted(self) -> Collection[int]:
        """Ids whose IoU enters the mean."""
        ...

    @property
    def ignored(self) -> Collection[int]:
        """True ids whose pixels are left out."""
        ...


class Confusion:
    """Counts predicted against true classes over any number of images.

    >>> import numpy as np
    >>> from segmif_ros import Confusion
    >>> confusion = Confusion(classes=3)
    >>> truth = np.array([[0, 1, 1], [2, 2, 255]], np.uint8)
    >>> confusion.add(truth, predicted=np.array([[0, 1, 2], [2, 2, 1]], np.uint8))
    >>> confusion.iou().round(2).tolist(), round(confusion.mean_iou(ignore=()), 2)
    ([1.0, 0.5, 0.67], 0.72)
    """

    def __init__(self, classes: int) -> None:
        self.matrix: NDArray[np.int64] = np.zeros((classes, classes), np.int64)

    def add(self, truth: Image8, predicted: Image8) -> None:
        """Count one image; ids outside the classes (255) are left out.

        Args:
            truth: HxW uint8, rows of the matrix.
            predicted: HxW uint8, columns; an unlabelled prediction counts as id 0.
        """
        classes = len(self.matrix)
        ids = np.arange(256, dtype=np.uint16)
        rows = np.where(ids < classes, ids * classes, classes**2).astype(np.uint16)
        columns = np.where(ids < classes, ids, 0).astype(np.uint16)
        cells = cv2.LUT(truth, rows) + cv2.LUT(predicted, columns)
        counts = np.bincount(cells.ravel(), minlength=classes**2)
        self.matrix += counts[: classes**2].reshape(classes, classes)

    def without(self, ignored: Collection[int]) -> Confusion:
        """Return a copy in which pixels of these true ids are not counted."""
        copy = Confusion(len(self.matrix))
        copy.matrix += self.matrix
        copy.matrix[[label for label in ignored if label < len(copy.matrix)]] = 0
        return copy

    def iou(self) -> NDArray[np.float64]:
        """Intersection over union per class; NaN for classes in neither truth nor prediction."""
        hit = np.diag(self.matrix).astype(np.float64)
        union = self.matrix.sum(axis=0) + self.matrix.sum(axis=1) - np.diag(self.matrix)
        return np.where(union > 0, hit / np.maximum(union, 1), np.nan)

    def class_accuracy(self) -> NDArray[np.float64]:
        """Share of a class's true pixels that were found; NaN for classes not in the truth."""
        pixels = self.matrix.sum(axis=1)
        found = np.diag(self.matrix).astype(np.float64)
        return np.where(pixels > 0, found / np.maximum(pixels, 1), np.nan)

    def mean_iou(self, ignore: Collection[int] = (0,)) -> float:
        """Mean IoU over the classes that occur in the truth and are not ignored."""
        present = self.matrix.sum(axis=1) > 0
        present[list(ignore)] = False
        return float(self.iou()[present].mean()) if present.any() else float("nan")

    def mean_over(self, counted: Collection[int], values: NDArray[np.float64]) -> float:
        """Mean of per-class values over those counted classes that occur in the truth, or NaN.

        A class without a value of its own (no outline, where all of its neighbours are ignored) is
        not in the mean.
        """
        occurs = [label for label in sorted(counted) if self.occurs(label)]
        known = values[occurs][np.isfinite(values[occurs])]
        return float(known.mean()) if known.size else float("nan")

    def occurs(self, label: int) -> bool:
        """Return whether a class has a pixel in the truth."""
        return label < len(self.matrix) and bool(self.matrix[label].any())

    def accuracy(self) -> float:
        """Share of counted pixels with the right class."""
        total = int(self.matrix.sum())
        return float(np.trace(self.matrix)) / total if total else float("nan")


class SegmentationScores(Tally):
    """Scores of masks against true labels, by row (which cameras the network saw) and split.

    Counts only whole numbers, so jobs combine exactly. Holds one matrix a row and split, whatever
    the number of images.
    """

    COUNTED = ("_frames", "_confusion", "_boundary")

    def __init__(
        self,
        classes: Sequence[LabelClass],
        *protocols: ScoringProtocol,
        dilation: float = DILATION,
    ) -> None:
        """Begin empty.

        Args:
            classes: classes of the truth and of the masks.
            protocols: at least one; the first one also rules the figures that are given once:
                per-class values, accuracies, boundary IoU, and what `add` returns.
            dilation: width of the compared outlines, as a share of the image diagonal.

        Raises:
            ValueError: no protocol.
        """
        if not protocols:
            raise ValueError("SegmentationScores needs at least one scoring protocol; none given")
        self.classes = tuple(classes)
        self.protocols = protocols
        self.dilation = dilation
        self._ids = max(label.id for label in self.classes) + 1
        self._frames, self._confusion, self._boundary = Counts(), Counts(), Counts()

    def add(
        self, truth: Image8, predicted: Image8, row: str = "fused", split: str | None = None
    ) -> float | None:
        """Count one image.

        Args:
            truth: HxW uint8 ids; ids that are no class (255) are left out.
            predicted: HxW uint8 ids; ids that are no class count as id 0, which is wrong wherever
                the truth is known to be something else.
            row: "fused", "visible" or "thermal": what the network saw; or another method's name.
            split: "day", "night"; None if not known.

        Returns:
            This image's mIoU by the first protocol, None if it shows no counted class.

        Raises:
            ScoreError: the sizes differ.
        """
        if truth.shape != predicted.shape or truth.ndim != 2:
            raise ScoreError(
                f"labels of shape {truth.shape} and mask of shape {predicted.shape} cannot be "
                "compared; expected two HxW arrays of one size"
            )
        protocol = self.protocols[0]
        confusion = Confusion(self._ids)
        confusion.add(truth, predicted)
        boundary = boundary_counts(
            truth, predicted, self._ids, ignored=protocol.ignored, dilation=self.dilation
        )
        key = (row, split or "")
        self._frames.add(key, 1)
        self._confusion.add(key, confusion.matrix)
        self._boundary.add(key, boundary)
        counted = confusion.without(protocol.ignored)
        return _finite(counted.mean_over(protocol.counted, counted.iou()))

    def confusion(self, row: str = "fused", split: str = WHOLE) -> Confusion:
        """Return the matrix of a row: true ids down, predicted ids across, nothing ignored."""
        found = Confusion(self._ids)
        found.matrix += self._confusion.of(row, split).at((), found.matrix.shape)
        return found

    def summary(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return row -> split -> figures; "all" is every image. Values are finite or None.

        Figures: `frames`, `pixels` (of known truth), `protocols` (name -> mIoU),
        `protocol_classes` (name -> number of classes in that mean), `pixel_accuracy`,
        `mean_accuracy`, `boundary_iou` (mean over the counted classes), and by class name
        `per_class` (IoU), `class_accuracy`, `class_boundary_iou`. See docs/metrics.md.
        """
        table: dict[str, dict[str, dict[str, Any]]] = {}
        for row, split in table_of(self._frames):
            table.setdefault(row, {})[split] = self._figures(row, split)
        return table

    def _figures(self, row: str, split: str) -> dict[str, Any]:
        first, confusion = self.protocols[0], self.confusion(row, split)
        seen = confusion.without(first.ignored)
        boundary = self._boundary.of(row, split)[()]
        both, truth, predicted = (c.astype(np.float64) for c in boundary)
        union = truth + predicted - both
        outline = np.where(union > 0, both / np.maximum(union, 1.0), np.nan)
        return {
            "frames": int(self._frames.of(row, split)[()]),
            "pixels": int(seen.matrix.sum()),
            "protocols": {p.name: self._mean_iou(confusion, p) for p in self.protocols},
            "protocol_classes": {
                p.name: sum(confusion.without(p.ignored).occurs(i) for i in p.counted)
                for p in self.protocols
            },
            "pixel_accuracy": _finite(seen.accuracy()),
            "mean_accuracy": _finite(seen.mean_over(first.counted, seen.class_accuracy())),
            "boundary_iou": _finite(seen.mean_over(first.counted, outline)),
            "per_class": self._by_class(seen.iou()),
            "class_accuracy": self._by_class(seen.class_accuracy()),
            "class_boundary_iou": self._by_class(outline),
        }

    @staticmethod
    def _mean_iou(confusion: Confusion, protocol: ScoringProtocol) -> float | None:
        seen = confusion.without(protocol.ignored)
        return _finite(seen.mean_over(protocol.counted, seen.iou()))

    def _by_class(self, values: NDArray[np.float64]) -> dict[str, float | None]:
        # A class whose true pixels are left out can only be predicted wrongly: nothing to score.
        left_out = self.protocols[0].ignored
        return {
            c.name: None if c.id in left_out else _finite(float(values[c.id])) for c in self.classes
        }

    def settings(self) -> dict[str, Any]:
        """Return classes, protocols and the width of outlines."""
        return {
            "classes": [[c.id, c.name] for c in self.classes],
            "protocols": [[p.name, sorted(p.counted), sorted(p.ignored)] for p in self.protocols],
            "dilation": self.dilation,
        }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
