# SPDX-License-Identifier: Apache-2.0
"""Faults of the engine, made by a real one that fails on command."""

from __future__ import annotations

from pathlib import Path
from time import monotonic_ns
from typing import Any

import faulty_engine_node
import pytest
from fault_bench import Bench
from fault_rows import RAISING, RGB_ABSENT, SOMETIMES, STUCK, UNEXPECTED, Row
from fault_run import run_row
from faulty_engine_node import COMMAND_VARIABLE

pytestmark = pytest.mark.system

Results = list[dict[str, Any]]


class Command:
    """What the engine is told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.give("")

    def give(self, command: str) -> int:
        """Tell the engine; return when, steady nanoseconds."""
        part = self.path.with_suffix(".part")
        part.write_text(command)
        part.replace(self.path)
        return monotonic_ns()


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    return Command(tmp_path_factory.mktemp("engine") / "command")


@pytest.fixture(scope="module")
def bench(fault_bench: Bench, command: Command, module_environment: pytest.MonkeyPatch) -> Bench:
    module_environment.setenv(COMMAND_VARIABLE, str(command.path))
    fault_bench.begin(RGB_ABSENT.inject, program=[str(Path(faulty_engine_node.__file__))])
    return fault_bench


def test_rgb_absent_from_the_start(bench: Bench, results: Results) -> None:
    run_row(bench, RGB_ABSENT, results, from_start=True)


def test_worker_stuck(bench: Bench, results: Results, command: Command) -> None:
    def end() -> int:
        bench.observer.until(lambda: not command.path.read_text(), "the end of the inference")
        return monotonic_ns()

    run_row(bench, STUCK, results, begin=lambda: command.give("stuck"), end=end)


@pytest.mark.parametrize(
    ("row", "word"),
    [(RAISING, "fail"), (UNEXPECTED, "surprise"), (SOMETIMES, "sometimes")],
    ids=["fails", "surprises", "fails at times"],
)
def test_inference_raises(
    bench: Bench, results: Results, command: Command, row: Row, word: str
) -> None:
    run_row(bench, row, results, begin=lambda: command.give(word), end=lambda: command.give(""))
