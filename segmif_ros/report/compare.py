# SPDX-License-Identifier: Apache-2.0
"""Compares two reports of one drive or data set: differences and confidence intervals.

Frames within about a second and neighbours in a data set are not independent samples. Intervals
therefore come from a bootstrap over blocks of them; it is seeded, so that the same two reports give
the same intervals.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmif_ros.report.comparable import cautions, objections

SCHEMA = "segmif.compare"
VERSION = 1

_OF_THE_INPUT = (
    "t_s",
    "source",
    "stamp_ns",
    "difference_ms",
    "brightness",
    "visible_SD",
    "thermal_SD",
)
"""Columns that do not depend on the model."""

BLOCK_S = 1.0
"""Length of a block: frames within it count as one sample."""
BLOCK_PAIRS = 8
"""Neighbouring pairs of a data set that count as one sample."""
SMALL_SHARE = 0.01
"""A significant difference below this share of the value is small."""
SMALL_GREY = 0.1
"""Likewise below this number of grey levels, for values in grey levels."""
_IN_GREY_LEVELS = ("frame.flicker", "frame.SD", "frame.fused_SD", "frame.SF", "frame.AG")
LEAST_BLOCKS = 8
"""Least number of blocks for an interval."""
RESAMPLES = 2000
CONFIDENCE = 0.95
SEED = 1

LOWER_IS_BETTER = (
    *("flicker.", "dropped.", "timing.stages", "sync.", "pairs.lost_share"),
    *("frame.engine_ms", "frame.pair_ms"),
)
"""Prefixes of names for which smaller values are better."""
_DROPPED = "dropped."
"""Prefix of counts by reason; a reason that is missing in a report has 0."""
_METRICS = ("EN", "SD", "SF", "AG", "MI", "SCD", "VIF", "Qabf", "SSIM")
HIGHER_IS_BETTER = (
    *("segmentation.", "boxes.", "timing.pairs", "frame.miou", "frame.hit", "frame.fused_SD"),
    *(f"fusion.{split}.fused." for split in ("all", "day", "night")),
    *(f"frame.{metric}" for metric in _METRICS),
)


@dataclass(frozen=True, slots=True)
class Difference:
    """One number in both reports.

    Attributes:
        name: dotted, as `--max-regression` takes it.
        a: value in the first report.
        b: value in the second.
        better: "higher", "lower" or "" where neither is.
    """

    name: str
    a: float
    b: float
    better: str

    @property
    def delta(self) -> float:
        """Second minus first."""
        return self.b - self.a

    @property
    def worsening(self) -> float:
        """Deterioration of the second value, above 0 if worse; 0 if no direction is better."""
        return {"higher": -self.delta, "lower": self.delta}.get(self.better, 0.0)


@dataclass(frozen=True, slots=True)
class PairedDifference(Difference):
    """The paired difference of one column of the table of pairs.

    Attributes:
        name: "frame." and the column.
        a: mean of the first report over the rows that both have.
        b: mean of the second.
        bag: one bag, or "all".
        pairs: rows that both reports have.
        low: lower end of the 95 % interval of b - a, None with too few blocks of time.
        high: upper end.
        blocks: number of blocks in the bootstrap.
    """

    bag: str
    pairs: int
    low: float | None
    high: float | None
    blocks: int

    @property
    def certain(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low is not None and self.high is not None and self.low * self.high > 0

    @property
    def word(self) -> str:
        """Return "better", "worse", or "" where neither direction is better."""
        return "" if self.worsening == 0 else "worse" if self.worsening > 0 else "better"

    @property
    def interval(self) -> str:
        """Return the interval as text."""
        if self.low is None or self.high is None:
            return f"too short ({self.blocks} blocks)"
        return f"{self.low:+.4f} to {self.high:+.4f}"

    @property
    def small(self) -> bool:
        """Whether the difference is below the limits of a relevant one."""
        size = abs(self.delta)
        grey = self.name.startswith(_IN_GREY_LEVELS) and size < SMALL_GREY
        return grey or size < SMALL_SHARE * max(abs(self.a), abs(self.b))

    @property
    def certainty(self) -> str:
        """Return the kind of a significant difference, "" for others."""
        if not self.certain:
            return ""
        return "certain but small" if self.small else self.word or "certain"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two reports side by side.

    Attributes:
        objections: reasons against a comparison; empty if there are none.
        cautions: limits of the comparison.
        differences: numbers of the whole drive.
        paired: paired differences.
    """

    objections: tuple[str, ...]
    cautions: tuple[str, ...]
    differences: tuple[Difference, ...]
    paired: tuple[PairedDifference, ...]

    @property
    def shown(self) -> tuple[Difference, ...]:
        """Differences without equal values and repeats under another protocol's name."""
        seen, kept = set(), []
        for each in self.differences:
            key = (each.name.rpartition(".")[0], each.a, each.b)
            repeats = ".miou." in each.name and key in seen
            seen.add(key)
            if each.delta and not repeats:
                kept.append(each)
        return tuple(kept)

    @property
    def shown_pairs(self) -> tuple[PairedDifference, ...]:
        """Paired differences other than 0."""
        return tuple(each for each in self.paired if each.delta or each.certain)

    def find(self, name: str) -> Difference | None:
        """Return a difference by its name; "miou" is the first protocol's, fused, in all light."""
        if name == "miou":
            name = next((d.name for d in self.differences if d.name.startswith(_MIOU)), name)
        return next((d for d in self.differences if d.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """Return everything for JSON."""
        return {
            "schema": SCHEMA,
            "version": VERSION,
            "comparable": not self.objections,
            "objections": list(self.objections),
            "cautions": list(self.cautions),
            "differences": [{**asdict(d), "delta": d.delta} for d in self.differences],
            "paired": [{**asdict(d), "delta": d.delta} for d in self.paired],
            "interval": {"confidence": CONFIDENCE, "resamples": RESAMPLES, "block_s": BLOCK_S},
        }


_PAIRS = ("evaluated", "lost_share")
_MIOU = "segmentation.fused.all.miou."


def compare(a: Mapping[str, Any], b: Mapping[str, Any]) -> Comparison:
    """Compare two reports.

    Args:
        a: first report, as `files.load` returns it: the baseline.
        b: second report.
    """
    first, second = dict(_numbers(a)), dict(_numbers(b))
    for found, other in ((first, second), (second, first)):
        found |= {name: 0.0 for name in other if name.startswith(_DROPPED) and name not in found}
    differences = [
        Difference(name, value, second[name], direction(name))
        for name, value in first.items()
        if name in second
    ]
    return Comparison(
        tuple(objections(a, b)),
        tuple(cautions(a, b)),
        tuple(differences),
        tuple(_paired(a, b)),
    )


def direction(name: str) -> str:
    """Return which value of a number is the better one: "higher", "lower" or ""."""
    if name.startswith(LOWER_IS_BETTER):
        return "lower"
    return "higher" if name.startswith(HIGHER_IS_BETTER) else ""


def interval(
    values: NDArray[np.float64], blocks: NDArray[np.int64], seed: int = SEED
) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean of `values`, None with fewer than `LEAST_BLOCKS`.

    Args:
        values: one number a pair.
        blocks: block of each value; whole blocks are drawn with replacement.
        seed: of the draws.
    """
    _, place = np.unique(blocks, return_inverse=True)
    count = int(place.max()) + 1 if place.size else 0
    if count < LEAST_BLOCKS:
        return None
    sums = np.bincount(place, values, count)
    sizes = np.bincount(place, minlength=count)
    drawn = np.random.default_rng(seed).integers(0, count, (RESAMPLES, count))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    outside = 50.0 * (1.0 - CONFIDENCE)
    low, high = np.percentile(means, (outside, 100.0 - outside))
    return float(low), float(high)


def _numbers(report: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield comparable numbers as (dotted name, value); missing ones are left out."""
    for row, splits in ((report["segmentation"] or {}).get("rows") or {}).items():
        for split, scores in splits.items():
            where = f"segmentation.{row}.{split}"
            yield from _known(f"{where}.miou", scores.get("protocols") or {})
            kept = {key: scores.get(key) for key in ("pixel_accuracy", "boundary_iou")}
            yield from _known(where, kept)
            yield from _known(f"{where}.iou", scores.get("per_class") or {})
    for row, splits in (report["boxes"] or {}).items():
        for split, classes in splits.items():
            for name, figures in classes.items():
                shares = {key: value for key, value in figures.items() if key != "boxes"}
                yield from _known(f"boxes.{row}.{split}.{name}", shares)
    for split in ("all", "day", "night"):
        for image, metrics in (report["fusion"].get(split) or {}).items():
            yield from _known(f"fusion.{split}.{image}", metrics)
    yield from _known("flicker", report["flicker"])
    yield from _known("pairs", {key: report["pairs"].get(key) for key in _PAIRS})
    yield from _known("dropped", report["pairs"].get("dropped") or {})
    yield from _known("sync.difference_ms", report["sync"].get("difference_ms") or {})
    timing = report["timing"]
    yield from _known("timing", {"pairs_per_s": timing.get("pairs_per_s")})
    for stage, values in (timing.get("stages") or {}).items():
        shown = {key: values.get(key) for key in ("p50", "p95", "p99")}
        yield from _known(f"timing.stages.{stage}", shown)


def _known(where: str, values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for key, value in values.items():
        if key in ("frames", "count"):
            continue
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield f"{where}.{key}", float(value)


def _paired(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[PairedDifference]:
    """Yield the differences of all common columns, over all bags and for each bag of several."""
    for tables in _tables(a, b):
        stamped = all("stamp_ns" in table["columns"] for table, _ in tables)
        rows_a, rows_b = (_by_place(table, names, stamped=stamped) for table, names in tables)
        common = [place for place in rows_a if place in rows_b]
        columns = [
            name
            for name in tables[0][0]["columns"]
            if name in tables[1][0]["columns"] and name not in _OF_THE_INPUT
        ]
        bags = sorted({bag for bag, _ in common})
        for column in columns:
            for bag in ("all", *(bags if len(bags) > 1 else ())):
                places = [place for place in common if bag in ("all", place[0])]
                yield from _column(column, bag, places, rows_a, rows_b)


_Table = tuple[Mapping[str, Any], Sequence[str]]
_Rows = Mapping[tuple[str, Any], Mapping[str, Any]]


def _tables(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterable[tuple[_Table, _Table]]:
    names = [_bag_names(report) for report in (a, b)]
    series = [
        (
            *(report["frames"], report.get("fusion_frames"), report["timing"].get("series")),
            _dataset_table(report.get("dataset")),
        )
        for report in (a, b)
    ]
    for first, second in zip(*series, strict=True):
        if first and second:
            yield (first, names[0]), (second, names[1])


def _dataset_table(dataset: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the pairs of a data set as a table of frames, one block per second."""
    if not (dataset and dataset.get("rows")):
        return None
    columns = dataset["columns"]
    metrics = [number for number, name in enumerate(columns) if name not in ("name", "when")]
    name = columns.index("name")
    return {
        "columns": ["stamp_ns", "t_s", *(columns[number] for number in metrics)],
        "rows": [
            [row[name], index * BLOCK_S / BLOCK_PAIRS, *(row[number] for number in metrics)]
            for index, row in enumerate(dataset["rows"])
        ],
    }


def _bag_names(report: Mapping[str, Any]) -> list[str]:
    """Return a name for each bag, with the start time if names are equal."""
    names = [PurePath(str(source["path"])).name for source in report["sources"]]
    return [
        name if names.count(name) == 1 else f"{name} ({source['start_ns'] / 1e9:.3f} s)"
        for name, source in zip(names, report["sources"], strict=True)
    ]


def _by_place(table: Mapping[str, Any], names: Sequence[str], *, stamped: bool) -> _Rows:
    """Return rows by bag and stamp: the key that two rows of one pair share.

    Reports of older versions have no stamps, only seconds since the first pair that was evaluated.
    """
    found = {}
    for row in table["rows"]:
        values = dict(zip(table["columns"], row, strict=True))
        number = int(values.get("source") or 0)
        bag = names[number] if number < len(names) else str(number)
        place = values["stamp_ns"] if stamped else values["t_s"] and round(values["t_s"], 4)
        if place is not None and values["t_s"] is not None:
            found[bag, place] = values
    return found


def _column(
    column: str, bag: str, places: Sequence[tuple[str, float]], rows_a: _Rows, rows_b: _Rows
) -> Iterator[PairedDifference]:
    both = [
        (place, rows_a[place][column], rows_b[place][column])
        for place in places
        if rows_a[place].get(column) is not None and rows_b[place].get(column) is not None
    ]
    if not both:
        return
    first, second = (np.array([row[index] for row in both], np.float64) for index in (1, 2))
    numbers: dict[tuple[str, int], int] = {}
    blocks = np.array(
        [
            numbers.setdefault((place[0], math.floor(rows_a[place]["t_s"] / BLOCK_S)), len(numbers))
            for place, _, _ in both
        ]
    )
    found = interval(second - first, blocks)
    low, high = found or (None, None)
    name = f"frame.{column}"
    means = float(first.mean()), float(second.mean())
    better = direction(name)
    yield PairedDifference(name, *means, better, bag, len(both), low, high, len(numbers))
