# SPDX-License-Identifier: Apache-2.0
"""What the score accumulators share: exact sums, and the order of rows and splits.

Scores are kept by row (which image or which camera input is scored) and by split (day, night).
A split "all" is made from the others on request, so nothing is counted twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

ROWS = ("visible", "thermal", "fused")
"""The rows that every table has, in this order; other methods' names come after them."""

SPLITS = ("all", "day", "night")
"""Splits in the order of a table; others come after them."""

WHOLE = "all"
"""The split that holds every picture."""

Key: TypeAlias = tuple[Any, ...]
"""Begins with row and split under which something was added; "" is neither day nor night."""

_STEPS = 2**40

OwnTally = TypeVar("OwnTally", bound="Tally")


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


class Counts(dict[Key, NDArray[Any]]):
    """Arrays of whole numbers by key, which add up key by key."""

    def __init__(self, kind: type = np.int64) -> None:
        """Begin empty; `kind` is `object` where sums need more than 64 bits."""
        self.kind = kind

    def at(self, key: Key, shape: int | tuple[int, ...] = 1) -> NDArray[Any]:
        """Return the array of a key, to be changed in place; zeros before anything was added."""
        return self.setdefault(key, np.zeros(shape, self.kind))

    def add(self, key: Key, numbers: ArrayLike) -> None:
        """Add numbers to those of a key."""
        more: NDArray[Any] = np.asarray(numbers, self.kind)
        self.at(key, more.shape)[...] += more

    def of(self, row: str, split: str) -> Counts:
        """Return the sums of a row in a split, by what its keys have behind the two."""
        total = Counts(self.kind)
        for key in keys_of(self, row, split):
            total.add(key[2:], self[key])
        return total

    def merge(self, other: Counts) -> None:
        """Add what another one counted."""
        for key, numbers in other.items():
            self.add(key, numbers)

    def state(self) -> list[list[Any]]:
        """Return keys and numbers as JSON-able values."""
        return [[*key, numbers.tolist()] for key, numbers in sorted(self.items(), key=_first)]

    def restore(self, state: Sequence[Sequence[Any]]) -> None:
        """Take back what `state` returned."""
        for *key, numbers in state:
            self.add(tuple(key), numbers)


class Tally:
    """Base of what counts pictures: jobs add up exactly, and travel as JSON-able values.

    A subclass names in `COUNTED` the attributes that add up: numbers, arrays, whatever has `merge`
    and `state`, and mappings of these.
    """

    COUNTED: ClassVar[tuple[str, ...]] = ()

    def settings(self) -> dict[str, Any]:
        """Return what must be equal where counts are added."""
        return {}

    def merge(self: OwnTally, other: OwnTally) -> None:
        """Add what another one counted.

        Raises:
            ScoreError: it counted with other settings.
        """
        mine, theirs = self.settings(), other.settings()
        if mine != theirs:
            differing = [name for name in mine if mine[name] != theirs[name]]
            both = ", ".join(f"{name} {theirs[name]} and {mine[name]}" for name in differing)
            raise ScoreError(f"scores cannot be added, they differ: {both}")
        for name in self.COUNTED:
            setattr(self, name, _added(getattr(self, name), getattr(other, name)))

    def state(self) -> dict[str, Any]:
        """Return everything counted as JSON-able values."""
        counted = {name.lstrip("_"): _plain(getattr(self, name)) for name in self.COUNTED}
        return {**counted, **({"settings": self.settings()} if self.settings() else {})}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned, into one that has counted nothing.

        Raises:
            ScoreError: it was counted with other settings.
        """
        stored = state.get("settings", {})
        if stored != self.settings():
            raise ScoreError(f"stored scores of {stored} are not of {self.settings()}; count again")
        for name in self.COUNTED:
            setattr(self, name, _restored(getattr(self, name), state[name.lstrip("_")]))

    @classmethod
    def from_state(
        cls: type[OwnTally], state: Mapping[str, Any], *arguments: Any, **options: Any
    ) -> OwnTally:
        """Return one with these arguments that has counted what `state` returned.

        Raises:
            ScoreError: as `restore`.
        """
        made = cls(*arguments, **options)
        made.restore(state)
        return made


def _first(item: tuple[Key, Any]) -> Key:
    return item[0]


def _added(mine: Any, other: Any) -> Any:
    if hasattr(mine, "merge"):
        mine.merge(other)
        return mine
    if isinstance(mine, dict):
        both = {key: _added(value, other[key]) for key, value in mine.items() if key in other}
        return {**mine, **other, **both}
    return mine if mine is None else mine + other


def _plain(value: Any) -> Any:
    if hasattr(value, "state"):
        return value.state()
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


def _restored(empty: Any, stored: Any) -> Any:
    if hasattr(empty, "restore"):
        empty.restore(stored)
        return empty
    if hasattr(empty, "state"):
        return type(empty)(*stored)
    if isinstance(empty, dict):
        return {key: _restored(empty.get(key), each) for key, each in stored.items()}
    return np.asarray(stored) if isinstance(empty, np.ndarray) else stored


def row_order(names: Iterable[str]) -> list[str]:
    """Sort row names: visible, thermal, fused, then others by name."""
    return _ordered(names, ROWS)


def split_order(names: Iterable[str]) -> list[str]:
    """Sort split names: all, day, night, then others by name."""
    return _ordered(names, SPLITS)


def keys_of(keys: Iterable[Key], row: str, split: str) -> list[Key]:
    """Return those keys that count for a row in a split; the split "all" takes them all."""
    return [key for key in keys if key[0] == row and split in (WHOLE, key[1])]


def table_of(keys: Iterable[Key]) -> list[tuple[str, str]]:
    """Return rows and splits of a table in reading order: "all" first, then what occurs."""
    known = set(keys)
    return [
        (row, split)
        for row in row_order({key[0] for key in known})
        for split in split_order({WHOLE, *(key[1] for key in known if key[0] == row and key[1])})
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
