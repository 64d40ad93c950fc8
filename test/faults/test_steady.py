# SPDX-License-Identifier: Apache-2.0
"""Faults of cameras while node and rig go on."""

from __future__ import annotations

from typing import Any

import pytest
from fault_bench import Bench
from fault_rows import NOT_ALLOWED, STEADY, THERMAL_ABSENT, Row
from fault_run import run_row

pytestmark = pytest.mark.system

Results = list[dict[str, Any]]


def marked(row: Row) -> Any:
    marks = [pytest.mark.xfail(reason=row.known, strict=True)] if row.known else []
    return pytest.param(row, marks=marks, id=row.name)


@pytest.fixture(scope="module")
def bench(fault_bench: Bench) -> Bench:
    fault_bench.begin(THERMAL_ABSENT.inject)
    return fault_bench


def test_thermal_absent_from_the_start(bench: Bench, results: Results) -> None:
    run_row(bench, THERMAL_ABSENT, results, from_start=True)


@pytest.mark.parametrize("row", map(marked, STEADY))
def test_while_running(bench: Bench, results: Results, row: Row) -> None:
    run_row(bench, row, results)


def test_no_camera_may_go_on_alone(bench: Bench, results: Results) -> None:
    bench.observer.set_parameter("/segmif", "degraded_mode", "none")
    try:
        run_row(bench, NOT_ALLOWED, results)
    finally:
        bench.observer.set_parameter("/segmif", "degraded_mode", "any")
