# SPDX-License-Identifier: Apache-2.0
"""Takes a bench through one row of the fault matrix and measures it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import dropwhile
from statistics import median
from time import monotonic_ns, time_ns
from typing import Any

from fault_bench import Bench
from fault_observer import Span
from fault_rows import FUSED, Row

_OUTPUTS = 12
"""So many results show that the node goes on."""
_MEASURED_OUTPUTS = 25
"""So many tell their rate."""
_SILENT = ("stopped", "waiting")
_WIND_DOWN_NS = 500_000_000
"""Results that were under way when the node stopped may still arrive, on a busy machine."""


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
        from_start: the fault is there since the node was started, so nothing was sound before.
    """
    with recorded(row, results) as record:
        if from_start:
            span = bench.since_start
            began = None  # what a node latched before it was discovered may not be heard
        else:
            bench.settle(row.says)
            span = bench.observer.span()
            began = (begin or (lambda: bench.faults(row.inject)))()
        _suffer(bench, row, span, began, record)
        ended = (end or (lambda: bench.faults("")))()
        _recover(bench, row, span, ended, record)
        if from_start:
            # Before its first pictures; what is latched may be overtaken before it is heard.
            record["modes"] = list(dropwhile(_SILENT.__contains__, record["modes"]))
            assert record["modes"] == row.modes_from_start(), record
        else:
            assert record["modes"] == row.modes(), record
        found = bench.complaints(span, row.clocks_off_s)
        assert not found, found[:5]
        assert record["recovery_s"] <= row.recovery_s, record


def _suffer(
    bench: Bench, row: Row, span: Span, began_ns: int | None, record: dict[str, Any]
) -> None:
    observer = bench.observer
    noticed = []
    if row.mode != FUSED:
        entered = observer.until(lambda: span.entered(row.mode), f"mode {row.mode}")
        noticed.append(entered.seen_ns)
        record["reason"] = entered.reason
    for expect in row.says:
        status = observer.until(lambda expect=expect: span.status(expect), f"{expect}")
        noticed.append(status.seen_ns)
        record["said"] = [*record.get("said", []), status.text]
    if noticed and began_ns is not None:
        record["noticed_s"] = round((min(noticed) - began_ns) / 1e9, 3)
    if row.results:
        _see_results(bench, row, span)
    else:
        late = span.pictures(after_ns=max(noticed) + _WIND_DOWN_NS)
        assert not late, f"{len(late)} results although there should be none"
    for count in row.counted:
        observer.until(
            lambda count=count: span.grown(count.concern, count.key) >= count.least, f"{count}"
        )
    if began_ns is not None:
        end_ns = began_ns + round(row.lasts_s * 1e9)
        observer.until(lambda: monotonic_ns() >= end_ns, f"{row.lasts_s} s")


def _see_results(bench: Bench, row: Row, span: Span) -> None:
    """Wait for results made of pictures that were taken since the fault was noticed."""
    since = monotonic_ns()
    wanted = _MEASURED_OUTPUTS if row.results_hz or row.latency_ms else _OUTPUTS
    for topic in ("fused", "confidence"):
        bench.observer.until(
            lambda topic=topic: len(span.pictures(topic, since)) >= wanted,
            f"{wanted} {topic} images in mode {row.mode}",
        )
    pictures = span.pictures("fused", since)
    if row.results_hz:
        seconds = (pictures[-1].stamp_ns - pictures[0].stamp_ns) / 1e9
        hz = (len(pictures) - 1) / seconds
        assert hz <= row.results_hz, f"{hz:.1f} Hz of results: no fault"
    if row.latency_ms:
        wall = time_ns() - monotonic_ns()
        latency = median((p.seen_ns + wall - p.stamp_ns) / 1e6 for p in pictures)
        assert latency >= row.latency_ms, f"results are {latency:.0f} ms old: no fault"


def _recover(bench: Bench, row: Row, span: Span, ended_ns: int, record: dict[str, Any]) -> None:
    observer = bench.observer

    def recovered_ns() -> int | None:
        """When the first fused result came after the fault, in the mode for it."""
        fused_ns = ended_ns
        if row.mode != FUSED:
            changes = [m for m in span.modes() if m.mode == FUSED and m.seen_ns > ended_ns]
            if not changes:
                return None
            fused_ns = changes[0].seen_ns
        # The worker may have handed out the result before the message of the mode got here.
        thermal = [p for p in span.pictures("confidence", ended_ns) if p.bars[0] is not None]
        rgb = span.pictures("fused", ended_ns)
        clear_ns = span.clear_ns(row.says, ended_ns) if row.clears else ended_ns
        if not (rgb and thermal and clear_ns):
            return None
        return max(thermal[0].seen_ns, rgb[0].seen_ns, fused_ns, clear_ns)

    recovered = observer.until(recovered_ns, "fused results again")
    record["recovery_s"] = round((recovered - ended_ns) / 1e9, 3)
    record["modes"] = [mode.mode for mode in span.modes()]


@contextmanager
def recorded(row: Row, results: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Append a record of the row; it says that the row passed only when nothing was raised."""
    record: dict[str, Any] = {**row.facts(), "passed": False}
    results.append(record)
    yield record
    record["passed"] = True
