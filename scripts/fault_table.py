# SPDX-License-Identifier: Apache-2.0
"""Writes the tables of docs/faults.md: the results of a test run, and the kinds of faults.

Usage: fault_table.py RESULTS.json DOCUMENT.md
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from segmif_ros.rig.faults.requests import KINDS

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


def kinds() -> str:
    """Return the Markdown table of the kinds of faults."""
    lines = ["| kind | value | what the camera does |", "|---|---|---|"]
    lines += [f"| `{name}` | {kind.value} | {kind.meaning} |" for name, kind in KINDS.items()]
    return "\n".join(lines) + "\n"


def replaced(document: str, name: str, content: str) -> str:
    """Return a document with other content between the two marks of a name.

    Raises:
        ValueError: a mark is missing.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    for mark in (begin, end):
        if document.count(mark) != 1:
            raise ValueError(f"expected {mark!r} once, found it {document.count(mark)} times")
    head, rest = document.split(begin)
    return f"{head}{begin}{content}{end}{rest.split(end)[1]}"


def _cells(row: dict[str, Any]) -> list[str]:
    mode = f"`{row['mode']}`"
    if row["mode"] == "fused":
        mode += ", goes on" if row["results"] else ", no results"
    said = [f"`{concern}` {level} `{state}`" for concern, level, state in row["says"]]
    noticed = _seconds(row.get("noticed_s"))
    if "ended_s" in row:
        mode, noticed = f"ends in {_seconds(row['ended_s'])}", ""
    again, limit = _seconds(row.get("recovery_s")), f"{row['recovery_limit_s']:g} s"
    if row["mode"] == "fused" and row["results"] and not row["clears"] and "ended_s" not in row:
        again, limit = "no break", ""
    if not row["passed"]:
        again = f"fails: {row['known']}"
    return [
        row["fault"],
        f"`{row['inject']}`" if row["inject"] else "",
        mode,
        "<br>".join(said),
        noticed,
        again,
        limit,
    ]


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return "under 0.1 s" if value < 0.1 else f"{value:.1f} s"


def main(argv: list[str]) -> int:
    """Write the table; return the exit code."""
    if len(argv) != 2:
        sys.stderr.write(f"{__doc__}\n")
        return _USAGE
    rows = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    path = Path(argv[1])
    text = replaced(path.read_text(encoding="utf-8"), "fault table", table(rows))
    path.write_text(replaced(text, "fault kinds", kinds()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
