# SPDX-License-Identifier: Apache-2.0
"""docs/benchmarks.md shows the figures in benchmarks/results, and its commands can be run."""

from __future__ import annotations

import importlib
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.dds.__main__ import _parser, _scenario

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENT = (REPOSITORY / "docs" / "benchmarks.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    pytest.importorskip("onnx", reason="counts the model's operations")
    return importlib.import_module("benchmarks.node_tables")


def test_the_document_shows_the_figures_of_the_files(tables: ModuleType) -> None:
    reports = tables.load(tables.RESULTS)
    assert tables.filled(DOCUMENT, reports) == DOCUMENT, "run python -m benchmarks.node_tables"
    assert tables.plot(reports) == tables.PLOT.read_text(encoding="utf-8")
    ET.fromstring(tables.plot(reports))  # noqa: S314 - our own text


def test_every_block_is_written_and_every_writer_has_its_block(tables: ModuleType) -> None:
    marked = re.findall(r"<!-- figures: ([\w-]+) -->", DOCUMENT)
    assert sorted(marked) == sorted(tables.BLOCKS)


def test_every_run_is_one_that_the_program_takes(tables: ModuleType) -> None:
    for name in tables.RUNS:
        assert _scenario(_parser().parse_args(tables.command(name))).pairs >= 2, name


def test_the_files_are_of_the_runs_as_they_are_written_now(tables: ModuleType) -> None:
    """A changed command with old figures would be a false statement."""
    reports = tables.load(tables.RESULTS)
    for name in reports:
        wanted = _scenario(_parser().parse_args(tables.command(name))).to_json()
        report = reports[name]
        found = report["scenario"] if name == "warm_start" else report["runs"][0]["scenario"]
        for key in (
            "model",
            "runtime",
            "rgb_size",
            "rate_hz",
            "outputs",
            "rigs",
            "threads",
            "delay_ms",
        ):
            assert list(_plain(found[key])) == list(_plain(wanted[key])), (name, key)


def _plain(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else [value]
