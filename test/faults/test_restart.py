# SPDX-License-Identifier: Apache-2.0
"""Another driver, and a node that ends and is started again."""

from __future__ import annotations

import signal
from collections.abc import Callable
from time import monotonic_ns
from typing import Any

import pytest
from fault_bench import Bench, free_memory, own_memory
from fault_rows import RELIABILITY, RESTARTS, Row
from fault_run import recorded, run_row

pytestmark = pytest.mark.system

Results = list[dict[str, Any]]
EXIT_S = 5.0


@pytest.fixture(scope="module")
def bench(make_bench: Callable[..., Bench]) -> Bench:
    """The node asks for reliable RGB images; the first rig does not offer them."""
    wish = "qos_overrides./rig/rgb/image_raw.subscription.reliability"
    return make_bench(parameters={wish: "reliable"})


def test_reliability(bench: Bench, results: Results) -> None:
    def end() -> int:
        return bench.another_rig(signal.SIGTERM, "--reliable")

    run_row(bench, RELIABILITY, results, end=end, from_start=True)


@pytest.mark.parametrize("row", RESTARTS, ids=lambda row: row.name)
def test_the_node_ends_and_is_started_again(bench: Bench, results: Results, row: Row) -> None:
    number = signal.Signals[row.name]
    with recorded(row, results) as record:
        if bench.node.process.poll() is not None:
            bench.start_node()  # the row before failed half-way
        bench.settle(())
        span = bench.span()
        memory = own_memory(bench.node.pid, [bench.rig.process.pid])
        code, seconds = bench.node.stop(number)
        record["ended_s"] = round(seconds, 3)
        if number == signal.SIGKILL:
            free_memory(memory)
            assert code == -number
        else:
            assert code == 0
            left = {path for path in memory if path.exists()}
            assert not left, left
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
