# SPDX-License-Identifier: Apache-2.0
"""Takes a bench through one row of the fault matrix and measures it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic_ns
from typing import Any

from fault_bench import Bench, Span
from fault_rows import Row

_OUTPUTS = 12
"""So many results show that the node goes on."""
_SILENT = ("stopped", "waiting")


def run_row(
    bench: Bench,
    row: Row,
    results: list[dict[str, Any]],
    *,
    begin: Callable[[], int] | None = None,
    end: Callable[[], int] | None = None,
    from_start: bool = False,
) -> None:
    """Make the fault, see the node cope, end the fault, see it recover.

    Args:
        bench: rig, node and observer.
        row: what is done and expected.
        results: the row is appended here, whether it passes or not.
        begin: makes the fault and returns when, steady nanoseconds; default: at the rig.
        end: ends it and returns when; default: at the rig.
        from_start: the fault is there since the bench was made, so nothing was sound before.
    """
    with _recorded(row, results) as record:
        if not from_start:
            bench.settle(row.expect)
        span = bench.span() if not from_start else Span(bench.observer, 0, 0, 0, bench.began_ns)
        began = (begin or (lambda: bench.faults(row.inject)))()
        _suffer(bench, row, span, began, record)
        ended = (end or (lambda: bench.faults("")))()
        _recover(bench, row, span, ended, record)
        assert record["modes"] == row.modes(from_start=from_start), record
        found = bench.complaints(span, row.clocks_off_s)
        assert not found, found[:5]
        assert record["recovery_s"] <= row.recovery_s, record


def _suffer(bench: Bench, row: Row, span: Span, began_ns: int, record: dict[str, Any]) -> None:
    observer = bench.observer
    noticed = []
    if row.mode != "fused":
        entered = observer.until(lambda: span.entered(row.mode), f"mode {row.mode}")
        noticed.append(entered.seen_ns)
        record["reason"] = entered.reason
    if row.expect is not None:
        expect = row.expect
        status = observer.until(lambda: span.status(expect), f"{expect}")
        noticed.append(status.seen_ns)
        record["diagnostic"] = status.text
    record["noticed_s"] = round((min(noticed) - began_ns) / 1e9, 3) if noticed else None
    since = monotonic_ns()
    if row.mode in _SILENT:
        late = span.pictures(after_ns=noticed[0] + 500_000_000)
        assert not late, f"{len(late)} results in mode {row.mode}"
        return
    for topic in ("fused", "confidence"):
        observer.until(
            lambda topic=topic: len(span.pictures(topic, since)) >= _OUTPUTS,
            f"{_OUTPUTS} {topic} images in mode {row.mode}",
        )


def _recover(bench: Bench, row: Row, span: Span, ended_ns: int, record: dict[str, Any]) -> None:
    observer = bench.observer

    def recovered_ns() -> int | None:
        """When the first fused result came after the fault, in the mode for it."""
        fused_since = ended_ns
        if row.mode != "fused":
            changes = [m for m in span.modes() if m.mode == "fused" and m.seen_ns > ended_ns]
            if not changes:
                return None
            fused_since = changes[0].seen_ns
        # The worker may have handed out the result before the message of the mode got here.
        whole = [p for p in span.pictures("confidence", ended_ns) if p.bars[0] is not None]
        return max(whole[0].seen_ns, fused_since) if whole else None

    recovered = observer.until(recovered_ns, "fused results again")
    record["recovery_s"] = round((recovered - ended_ns) / 1e9, 3)
    record["modes"] = [mode.mode for mode in span.modes()]


@contextmanager
def _recorded(row: Row, results: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    record: dict[str, Any] = {"name": row.name, "passed": False}
    results.append(record)
    yield record
    record["passed"] = True
