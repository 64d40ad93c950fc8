# SPDX-License-Identifier: Apache-2.0
"""Faults between the processes: nobody there, no simulated time, drivers that die."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from fault_bench import Bench
from fault_rows import BOTH_ABSENT, DRIVERS_KILLED, NO_CLOCK
from fault_run import run_row

pytestmark = pytest.mark.system

Results = list[dict[str, Any]]


@pytest.fixture(scope="module")
def bench(fault_bench: Bench) -> Bench:
    fault_bench.begin(BOTH_ABSENT.inject, parameters={"use_sim_time": True})
    return fault_bench


def test_both_absent_from_the_start(bench: Bench, results: Results) -> None:
    run_row(bench, BOTH_ABSENT, results, from_start=True)


def test_simulated_time_without_a_clock(bench: Bench, results: Results) -> None:
    run_row(bench, NO_CLOCK, results, end=bench.observer.publish_clock, from_start=True)


def test_drivers_are_killed(bench: Bench, results: Results) -> None:
    run_row(
        bench, DRIVERS_KILLED, results,
        begin=lambda: bench.end_rig(signal.SIGKILL), end=bench.another_rig,
    )  # fmt: skip
