# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from benchmarks.dds.distribution import Distribution, distributions


def test_the_five_numbers_are_those_of_numpy() -> None:
    values = np.random.default_rng(0).gamma(2.0, 5.0, 700).tolist()
    found = Distribution.of(values)
    assert found is not None
    assert found.count == 700
    expected = np.percentile(values, (50, 95, 99, 100))
    assert (found.p50, found.p95, found.p99, found.max) == pytest.approx(tuple(expected))


def test_nothing_measured_is_not_zero() -> None:
    assert Distribution.of([]) is None
    assert distributions({"empty": [], "one": [3.0]}) == {
        "one": Distribution(1, 3.0, 3.0, 3.0, 3.0)
    }
