# SPDX-License-Identifier: Apache-2.0
"""Many samples of one quantity in five numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Distribution:
    """Summary of samples, in their own unit.

    Attributes:
        count: how many samples.
        p50: median.
        p95: 95th percentile.
        p99: 99th percentile.
        max: the largest.
    """

    count: int
    p50: float
    p95: float
    p99: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Distribution | None:
        """Summarise samples; None when there are none."""
        if not values:
            return None
        p50, p95, p99, most = (float(x) for x in np.percentile(values, (50, 95, 99, 100)))
        return cls(len(values), p50, p95, p99, most)


def distributions(samples: dict[str, list[float]]) -> dict[str, Distribution]:
    """Summarise each quantity that has samples."""
    found = {name: Distribution.of(values) for name, values in samples.items()}
    return {name: summary for name, summary in found.items() if summary is not None}
