# SPDX-License-Identifier: Apache-2.0
"""Counts over the pairs of a drive; sums of several bags are exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.bundle import LabelClass
from segmif_ros.calibration.alignment_watch import AlignmentState, AlignmentWatch
from segmif_ros.calibration.edge_shift import large_enough
from segmif_ros.datasets.protocol import Protocol
from segmif_ros.evaluation.ground_truth import LabelError, at_size_of
from segmif_ros.evaluation.kept_pictures import Gallery, PairImages
from segmif_ros.evaluation.settings import ALIGNMENT_EVERY_S, DriveSettings
from segmif_ros.frames import UNLABELLED, Image8
from segmif_ros.metrics.boxes import Box, BoxScores
from segmif_ros.metrics.calibration import CalibrationScores
from segmif_ros.metrics.flicker import BLOCK, Flicker, MaskFlicker
from segmif_ros.metrics.fusion import METRICS, SMALLEST
from segmif_ros.metrics.fusion_scores import FusionScores
from segmif_ros.metrics.objects import ObjectScores
from segmif_ros.metrics.segmentation import SegmentationScores
from segmif_ros.metrics.tally import ROWS, Counts, Tally
from segmif_ros.recordings.recording import Downsampler, evenly

MOST_ROWS = 2000
"""Largest number of rows in a table of pairs."""

COLUMNS = (
    *("t_s", "source", "difference_ms", "confidence", "brightness"),
    *("visible_SD", "thermal_SD", "fused_SD", "miou", "stamp_ns"),
)
"""Columns of the table of pairs: seconds since the bag's first pair, number of the bag, thermal
minus RGB time, mean confidence (0 to 1), mean luma of the visible picture, standard deviations of
luma, the mIoU of this pair where it has labels, and the stamp of its RGB image."""

FUSION_COLUMNS = ("t_s", "source", *METRICS, "stamp_ns")
"""Columns of the table of pairs whose fused image was measured."""

NIGHT_BELOW = 50.0
"""Largest mean luma of a visible picture at night. It classifies 95 % of the 220 MSRS pairs
correctly, which are marked day or night."""

_MASK_ROWS = 4
"""Class shares are counted on every n-th row of a mask."""

_RESOLUTION_MS = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class EvaluatedPair:
    """One pair with its results; the arrays must not change afterwards.

    Attributes:
        stamp_ns: of the RGB image.
        t_s: seconds since the first pair of the bag.
        difference_ns: thermal minus RGB after the offsets, None if not known.
        images: as the node would have published them; `thermal` is normalised and registered.
        alone: mask and confidence of the network with one camera blanked, by row; empty if it was
            not run so.
        truth: class ids of the protocol, None without.
        boxes: objects, None without.
        open_shutter: the shutter of the thermal camera is open.
        valid: HxW, 0 where thermal has no data; None if it has data everywhere.
        heat: HxW thermal values in the RGB image, NaN without data; None if not needed.
    """

    stamp_ns: int
    t_s: float
    difference_ns: int | None
    images: PairImages
    alone: Mapping[str, tuple[Image8, Image8]] = field(default_factory=dict)
    truth: Image8 | None = None
    boxes: Sequence[Box] | None = None
    open_shutter: bool = True
    valid: Image8 | None = None
    heat: NDArray[np.float32] | None = None


class Histogram(Tally):
    """A histogram of milliseconds in steps of 0.1: percentiles in bounded memory, exact to add."""

    COUNTED = ("_counts",)

    def __init__(self) -> None:
        self._counts = Counts()

    def add(self, milliseconds: float) -> None:
        """Count one value."""
        self._counts.add((round(milliseconds / _RESOLUTION_MS),), 1)

    def summary(self) -> dict[str, float | int | None]:
        """Return p50, p95, p99, max and count; None where nothing was counted."""
        if not self._counts:
            return {"p50": None, "p95": None, "p99": None, "max": None, "count": 0}
        steps, counts = zip(*self._counts.state(), strict=True)
        sums = np.cumsum(counts)
        total = int(sums[-1])
        found: dict[str, float | int | None] = {
            f"p{part}": _RESOLUTION_MS * steps[int(np.searchsorted(sums, total * part / 100))]
            for part in (50, 95, 99)
        }
        return {**found, "max": _RESOLUTION_MS * steps[-1], "count": total}


class DownsampledTable(Downsampler[list[float | None]]):
    """A downsampled table of at most `MOST_ROWS` rows."""

    def __init__(self, stride: int = 1, rows: Sequence[Sequence[float | None]] = ()) -> None:
        """Begin empty, or with a result of `state`."""
        super().__init__(MOST_ROWS)
        self._items, self._stride = [list(row) for row in rows], stride
        self._seen = stride * len(self._items)

    def state(self) -> dict[str, Any]:
        """Return stride and rows for JSON."""
        return {"stride": self.stride, "rows": list(self.items)}

    @staticmethod
    def joined(
        tables: Sequence[DownsampledTable], numbers: Sequence[int]
    ) -> tuple[int, list[list[Any]]]:
        """Concatenate tables of several bags, thinned to one stride and `MOST_ROWS`.

        Args:
            tables: one of each bag.
            numbers: of the bags; they go into the second column.
        """
        states = [table.state() for table in tables]
        stride = max((state["stride"] for state in states), default=1)
        while True:
            rows = [
                [row[0], number, *row[2:]]
                for number, state in zip(numbers, states, strict=True)
                for row in state["rows"][:: stride // state["stride"]]
            ]
            if len(rows) <= MOST_ROWS:
                return stride, rows
            if len(rows) == sum(bool(state["rows"]) for state in states):
                return stride, list(evenly(tuple(rows), MOST_ROWS))  # one row of each bag is left
            stride *= 2


class DriveScores(Tally):
    """Counts the pairs of one bag; `state` and `from_state` move it between processes.

    `DownsampledTable.joined` concatenates the tables of several bags.
    """

    COUNTED = (
        *("fusion", "segmentation", "boxes", "objects", "calibration", "mask_flicker", "flicker"),
        *("seen", "difference", "label_problems", "evaluated", "same"),
    )
    TABLES = ("frames", "fusion_frames", "alignment")

    def __init__(
        self,
        settings: DriveSettings,
        classes: Sequence[LabelClass],
        protocols: Sequence[Protocol] = (),
    ) -> None:
        """Begin empty.

        Args:
            settings: of the evaluation.
            classes: of the model.
            protocols: how labels are scored; none without labels.

        Raises:
            ValueError: the model's classes cannot be read in the protocol.
        """
        self._light = settings.light
        self.classes = tuple(classes)
        self.protocols = tuple(protocols)
        self.fusion = FusionScores(settings.metrics_every)
        self.segmentation: SegmentationScores | None = None
        if protocols:
            self._table = protocols[0].prediction_table(classes)
            self.segmentation = SegmentationScores(protocols[0].classes, *protocols)
            ids = [*(label.id for label in protocols[0].classes), *protocols[0].ignored]
            self._known = np.isin(np.arange(256), [*ids, 254, UNLABELLED])
        self.boxes, self.objects = BoxScores(), ObjectScores()
        self.box_labels: tuple[int, ...] = ()
        self.calibration = CalibrationScores()
        self.flicker = {row: Flicker() for row in ROWS}
        self.mask_flicker = MaskFlicker()
        self.seen: NDArray[np.int64] = np.zeros(256, np.int64)
        self.difference = Histogram()
        self.frames = DownsampledTable()
        self.fusion_frames = DownsampledTable()
        self.alignment = DownsampledTable()
        self.gallery = Gallery()
        self.label_problems: dict[str, int] = {}
        self.evaluated = 0
        self.same = Counts()
        self._watch = AlignmentWatch()
        self._aligned_s: float | None = None

    def add(self, pair: EvaluatedPair) -> None:
        """Count one pair."""
        images = pair.images
        luma = _luma(images.visible)
        fused_luma = _luma(images.fused)
        brightness = float(cv2.mean(luma)[0])
        split = self._split(brightness)
        self.evaluated += 1
        difference_ms = None if pair.difference_ns is None else pair.difference_ns / 1e6
        if difference_ms is not None:
            self.difference.add(abs(difference_ms))
        some = np.ascontiguousarray(images.mask[::_MASK_ROWS])
        histogram = cv2.calcHist([some], [0], None, [256], [0, 256])
        self.seen += histogram.ravel().astype(np.int64)
        self.mask_flicker.add(images.mask)
        if min(luma.shape) >= BLOCK:
            for row, image in zip(ROWS, (luma, images.thermal, fused_luma), strict=True):
                self.flicker[row].add(image)
        scores = None
        if min(luma.shape) >= SMALLEST:
            scores = self.fusion.add(images.thermal, luma, fused_luma, split)
        if scores is not None:
            values = [scores["fused"][name] for name in METRICS]
            self.fusion_frames.add([pair.t_s, None, *values, pair.stamp_ns])
        for row, (mask, _) in pair.alone.items():
            self.same.add((row,), [int(np.count_nonzero(mask == images.mask)), mask.size])
        miou = self._score(pair, split)
        confidence = float(cv2.mean(images.confidence)[0]) / 255.0
        deviations = [_deviation(each) for each in (luma, images.thermal, fused_luma)]
        told = [difference_ms, confidence, brightness, *deviations, miou, pair.stamp_ns]
        self.frames.add([pair.t_s, None, *told])
        self._align(pair)
        self._picture(pair, confidence, miou)

    def state(self) -> dict[str, Any]:
        """Return everything counted as JSON-able values; pictures are not part of it."""
        tables = {name: getattr(self, name).state() for name in self.TABLES}
        return {**super().state(), **tables}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a result of `state`."""
        super().restore(state)
        for name in self.TABLES:
            setattr(self, name, DownsampledTable(**state[name]))

    def _split(self, brightness: float) -> str:
        if self._light != "auto":
            return self._light
        return "night" if brightness < NIGHT_BELOW else "day"

    def _score(self, pair: EvaluatedPair, split: str) -> float | None:
        """Compare all rows with the ground truth; return the mIoU of the fused row."""
        masks = {**pair.alone, "fused": (pair.images.mask, pair.images.confidence)}
        if pair.boxes is not None:
            for row, (mask, _) in masks.items():
                self.boxes.add(pair.boxes, mask, self.box_labels, row, split)
            self.objects.add_masks(pair.boxes, masks, self.classes, pair.heat, split)
            if pair.truth is None:
                self.calibration.add(
                    pair.images.mask,
                    pair.images.confidence,
                    boxes=pair.boxes,
                    boxed=self.box_labels,
                    split=split,
                )
        if pair.truth is None or self.segmentation is None:
            return None
        unknown = np.flatnonzero(np.bincount(pair.truth.ravel(), minlength=256) * ~self._known)
        if unknown.size:
            self.note_label_problem(
                f"labels hold id {', '.join(map(str, unknown[:4]))}, which is no class of "
                f"{self.protocols[0].labels!r}; are these labels of another class list?"
            )
            return None
        miou = None
        try:
            for row, (mask, _) in masks.items():
                predicted = at_size_of(pair.truth, self._table[mask])
                value = self.segmentation.add(pair.truth, predicted, row, split)
                if row == "fused":
                    miou = value
                    self._calibrate(pair, predicted, split)
        except LabelError as err:
            self.note_label_problem(str(err))
        return miou

    def _calibrate(self, pair: EvaluatedPair, predicted: Image8, split: str) -> None:
        """Count confidences against labels, in the ids of the protocol."""
        confidence = pair.images.confidence
        if pair.truth is None or predicted.shape != confidence.shape:
            return
        counted = self.protocols[0].counted
        self.calibration.add(
            predicted, confidence, truth=pair.truth, classes=counted, boxed=counted, split=split
        )

    def note_label_problem(self, text: str) -> None:
        """Count unusable ground truth."""
        self.label_problems[text] = self.label_problems.get(text, 0) + 1

    def _align(self, pair: EvaluatedPair) -> None:
        """Measure the alignment of thermal on RGB at intervals, as the node does."""
        images = pair.images
        due = self._aligned_s is None or abs(pair.t_s - self._aligned_s) >= ALIGNMENT_EVERY_S
        if not (due and pair.open_shutter and large_enough(images.visible.shape[:2])):
            return
        self._aligned_s = pair.t_s
        found = self._watch.measure(images.visible, images.thermal, pair.valid)
        certain = found.judgement is not AlignmentState.UNKNOWN
        self.alignment.add([pair.t_s, None, found.shift.dx, found.shift.dy, float(certain)])

    def _picture(self, pair: EvaluatedPair, confidence: float, miou: float | None) -> None:
        if self.segmentation is not None and miou is None:
            return  # if some pairs have labels, the others are not ranked
        score, why = confidence, f"mean confidence {confidence:.3f}"
        if miou is not None:
            score, why = miou, f"mIoU of this pair {miou:.3f}"
        self.gallery.add(pair.stamp_ns, score, why, pair.images)


def _luma(image: Image8) -> Image8:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)


def _deviation(image: Image8) -> float:
    _, deviation = cv2.meanStdDev(image)
    return float(deviation[0, 0])
