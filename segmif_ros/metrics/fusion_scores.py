# SPDX-License-Identifier: Apache-2.0
"""Fusion metrics over many pictures: means by row and split that combine exactly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from segmif_ros.frames import Image8
from segmif_ros.metrics.fusion import METRICS, fusion_rows
from segmif_ros.metrics.tally import Counts, ExactMean, Tally, table_of


class FusionScores(Tally):
    """Means of all metrics over pictures: rows for both inputs, the fused image, other methods.

    The inputs are scored as if they were the fused image: what a method is worth shows only beside
    what doing nothing is worth.
    """

    COUNTED = ("_seen", "_means")

    def __init__(self, every: int = 1) -> None:
        """Begin empty.

        Args:
            every: score the first of every so many pictures; the metrics cost more than a network
                that is made for speed.

        Raises:
            ValueError: `every` is below 1.
        """
        if every < 1:
            raise ValueError(f"every is {every}; expected 1 (all pictures) or more")
        self.every = every
        self._seen = 0
        self._means = Counts(object)

    def add(
        self,
        thermal: Image8,
        visible: Image8,
        fused: Image8 | Mapping[str, Image8],
        split: str | None = None,
    ) -> dict[str, dict[str, float]] | None:
        """Count one picture, or skip it if it is not its turn.

        Args:
            thermal: HxW uint8, registered.
            visible: HxWx3 RGB or HxW uint8.
            fused: HxWx3 RGB or HxW uint8; several by name: {"fused": ..., "other method": ...}.
            split: "day", "night"; None if not known.

        Returns:
            row -> metric -> value of this picture; None if it was skipped.

        Raises:
            ValueError: the images differ in size.
        """
        turn = self._seen % self.every == 0
        self._seen += 1
        if not turn:
            return None
        others = fused if isinstance(fused, Mapping) else {"fused": fused}
        rows = fusion_rows(
            thermal, _luma(visible), {name: _luma(image) for name, image in others.items()}
        )
        for row, scores in rows.items():
            for metric, value in scores.items():
                mean = ExactMean()
                mean.add(value)
                self._means.add((row, split or "", metric), mean.state())
        return rows

    def settings(self) -> dict[str, Any]:
        """Return how the pictures are sampled."""
        return {"every": self.every}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned, sampled as it was."""
        self.every = int(state["settings"]["every"])
        super().restore(state)

    def summary(self) -> dict[str, dict[str, dict[str, float | int | None]]]:
        """Return row -> split -> metric -> mean, and `frames`; "all" is every scored picture."""
        table: dict[str, dict[str, dict[str, float | int | None]]] = {}
        for row, split in table_of(self._means):
            sums = self._means.of(row, split)
            total = {metric: ExactMean(*sums.at((metric,), 2)) for metric in METRICS}
            figures: dict[str, float | int | None] = {m: mean.value for m, mean in total.items()}
            table.setdefault(row, {})[split] = {**figures, "frames": total["EN"].count}
        return table


def _luma(image: Image8) -> Image8:
    """HxWx3 RGB to HxW, BT.601."""
    return (
        image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    )
