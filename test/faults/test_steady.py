# SPDX-License-Identifier: Apache-2.0
"""Faults of cameras while node and rig go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fault_bench import Bench
from fault_rows import STEADY, THERMAL_ABSENT, Row
from fault_run import run_row

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench(rig_options=["--fault", THERMAL_ABSENT.inject])


def test_thermal_absent_from_the_start(bench: Bench, results: list[dict[str, Any]]) -> None:
    run_row(bench, THERMAL_ABSENT, results, begin=lambda: bench.began_ns, from_start=True)


@pytest.mark.parametrize("row", STEADY, ids=lambda row: row.name)
def test_while_running(bench: Bench, results: list[dict[str, Any]], row: Row) -> None:
    run_row(bench, row, results)
