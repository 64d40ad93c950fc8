# SPDX-License-Identifier: Apache-2.0
"""Scores a network on the pairs of a data set: masks, boxes and fusion, also with one camera.

The network runs in the node's `Perceiver`: other sizes are scaled, and a lost camera is blanked
as in the node. Every table has the same rows: visible alone, thermal
alone, and both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segmif_ros.datasets.protocol import Protocol
from segmif_ros.datasets.sample import DatasetError, Sample, images, read_rgb
from segmif_ros.evaluation.kept_pictures import PairImages
from segmif_ros.frames import Image8, Pair
from segmif_ros.metrics.boxes import Box, BoxScores
from segmif_ros.metrics.calibration import CalibrationScores
from segmif_ros.metrics.fusion import METRICS
from segmif_ros.metrics.fusion_scores import FusionScores
from segmif_ros.metrics.objects import ObjectScores, named_figures
from segmif_ros.metrics.segmentation import SegmentationScores
from segmif_ros.metrics.tally import Tally, by_split
from segmif_ros.perceiver import Perceiver

PAIR_COLUMNS = ("name", "when", "miou", "hit", *METRICS)
"""Columns of the table of pairs, all of the row "fused": mIoU by the first protocol, share of boxes
hit, fusion metrics; None where there is nothing to score."""

OtherMethods = Mapping[str, Callable[[str], Image8]]
"""Fused images of other methods: row name -> reader of a pair's picture (HxWx3 RGB) by name."""


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """One pair as it was scored, kept for a picture.

    Attributes:
        name: of the pair.
        score: by which it was ranked.
        why: name of that score.
        images: of one size HxW; the mask holds ids of the protocol's classes.
        truth: likewise, 255 where unlabelled; None without labels.
        boxes: manual boxes, if any.
    """

    name: str
    score: float
    why: str
    images: PairImages
    truth: Image8 | None
    boxes: tuple[Box, ...]


class WorstPairs:
    """Keeps a fixed number of pairs with the lowest scores."""

    def __init__(self, most: int) -> None:
        """Keep at most so many."""
        self.most = most
        self._kept: list[Shown] = []

    def wants(self, score: float) -> bool:
        """Return whether a pair of this score would be kept; infinity stands for not scored."""
        full = len(self._kept) >= self.most
        return math.isfinite(score) and self.most > 0 and (not full or score < self._kept[-1].score)

    def add(self, shown: Shown) -> None:
        """Keep a pair, and drop the best one if there are too many."""
        ranked = sorted([*self._kept, shown], key=lambda each: (each.score, each.name))
        self._kept = ranked[: self.most]

    def sorted(self) -> list[Shown]:
        """Return the kept pairs, the worst first."""
        return list(self._kept)


class DatasetScores(Tally):
    """Counts over the pairs of a data set; sums of several jobs are exact."""

    COUNTED = ("segmentation", "boxes", "objects", "calibration", "fusion", "pairs")

    def __init__(self, protocols: Sequence[Protocol], every: int = 1) -> None:
        """Begin empty.

        Args:
            protocols: at least one, all of one class list, which labels and boxes are in.
            every: interval of fusion measurements, pairs.
        """
        self.protocols = tuple(protocols)
        self.segmentation = SegmentationScores(protocols[0].classes, *protocols)
        self.boxes = BoxScores()
        self.objects = ObjectScores()
        self.calibration = CalibrationScores()
        self.fusion = FusionScores(every)
        self.pairs: list[list[Any]] = []

    def summary(self) -> dict[str, Any]:
        """Return the figures as in a drive's report: `segmentation`, `boxes`, `fusion`, ..."""
        masks = segmentation_facts(self.segmentation, self.protocols)
        return {
            "segmentation": masks if masks["rows"] else None,
            "boxes": named_figures(self.boxes, self.objects, self.segmentation.classes) or None,
            "calibration": self.calibration.summary(
                {label.id: label.name for label in self.segmentation.classes}
            ),
            "fusion": {**by_split(self.fusion.summary()), "every": self.fusion.every},
            "pairs": {"columns": list(PAIR_COLUMNS), "rows": sorted(self.pairs)},
        }


def segmentation_facts(scores: SegmentationScores, protocols: Sequence[Protocol]) -> dict[str, Any]:
    """Return the mask scores of a report: classes, protocols, rows and the confusion."""
    ids = [label.id for label in scores.classes]
    return {
        "classes": [label.name for label in scores.classes],
        "protocols": {
            p.name: {"counted": list(p.counted), "ignored": list(p.ignored), "about": p.about}
            for p in protocols
        },
        "rows": scores.summary(),
        "confusion": {"ids": ids, "matrix": scores.confusion().matrix[ids][:, ids].tolist()},
    }


