# SPDX-License-Identifier: Apache-2.0
"""docs/precision.md has a place for what its commands measure, and they know the network."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import onnx
import pytest
from nano_bundle import nano_onnx

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "precision.md").read_text(encoding="utf-8")


@pytest.fixture(params=["precision", "quantisation_layers"])
def script(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(f"benchmarks.{request.param}")


def test_the_page_names_each_command_and_has_its_table(script: ModuleType) -> None:
    command = f"python -m {script.__name__} models/segmif-nano DATA/msrs"
    assert command in PAGE
    assert command in (script.__doc__ or "")
    before, _, rest = PAGE.partition(script.BEGIN)
    table, end, _ = rest.partition(script.END)
    assert before
    assert end
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1
    assert len(rows) > 5


def test_the_groups_are_all_convolutions_of_the_network() -> None:
    script = importlib.import_module("benchmarks.quantisation_layers")
    runs, groups = script.runs(), list(script.GROUPS)
    names = [n.name for n in onnx.load_from_string(nano_onnx()).graph.node if n.op_type == "Conv"]
    chosen = {name: [n for n in names if not runs[name].fullmatch(n)] for name in groups}
    assert all(chosen.values()), [name for name in groups if not chosen[name]]
    in_some = sorted(conv for group in chosen.values() for conv in group)
    assert in_some == sorted(n for n in names if n.count("/") > 1)
