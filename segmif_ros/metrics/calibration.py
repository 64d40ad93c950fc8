# SPDX-License-Identifier: Apache-2.0
"""Does a confidence of 0.8 mean right in 80 % of pixels? By class, from counts that add up exactly.

Expected calibration error: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, with
15 bins of equal width, over the pixels that the network gives to a class.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmif_ros.frames import Image8
from segmif_ros.metrics.boxes import Box
from segmif_ros.metrics.tally import WHOLE, Counts, Tally, table_of

BINS = 15
ROAD_USERS_ABSENT = 254
"""Truth of a pixel that is known to be no road user and otherwise unknown."""
LEAST_PIXELS = 2000
"""With fewer pixels of a class no temperature is fitted."""
_LEVELS = 256
_TEMPERATURES = np.geomspace(0.25, 8.0, 241)


class CalibrationScores(Tally):
    """Counts the pixels of every class by confidence, and how many of them are right."""

    COUNTED = ("_counts", "_boxes", "_labelled")

    def __init__(self) -> None:
        self._counts, self._boxes = Counts(), Counts()
        self._labelled = 0

    def add(
        self,
        mask: Image8,
        confidence: Image8,
        *,
        truth: Image8 | None = None,
        classes: Collection[int] = (),
        boxes: Sequence[Box] | None = None,
        boxed: Collection[int] = (),
        split: str | None = None,
    ) -> None:
        """Count one picture.

        Args:
            mask: HxW ids that the network predicts.
            confidence: HxW, probability of that class x 255.
            truth: HxW ids, None without labels; only ids in `classes` are known, and 254 as well
                where the network predicts a class of `boxed`.
            classes: ids that truth may hold.
            boxes: objects of the classes `boxed`, all that there are; None where there are none.
                Pixels of these classes are right inside a box of their own class.
            boxed: see `boxes`.
            split: day or night.
        """
        known = np.zeros(mask.shape, bool)
        right = np.zeros(mask.shape, bool)
        user = np.isin(mask, list(boxed))
        if truth is not None:
            self._labelled += 1
            known = np.isin(truth, list(classes)) | ((truth == ROAD_USERS_ABSENT) & user)
            right = truth == mask
        if boxes is not None:
            for box in boxes:
                self._boxes.add((box.label,), [1])
            inside = np.zeros(mask.shape, bool)
            for box in boxes:
                area = np.s_[box.top : box.bottom, box.left : box.right]
                inside[area] |= mask[area] == box.label
            known, right = known | user, np.where(user, inside, right)
        places = mask.astype(np.int32) * _LEVELS + confidence
        seen = np.bincount(places[known], minlength=_LEVELS**2).reshape(_LEVELS, _LEVELS)
        hits = np.bincount(places[known & right], minlength=_LEVELS**2).reshape(_LEVELS, _LEVELS)
        for label in np.flatnonzero(seen.any(axis=1)).tolist():
            self._counts.add(("fused", split or "", label), [seen[label], hits[label]])

    def summary(self, names: Mapping[int, str]) -> dict[str, dict[str, dict[str, Any]]]:
        """Return split -> class -> figures, for the classes in `names`.

        `error` is the expected calibration error, `accuracy` and `confidence` are means over the
        `pixels` that the network gives to the class, `bins` holds confidence, accuracy and share
        of the pixels of every bin that has some.
        """
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for _, split in table_of(self._counts):
            by_class = {
                names[label]: _figures(counts)
                for label, counts in sorted(self._of(split).items())
                if label in names
            }
            if by_class:
                found[split] = by_class
        return found

    def temperatures(self, names: Mapping[int, str]) -> dict[str, float]:
        """Return for each class the temperature under which its confidences are most likely.

        One temperature divides the log-odds of a class's confidence. Classes with fewer than
        `LEAST_PIXELS` known pixels have none.
        """
        fitted = {}
        for label, (seen, hits) in sorted(self._of(WHOLE).items()):
            if label in names and seen.sum() >= LEAST_PIXELS:
                odds = _log_odds()[None] / _TEMPERATURES[:, None]
                likelihood = -np.logaddexp(0, -odds) @ hits - np.logaddexp(0, odds) @ (seen - hits)
                fitted[names[label]] = round(float(_TEMPERATURES[likelihood.argmax()]), 3)
        return fitted

    def _of(self, split: str) -> dict[int, NDArray[np.int64]]:
        """Counts by class; with boxes alone, only of classes that have boxes."""
        return {
            label: counts
            for (label,), counts in self._counts.of("fused", split).items()
            if self._labelled or (label,) in self._boxes
        }


def confidence_table(temperatures: Mapping[int, float], classes: int) -> Image8:
    """Return classes x 256: what a confidence (x 255) of a class becomes under its temperature.

    Args:
        temperatures: by class id; 1 for those that are not named.
        classes: number of classes.
    """
    table = np.tile(np.arange(_LEVELS, dtype=np.uint8), (classes, 1))
    for label, temperature in temperatures.items():
        if temperature != 1.0:
            odds = _log_odds() / temperature
            table[label] = np.round(255.0 / (1.0 + np.exp(-odds)))
    return table


def _log_odds() -> NDArray[np.float64]:
    """Log-odds of every level; the ends count half a step inside, where they are finite."""
    level = np.clip(np.arange(_LEVELS), 0.5, 254.5) / 255.0
    return np.asarray(np.log(level / (1.0 - level)), np.float64)


def _figures(counts: NDArray[np.int64]) -> dict[str, Any]:
    seen, hits = counts
    level = np.arange(_LEVELS) / 255.0
    place = np.minimum((level * BINS).astype(int), BINS - 1)
    pixels, right = np.bincount(place, seen, BINS), np.bincount(place, hits, BINS)
    sure = np.bincount(place, seen * level, BINS)
    total = float(seen.sum())
    there = pixels > 0
    return {
        "pixels": int(total),
        "accuracy": float(hits.sum() / total),
        "confidence": float(sure.sum() / total),
        "error": float(np.abs(right - sure).sum() / total),
        "bins": [
            [float(sure[i] / pixels[i]), float(right[i] / pixels[i]), float(pixels[i] / total)]
            for i in np.flatnonzero(there)
        ],
    }
