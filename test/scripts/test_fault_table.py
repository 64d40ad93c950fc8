# SPDX-License-Identifier: Apache-2.0
"""docs/faults.md shows docs/faults.json, and that holds the results of the matrix as it is now."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from fault_rows import ROWS

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENT = REPOSITORY / "docs" / "faults.md"
SCRIPT = runpy.run_path(str(REPOSITORY / "scripts" / "fault_table.py"))


@pytest.fixture(scope="module")
def results() -> list[dict[str, Any]]:
    return json.loads((REPOSITORY / "docs" / "faults.json").read_text(encoding="utf-8"))


def test_the_document_shows_the_results(tmp_path: Path) -> None:
    copy = tmp_path / "faults.md"
    copy.write_text(DOCUMENT.read_text(encoding="utf-8"), encoding="utf-8")
    assert SCRIPT["main"]([str(REPOSITORY / "docs" / "faults.json"), str(copy)]) == 0
    assert copy.read_text(encoding="utf-8") == DOCUMENT.read_text(encoding="utf-8"), (
        "run the commands that docs/faults.md names"
    )


def test_the_results_are_of_all_rows_as_they_are(results: list[dict[str, Any]]) -> None:
    assert len(ROWS) >= 25
    for document in ("README.md", "CHANGELOG.rst"):
        assert f"under {len(ROWS)} faults" in (REPOSITORY / document).read_text(encoding="utf-8")
    found = {result["name"]: result for result in results}
    assert set(found) == {row.name for row in ROWS}
    for row in ROWS:
        declared = json.loads(json.dumps(row.facts()))
        assert {key: found[row.name][key] for key in declared} == declared, row.name


def test_a_document_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="fault table"):
        SCRIPT["replaced"]("no marks", "fault table", "")


def test_a_failed_row_says_why() -> None:
    row = ROWS[0].facts() | {"passed": False, "known": "it is not fixed yet"}
    assert "fails: it is not fixed yet" in SCRIPT["table"]([row])
