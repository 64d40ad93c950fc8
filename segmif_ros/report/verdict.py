# SPDX-License-Identifier: Apache-2.0
"""Compares thresholds of a drive evaluation with the measured values."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segmif_ros.report.schema import EARLIER

_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
}

_REQUIREMENT = re.compile(r"^\s*(?P<path>[^<>=]+?)\s*(?P<how>>=|<=|==|>|<)\s*(?P<limit>\S+)\s*$")


class RequirementError(ValueError):
    """A malformed threshold; the message shows the format."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One threshold.

    Attributes:
        name: displayed name.
        path: keys of the report with dots between them; a number counts entries of a list.
        how: ">=", "<=", ">", "<" or "==".
        limit: what the number is compared with.
    """

    name: str
    path: str
    how: str
    limit: float

    def check(self, report: Mapping[str, Any]) -> dict[str, Any]:
        """Compare; a number that the report does not have fails."""
        value = figure(report, self.path)
        passed = value is not None and _COMPARISONS[self.how](value, self.limit)
        limit = f"{self.how} {self.limit:g}"
        return {"name": self.name, "limit": limit, "value": value, "passed": passed}


def requirement(text: str) -> Requirement:
    """Read a threshold such as 'fusion.all.fused.SSIM>=0.7'.

    Raises:
        RequirementError: no path, comparison or number.
    """
    found = _REQUIREMENT.match(text)
    limit = _number(found["limit"]) if found is not None else math.nan
    if found is None or not math.isfinite(limit):
        raise RequirementError(
            f"{text!r} is no threshold; write a path of the report, a comparison "
            f"({', '.join(_COMPARISONS)}) and a number: 'fusion.all.fused.SSIM>=0.7'"
        )
    return Requirement(found["path"], found["path"], found["how"], limit)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def figure(report: Mapping[str, Any], path: str) -> float | int | None:
    """Return the number at a path, None if there is none.

    Names that figures had in earlier versions, and ids for names of classes, are found as well. A
    key that itself holds dots or spaces is found: the longest key that fits is taken.
    """
    value: Any = report
    classes = report.get("model", {}).get("classes", ())
    earlier = {**EARLIER, **{str(label["id"]): label["name"] for label in classes}}
    left = path.split(".")
    while left:
        if isinstance(value, list):
            number = left.pop(0)
            if not number.isdigit() or int(number) >= len(value):
                return None
            value = value[int(number)]
            continue
        if not isinstance(value, Mapping):
            return None
        sizes = range(len(left), 0, -1)
        size = next((n for n in sizes if ".".join(left[:n]) in value), 0)
        if not size and left[0] in earlier:
            left[0] = earlier[left[0]]
            continue
        if not size:
            return None
        value = value[".".join(left[:size])]
        del left[:size]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value


def verdict(report: Mapping[str, Any], requirements: Sequence[Requirement]) -> dict[str, Any]:
    """Check all thresholds; `passed` is None without thresholds."""
    checks = [each.check(report) for each in requirements]
    passed = all(check["passed"] for check in checks) if checks else None
    return {"passed": passed, "checks": checks}
