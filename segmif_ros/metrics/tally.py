# SPDX-License-Identifier: Apache-2.0
"""What the score accumulators share: exact sums, and the order of rows and splits.

Scores are kept by row (which image or which camera input is scored) and by split (day, night).
A split "all" is made from the others on request, so nothing is counted twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

ROWS = ("visible", "thermal", "fused")
"""The rows that every table has, in this order; other methods' names come after them."""

SPLITS = ("all", "day", "night")
"""Splits in the order of a table; others come after them."""

WHOLE = "all"
"""The split that holds every picture."""

Key: TypeAlias = tuple[str, str]
"""Row and split under which something was added; "" is a picture of neither day nor night."""

_STEPS = 2**40


class ScoreError(ValueError):
    """Scores cannot be combined or read back; the message says what differs."""


class ExactMean:
    """Mean whose value does not depend on the order or the grouping of what was added.

    Floating point sums change in the last digit with the order of their terms, so results of jobs
    would depend on who finished first. Values are kept in whole steps of 2^-40 (about 1e-12).
    """

    def __init__(self, count: int = 0, total: int = 0) -> None:
        """Begin empty, or with what `state` returned."""
        self.count = count
        self._total = total

    def add(self, value: float) -> None:
        """Count one value.

        Raises:
            ValueError: not finite.
        """
        if not math.isfinite(value):
            raise ValueError(f"value {value} has no place in a mean; expected a finite number")
        self.count += 1
        self._total += round(value * _STEPS)

    def merge(self, other: ExactMean) -> None:
        """Add what another one counted."""
        self.count += other.count
        self._total += other._total

    @property
    def value(self) -> float | None:
        """The mean; None before anything was added."""
        return self._total / (self.count * _STEPS) if self.count else None

    def state(self) -> list[int]:
        """Return count and sum, for `ExactMean(*state)`."""
        return [self.count, self._total]


def row_order(names: Iterable[str]) -> list[str]:
    """Sort row names: visible, thermal, fused, then others by name."""
    return _ordered(names, ROWS)


def split_order(names: Iterable[str]) -> list[str]:
    """Sort split names: all, day, night, then others by name."""
    return _ordered(names, SPLITS)


def keys_of(keys: Iterable[Key], row: str, split: str) -> list[Key]:
    """Return those keys that count for a row in a split; the split "all" takes them all."""
    return [key for key in keys if key[0] == row and split in (WHOLE, key[1])]


def table_of(keys: Iterable[Key]) -> list[Key]:
    """Return rows and splits of a table in reading order: "all" first, then what occurs."""
    known = set(keys)
    return [
        (row, split)
        for row in row_order({row for row, _ in known})
        for split in split_order({WHOLE, *(s for r, s in known if r == row and s)})
    ]


def by_split(table: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Turn row -> split into split -> row."""
    found: dict[str, dict[str, Any]] = {WHOLE: {}}
    for row, splits in table.items():
        for split, figures in splits.items():
            found.setdefault(split, {})[row] = figures
    return found


def _ordered(names: Iterable[str], first: tuple[str, ...]) -> list[str]:
    return sorted(names, key=lambda n: (first.index(n) if n in first else len(first), n))
