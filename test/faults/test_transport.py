# SPDX-License-Identifier: Apache-2.0
"""Faults between the processes: nobody there, no simulated time, drivers that die."""

from __future__ import annotations

import signal
from collections.abc import Callable
from time import monotonic_ns
from typing import Any

import pytest
from fault_bench import Bench
from fault_rows import BOTH_ABSENT, DRIVERS_KILLED, NO_CLOCK
from fault_run import run_row

pytestmark = pytest.mark.system

Results = list[dict[str, Any]]


@pytest.fixture(scope="module")
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench(
        rig_options=["--fault", BOTH_ABSENT.inject], parameters={"use_sim_time": True}
    )


def test_both_absent_from_the_start(bench: Bench, results: Results) -> None:
    run_row(bench, BOTH_ABSENT, results, from_start=True)


def test_simulated_time_without_a_clock(bench: Bench, results: Results) -> None:
    run_row(bench, NO_CLOCK, results, end=bench.observer.publish_clock, from_start=True)


def test_drivers_are_killed(bench: Bench, results: Results) -> None:
    def begin() -> int:
        bench.observer.alarm = lambda: ""
        bench.rig.end(signal.SIGKILL)
        return monotonic_ns()

    run_row(
        bench, DRIVERS_KILLED, results,
        begin=begin, end=lambda: bench.another_rig(signal.SIGKILL),
    )  # fmt: skip
