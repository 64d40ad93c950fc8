# SPDX-License-Identifier: Apache-2.0
"""The balance of the two losses while they fall at different speeds.

Loss-ratio weighting (Liu, Johns and Davison, "End-to-end multi-task learning with attention", 2019)
as SegMiF uses it:

    r_i = L_i(now) / L_i(before),   w_i = K softmax(r / T)_i,   K = 2 losses

A loss that falls more slowly than the other gets more weight. The released SegMiF code compares two
single steps and has T = 1000, which keeps both weights within 0.0005 |r_0 - r_1| of 1: a constant.
Here two averages over a window of steps are compared, because the ratio of two single batches is
mostly noise, and T = 2.
"""

from __future__ import annotations

import math
from typing import Any

from segmif_ros.training.recipe_parts import Weighting

Pair = tuple[float, float]


class LossRatioWeighting:
    """Weights of the fusion and of the segmentation loss, from the losses themselves.

    Attributes:
        weights: of the next step; they add up to 2 and begin at 1 and 1.
    """

    def __init__(self, settings: Weighting) -> None:
        self._settings = settings
        self.weights: Pair = (1.0, 1.0)
        self._sums: Pair = (0.0, 0.0)
        self._count = 0
        self._before: Pair | None = None

    def observe(self, fusion: float, segmentation: float) -> None:
        """Take in the losses of one step, unweighted."""
        if self._settings.kind == "constant":
            return
        self._sums = (self._sums[0] + fusion, self._sums[1] + segmentation)
        self._count += 1
        if self._count < self._settings.window:
            return
        now = (self._sums[0] / self._count, self._sums[1] / self._count)
        # A batch without labels has a segmentation loss of 0: there is nothing to compare.
        if self._before is not None and min(*self._before, *now) > 0.0:
            ratios = (now[0] / self._before[0], now[1] / self._before[1])
            self.weights = ratio_weights(ratios, self._settings.temperature)
        self._before, self._sums, self._count = now, (0.0, 0.0), 0

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next steps depend on."""
        return {
            "weights": list(self.weights),
            "sums": list(self._sums),
            "count": self._count,
            "before": None if self._before is None else list(self._before),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.weights = _pair(state["weights"])
        self._sums, self._count = _pair(state["sums"]), int(state["count"])
        self._before = None if state["before"] is None else _pair(state["before"])


def ratio_weights(ratios: Pair, temperature: float) -> Pair:
    """Return 2 softmax(ratios / temperature)."""
    high = max(ratios)
    a, b = (math.exp((ratio - high) / temperature) for ratio in ratios)
    return 2.0 * a / (a + b), 2.0 * b / (a + b)


def _pair(values: Any) -> Pair:
    first, second = values
    return float(first), float(second)
