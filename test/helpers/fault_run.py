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

from segmif_ros.rig.faults.requests import RGB, THERMAL, parse_faults

_ATTEMPTS = 3
_FRAME_MS = 40
"""A frame at 30 Hz, and some milliseconds for the machine."""
_STALL_S = 0.35
"""Half of the bench's `degraded_after_ms`."""
_SILENT = ("stopped", "waiting")
_SILENCE_NS = 400_000_000
"""Time in which a node that should be silent would have had results at 30 Hz."""


class WrongResultsError(Exception):
    """Torn, mixed, repeated or misplaced results: wrong on the busiest machine."""


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
    by_rig = begin is None
    begin = begin or (lambda: bench.faults(row.inject))
    end = end or (lambda: bench.faults(""))
    with recorded(row, results) as record:
        if from_start:
            # What a node latched before it was discovered may not arrive: when is not known.
            _measure(bench, row, record, bench.since_start, None, end)
            record["modes"] = list(dropwhile(_SILENT.__contains__, record["modes"]))
            assert record["modes"] == row.modes_from_start(), record
            assert record["recovery_s"] <= row.recovery_s, record
            return
        for attempt in range(_ATTEMPTS):
            bench.settle(row.says)
            span = bench.observer.span()
            try:
                _measure(bench, row, record, span, begin, end)
                assert record["modes"] == row.modes(), record
                assert record["recovery_s"] <= row.recovery_s, record
            except AssertionError:
                if attempt + 1 == _ATTEMPTS or not by_rig or not _stalled(row, span):
                    raise
                record["stalls"] = attempt + 1
            else:
                return


def _measure(
    bench: Bench,
    row: Row,
    record: dict[str, Any],
    span: Span,
    begin: Callable[[], int] | None,
    end: Callable[[], int],
) -> None:
    before_ms = time_ns() // 1_000_000
    began_ns = begin() if begin is not None else None
    after_ms = time_ns() // 1_000_000
    _suffer(bench, row, span, began_ns, record)
    _recover(bench, row, span, end(), record)
    frozen_ms = (before_ms - _FRAME_MS, after_ms + _FRAME_MS) if "freeze" in row.inject else None
    found = bench.complaints(span, row.clocks_off_s, frozen_ms)
    if found:
        raise WrongResultsError(found[:5])


def _stalled(row: Row, span: Span) -> bool:
    """Return whether a camera was silent that should not have been: the machine held up the rig.

    Then the node saw another fault than the one of the row, and the row proves nothing.
    """
    stopped = {r.camera for r in parse_faults(row.inject) if r.kind == "stop"}
    silences = {c: span.longest_silence_s(c) for c in (RGB, THERMAL) if c not in stopped}
    return max(silences.values(), default=0.0) > _STALL_S


def _suffer(
    bench: Bench, row: Row, span: Span, began_ns: int | None, record: dict[str, Any]
) -> None:
    observer = bench.observer
    noticed = []
    record["said"] = []
    if row.mode != FUSED:
        entered = observer.until(lambda: span.entered(row.mode), f"mode {row.mode}")
        noticed.append(entered.seen_ns)
        record["reason"] = entered.reason
    for expect in row.says:
        status = observer.until(lambda expect=expect: span.status(expect), f"{expect}")
        noticed.append(status.seen_ns)
        record["said"].append(status.text)
    if noticed and began_ns is not None:
        record["noticed_s"] = round((min(noticed) - began_ns) / 1e9, 3)
    for shown in row.shown:
        observer.until(lambda shown=shown: span.shows(shown), f"{shown}")
    if row.results:
        _see_results(bench, row, span)
    else:
        _see_nothing(bench, span, noticed[0])
    for count in row.counted:
        observer.until(
            lambda count=count: span.grown(count.concern, count.key) >= count.least, f"{count}"
        )
    if began_ns is not None:
        end_ns = began_ns + round(row.lasts_s * 1e9)
        observer.until(lambda: monotonic_ns() >= end_ns, f"{row.lasts_s} s")


def _see_nothing(bench: Bench, span: Span, noticed_ns: int) -> None:
    """Wait, and see no result of a picture that was taken after the node had noticed."""
    end_ns = monotonic_ns() + _SILENCE_NS
    bench.observer.until(lambda: monotonic_ns() >= end_ns, "a silence")
    since = noticed_ns + time_ns() - monotonic_ns()
    late = [picture for picture in span.pictures() if picture.stamp_ns > since]
    assert not late, f"{len(late)} results although there should be none"


def _see_results(bench: Bench, row: Row, span: Span) -> None:
    """Wait for results made of pictures that were taken since the fault was noticed."""
    since = monotonic_ns()
    for topic in ("fused", "confidence"):
        bench.observer.until(
            lambda topic=topic: len(span.pictures(topic, since)) >= row.measured,
            f"{row.measured} {topic} images in mode {row.mode}",
        )
    pictures = span.pictures("fused", since)
    sizes = {picture.size for picture in pictures}
    assert row.size is None or sizes == {row.size}, f"results of {sizes} pixels"
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
    record["modes"] = [mode.mode for mode in span.modes() if mode.mode not in row.via]


@contextmanager
def recorded(row: Row, results: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Append a record of the row; it says that the row passed only when nothing was raised."""
    record: dict[str, Any] = {**row.facts(), "passed": False}
    results.append(record)
    yield record
    record["passed"] = True
