# SPDX-License-Identifier: Apache-2.0
"""Another driver, and a node that ends and is started again."""

from __future__ import annotations

import signal
from time import monotonic_ns
from typing import Any

import pytest
from fault_bench import Bench
from fault_rows import RELIABILITY, RESTARTS, Row
from fault_run import recorded, run_row

pytestmark = pytest.mark.system

Results = list[dict[str, Any]]
EXIT_S = 5.0


@pytest.fixture(scope="module")
def bench(fault_bench: Bench) -> Bench:
    """The node asks for reliable RGB images; the first rig does not offer them."""
    wish = "qos_overrides./rig/rgb/image_raw.subscription.reliability"
    fault_bench.begin(parameters={wish: "reliable"})
    return fault_bench


def test_reliability(bench: Bench, results: Results) -> None:
    def end() -> int:
        bench.end_rig(signal.SIGTERM)
        return bench.another_rig("--reliable")

    run_row(bench, RELIABILITY, results, end=end, from_start=True)


@pytest.mark.parametrize("row", RESTARTS, ids=lambda row: row.name)
def test_the_node_ends_and_is_started_again(bench: Bench, results: Results, row: Row) -> None:
    number = signal.Signals[row.name]
    with recorded(row, results) as record:
        if bench.node is None:
            bench.start_node()  # the row before failed half-way
        bench.settle(())
        span = bench.observer.span()
        code, seconds = bench.end_node(number)
        record["ended_s"] = round(seconds, 3)
        assert code == (-number if number == signal.SIGKILL else 0)
        if number != signal.SIGKILL:
            bench.observer.until(lambda: span.entered("stopped"), "word of the end")
        assert seconds < EXIT_S
        began = monotonic_ns()
        bench.start_node()

        def recovered() -> list[Any]:
            since = bench.since_start
            fused = any(mode.mode == "fused" for mode in since.mode_messages())
            return since.pictures("confidence") if fused else []

        first = bench.observer.until(recovered, "fused results of the new node")[0]
        record["recovery_s"] = round((first.seen_ns - began) / 1e9, 3)
        found = bench.complaints(span, row.clocks_off_s)
        assert not found, found[:5]
        assert record["recovery_s"] <= row.recovery_s