def score_pairs(
    entries: Iterable[Callable[[], Sample]],
    perceiver: Perceiver,
    scores: DatasetScores,
    translation: Image8,
    *,
    others: OtherMethods | None = None,
    worst: WorstPairs | None = None,
    progress: Callable[[], object] = lambda: None,
) -> None:
    """Run the network on every pair and add its scores.

    Machine-made labels are not scored.

    Args:
        entries: the pairs.
        perceiver: the node's processing around the network.
        scores: receives the counts.
        translation: 256 ids, from the network's classes to those of the protocols.
        others: fused images of other methods; each must have every pair.
        worst: keeps the worst pairs.
        progress: called after every pair.

    Raises:
        DatasetError: a pair cannot be read.
        ScoreError, ValueError: labels or another method's picture have another size.
    """
    for read in entries:
        sample = read()
        shown = _score(sample, perceiver, scores, translation, others or {})
        if worst is not None and worst.wants(shown.score):
            worst.add(shown)
        progress()


def _score(
    sample: Sample,
    perceiver: Perceiver,
    scores: DatasetScores,
    translation: Image8,
    others: OtherMethods,
) -> Shown:
    # Read other methods' pictures first, so that a missing one leaves no partly counted pair.
    made = {name: picture(sample.name) for name, picture in others.items()}
    seen = perceiver.perceive(Pair(sample.rgb, sample.thermal, 1, 1))
    mask, fused, confidence = translation[seen.mask], seen.fused.copy(), seen.confidence.copy()
    rows = scores.fusion.add(sample.thermal, sample.rgb, {"fused": fused, **made}, sample.when)
    figures = dict.fromkeys(PAIR_COLUMNS) | (rows["fused"] if rows else {})
    truth = None if sample.machine_made else sample.labels
    masks = {"fused": (mask, confidence)}
    if truth is not None or sample.boxes is not None:
        alone = with_one_camera(sample.rgb, sample.thermal, perceiver)
        masks |= {row: (translation[found], sure) for row, (found, sure) in alone.items()}
    if truth is not None or sample.boxes is not None:
        counted = scores.protocols[0].counted
        scores.calibration.add(
            mask,
            confidence,
            truth=truth,
            classes=counted,
            boxes=sample.boxes,
            boxed=counted,
            split=sample.when,
        )
    if sample.boxes is not None:
        heat = np.asarray(sample.thermal, np.float32)
        scores.objects.add_masks(
            sample.boxes, masks, scores.segmentation.classes, heat, sample.when
        )
    for row, (found, _) in masks.items():
        if truth is not None:
            miou = scores.segmentation.add(truth, found, row, sample.when)
            figures |= {"miou": miou} if row == "fused" else {}
        if sample.boxes is not None:
            labels = [label.id for label in scores.segmentation.classes]
            hit = scores.boxes.add(sample.boxes, found, labels, row, sample.when)
            figures |= {"hit": hit} if row == "fused" else {}
    figures |= {"name": sample.name, "when": sample.when}
    scores.pairs.append([figures[column] for column in PAIR_COLUMNS])
    why, score = _rank(sample, figures)
    images = PairImages(sample.rgb, sample.thermal, fused, mask, confidence)
    return Shown(sample.name, score, why, images, truth, sample.boxes or ())


def with_one_camera(
    rgb: Image8, thermal: Image8, perceiver: Perceiver, stamps_ns: tuple[int, int] = (1, 1)
) -> dict[str, tuple[Image8, Image8]]:
    """Return masks and confidences of the same network with the other camera lost, copied.

    Args:
        rgb: HxWx3 uint8.
        thermal: HxW uint8, on the RGB image.
        perceiver: shows thermal as it is.
        stamps_ns: of the RGB and the thermal image.
    """
    size = (rgb.shape[0], rgb.shape[1])
    pairs = {
        "visible": Pair(rgb, None, *stamps_ns),
        "thermal": Pair(None, thermal, *stamps_ns, rgb_size=size),
    }
    results = ((row, perceiver.perceive(pair)) for row, pair in pairs.items())
    return {row: (found.mask.copy(), found.confidence.copy()) for row, found in results}


def _rank(sample: Sample, figures: Mapping[str, Any]) -> tuple[str, float]:
    """Return the score for the ranking: the strictest one available in this data set."""
    column, name = "Qabf", "Qabf"
    if sample.boxes is not None:
        column, name = "hit", "boxes hit"
    elif sample.labels is not None:
        column, name = "miou", "mIoU"
    value = figures[column]
    return name, math.inf if value is None else float(value)


def fused_images(folder: Path) -> Callable[[str], Image8]:
    """Return a reader of the pictures in a folder by the name of a pair.

    The file of a pair has its name, or the last part of it, with any suffix of a picture.

    Raises:
        DatasetError: no such folder, or no picture in it; from the reader, no picture of that name.
    """
    found = images(folder)
    if not found:
        raise DatasetError(f"{folder} holds no picture; give a folder of fused images")

    def read(name: str) -> Image8:
        for wanted in (name, name.rsplit("/", 1)[-1]):
            if wanted in found:
                return read_rgb(found[wanted])
        example = next(iter(found))
        raise DatasetError(
            f"{folder} has no picture {name!r} (it has {example!r} and {len(found) - 1} more); "
            "a method is compared on all pairs or on none: leave pairs out with --limit or --split"
        )

    return read
