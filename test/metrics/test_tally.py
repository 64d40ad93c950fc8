# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

import numpy as np
import pytest

from segmif_ros.metrics.tally import ExactMean, row_order, split_order, table_of


def test_a_mean_does_not_depend_on_order_or_grouping() -> None:
    values = [float(v) for v in np.random.default_rng(0).normal(1e3, 1e2, 6)]
    means = set()
    for order in itertools.islice(itertools.permutations(values), 40):
        parts = [ExactMean(), ExactMean()]
        for index, value in enumerate(order):
            parts[index % 2].add(value)
        parts[0].merge(ExactMean(*parts[1].state()))
        means.add(parts[0].value)
    assert len(means) == 1
    assert means.pop() == pytest.approx(np.mean(values), abs=1e-11)


def test_nothing_has_no_mean_and_infinity_no_place() -> None:
    assert ExactMean().value is None
    with pytest.raises(ValueError, match="nan"):
        ExactMean().add(float("nan"))


def test_tables_read_in_one_order() -> None:
    assert row_order({"fused", "zeta", "alpha", "visible"}) == ["visible", "fused", "alpha", "zeta"]
    assert split_order({"night", "dusk", "all"}) == ["all", "night", "dusk"]
    keys = [("fused", "night"), ("visible", ""), ("fused", "")]
    assert table_of(keys) == [("visible", "all"), ("fused", "all"), ("fused", "night")]
