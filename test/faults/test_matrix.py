# SPDX-License-Identifier: Apache-2.0
"""Every row of the fault matrix, over DDS; the rows are in test/helpers/fault_rows.py.

One rig and one observer serve all rows. Rows share a node for each way to start it; a row whose
fault is there from the start has a node of its own. So the rows pass in any order.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from time import monotonic_ns
from typing import Any

import faulty_engine_node
import pytest
from fault_bench import Bench
from fault_rows import (
    BOTH_ABSENT,
    DRIVERS_KILLED,
    NO_CLOCK,
    NOT_ALLOWED,
    RAISING,
    RELIABILITY,
    RESTARTS,
    RGB_ABSENT,
    SOMETIMES,
    STEADY,
    STUCK,
    THERMAL_ABSENT,
    UNEXPECTED,
    Row,
)
from fault_run import recorded, run_row
from faulty_engine_node import COMMAND_VARIABLE

pytestmark = pytest.mark.system

Results = list[dict[str, Any]]
EXIT_S = 5.0


def marked(row: Row) -> Any:
    marks = [pytest.mark.xfail(reason=row.known, strict=True)] if row.known else []
    return pytest.param(row, marks=marks, id=row.name)


class Command:
    """Commands for the engine of `faulty_engine_node`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.give("")

    def give(self, command: str) -> int:
        """Command the engine; return when, steady nanoseconds."""
        part = self.path.with_suffix(".part")
        part.write_text(command)
        part.replace(self.path)
        return monotonic_ns()


@pytest.fixture(scope="module")
def bench(
    tmp_path_factory: pytest.TempPathFactory, fault_domain: int, small_bundle: Path
) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("bench"), fault_domain, small_bundle)
    yield made
    made.close()


@pytest.fixture
def steady(bench: Bench) -> Bench:
    """A node as users start it."""
    bench.begin("steady")
    return bench


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    with pytest.MonkeyPatch.context() as patch:
        told = Command(tmp_path_factory.mktemp("engine") / "command")
        patch.setenv(COMMAND_VARIABLE, str(told.path))
        yield told


@pytest.fixture
def with_command(bench: Bench, command: Command) -> Bench:
    """A node whose engine does what `command` says."""
    assert command.path.exists()
    bench.begin("engine", program=[str(Path(faulty_engine_node.__file__))])
    return bench


def test_thermal_absent_from_the_start(bench: Bench, results: Results) -> None:
    bench.begin("steady", THERMAL_ABSENT.inject)
    run_row(bench, THERMAL_ABSENT, results, from_start=True)


@pytest.mark.parametrize("row", map(marked, STEADY))
def test_a_camera_fails(steady: Bench, results: Results, row: Row) -> None:
    run_row(steady, row, results)


def test_no_camera_may_continue_alone(steady: Bench, results: Results) -> None:
    steady.observer.set_parameter("/segmif", "degraded_mode", "none")
    try:
        run_row(steady, NOT_ALLOWED, results)
    finally:
        steady.observer.set_parameter("/segmif", "degraded_mode", "any")


@pytest.mark.parametrize("row", RESTARTS, ids=lambda row: row.name)
def test_the_node_ends_and_is_started_again(steady: Bench, results: Results, row: Row) -> None:
    number = signal.Signals[row.name]
    with recorded(row, results) as record:
        steady.settle(())
        span = steady.observer.span()
        code, seconds = steady.end_node(number)
        record["ended_s"] = round(seconds, 3)
        assert code == (-number if number == signal.SIGKILL else 0)
        if number != signal.SIGKILL:
            steady.observer.until(lambda: span.entered("stopped"), "word of the end")
        assert seconds < EXIT_S
        began = monotonic_ns()
        steady.start_node()

        def recovered() -> list[Any]:
            since = steady.since_start
            fused = any(mode.mode == "fused" for mode in since.mode_messages())
            return since.pictures("confidence") if fused else []

        first = steady.observer.until(recovered, "fused results of the new node")[0]
        record["recovery_s"] = round((first.seen_ns - began) / 1e9, 3)
        found = steady.complaints(span, row.clocks_off_s)
        assert not found, found[:5]
        # Both are false where nothing was left: only SIGKILL leaves shared memory.
        assert bool(steady.left) == (number == signal.SIGKILL)
        assert not any(path.exists() for path in steady.left), "the next start removes it"
        assert record["recovery_s"] <= row.recovery_s


def test_rgb_absent_from_the_start(bench: Bench, results: Results) -> None:
    bench.begin("steady", RGB_ABSENT.inject)
    run_row(bench, RGB_ABSENT, results, from_start=True)


def test_worker_stuck(with_command: Bench, results: Results, command: Command) -> None:
    def end() -> int:
        with_command.observer.until(lambda: not command.path.read_text(), "the end of it")
        return monotonic_ns()

    run_row(with_command, STUCK, results, begin=lambda: command.give("stuck"), end=end)


@pytest.mark.parametrize(
    ("row", "word"),
    [(RAISING, "fail"), (UNEXPECTED, "surprise"), (SOMETIMES, "sometimes")],
    ids=["fails", "surprises", "fails at times"],
)
def test_the_engine_fails(
    with_command: Bench, results: Results, command: Command, row: Row, word: str
) -> None:
    run_row(
        with_command, row, results,
        begin=lambda: command.give(word), end=lambda: command.give(""),
    )  # fmt: skip


def test_both_absent_from_the_start(bench: Bench, results: Results) -> None:
    bench.begin("steady", BOTH_ABSENT.inject)
    run_row(bench, BOTH_ABSENT, results, from_start=True)


def test_simulated_time_without_a_clock(bench: Bench, results: Results) -> None:
    bench.begin("simulated", "", parameters={"use_sim_time": True})
    run_row(bench, NO_CLOCK, results, end=bench.observer.publish_clock, from_start=True)


def test_drivers_are_killed(steady: Bench, results: Results) -> None:
    run_row(
        steady, DRIVERS_KILLED, results,
        begin=lambda: steady.end_rig(signal.SIGKILL), end=steady.another_rig,
    )  # fmt: skip


def test_reliability(bench: Bench, results: Results) -> None:
    wish = "qos_overrides./rig/rgb/image_raw.subscription.reliability"
    bench.begin("demanding", "", parameters={wish: "reliable"})

    def end() -> int:
        bench.end_rig(signal.SIGTERM)
        bench.observer.until(lambda: bench.observer.mode() == "stopped", "word that none sends")
        return bench.another_rig("--reliable")

    run_row(bench, RELIABILITY, results, end=end, from_start=True)
    *_, end_of_old, back = seen = bench.since_start.modes()
    names = [mode.mode for mode in seen]
    wrong = names.index("thermal_only")
    assert set(names[:wrong]) <= {"waiting", "stopped"}
    # A camera continues alone after that only if the topic of the other one is discovered later
    # than `degraded_after_ms`, and the reason names that one.
    assert names[wrong + 1 :] in (["stopped", "fused"], ["stopped", "rgb_only", "fused"]), seen
    if end_of_old.mode == "rgb_only":
        assert end_of_old.reason == "no thermal image any more"
        assert back.seen_ns - end_of_old.seen_ns < 5e9
