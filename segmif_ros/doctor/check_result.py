# SPDX-License-Identifier: Apache-2.0
"""One line of `segmif doctor`: what was looked at, how it is, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Verdict(IntEnum):
    """How a thing is; the worst one is the exit status."""

    OK = 0
    WARN = 1
    """Works, or may be meant so; look at it."""
    FAIL = 2
    """Something will not work."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check found.

    Attributes:
        check: what was looked at, one word.
        verdict: how it is.
        fact: one sentence.
        remedy: what to do, empty for nothing.
    """

    check: str
    verdict: Verdict
    fact: str
    remedy: str = ""


def as_text(results: Iterable[CheckResult]) -> str:
    """Return one line per result, and its remedy below it."""
    lines = []
    for result in results:
        lines.append(f"{result.verdict.name:<4}  {result.check:<9}  {result.fact}")
        if result.remedy:
            lines.append(f"{'':<17}-> {result.remedy}")
    return "\n".join(lines)


def as_json(results: Iterable[CheckResult]) -> str:
    """Return a JSON list of objects with check, verdict, fact and remedy."""
    rows = [
        {"check": f.check, "verdict": f.verdict.name, "fact": f.fact, "remedy": f.remedy}
        for f in results
    ]
    return json.dumps(rows, indent=2)
