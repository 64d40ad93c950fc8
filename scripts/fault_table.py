#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the table of docs/faults.md from the results of a test run.

Usage: fault_table.py RESULTS.json DOCUMENT.md
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- fault table -->", "<!-- end of fault table -->"
_USAGE = 2


def table(rows: list[dict[str, Any]]) -> str:
    """Return the Markdown table of the results."""
    lines = [
        "| fault | `segmif_rig --fault` | mode meanwhile | diagnostics | noticed after "
        "| fused again after | at most |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def replaced(document: str, rows: list[dict[str, Any]]) -> str:
    """Return a document with the table between its two marks.

    Raises:
        ValueError: a mark is missing.
    """
    for mark in (BEGIN, END):
        if document.count(mark) != 1:
            raise ValueError(f"expected {mark!r} once, found it {document.count(mark)} times")
    head, rest = document.split(BEGIN)
    return f"{head}{BEGIN}\n{table(rows)}{END}{rest.split(END)[1]}"


def _cells(row: dict[str, Any]) -> list[str]:
    mode = f"`{row['mode']}`"
    if row["mode"] == "fused":
        mode += ", goes on" if row["results"] else ", no results"
    said = [f"`{concern}` {level} `{state}`" for concern, level, state in row["says"]]
    noticed = _seconds(row.get("noticed_s"))
    if "ended_s" in row:
        mode, noticed = f"ends in {_seconds(row['ended_s'])}", ""
    again = _seconds(row.get("recovery_s")) if row["passed"] else f"fails: {row['known']}"
    return [
        row["fault"],
        f"`{row['inject']}`" if row["inject"] else "",
        mode,
        "<br>".join(said),
        noticed,
        again,
        f"{row['recovery_limit_s']:g} s",
    ]


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"


def main(argv: list[str]) -> int:
    """Write the table; return the exit code."""
    if len(argv) != 2:
        sys.stderr.write(f"{__doc__}\n")
        return _USAGE
    rows = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    path = Path(argv[1])
    path.write_text(replaced(path.read_text(encoding="utf-8"), rows), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
