# SPDX-License-Identifier: Apache-2.0
"""A comparison of two reports as a page, and as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from segmif_ros.report.compare import (
    BLOCK_PAIRS,
    BLOCK_S,
    CONFIDENCE,
    LEAST_BLOCKS,
    RESAMPLES,
    SMALL_GREY,
    SMALL_SHARE,
    Comparison,
    PairedDifference,
)
from segmif_ros.report.html import title_of
from segmif_ros.report.page import rendered

_GROUPS = (
    ("Segmentation", "segmentation."),
    ("Boxes", "boxes."),
    ("Fusion", "fusion."),
    ("Flicker", "flicker."),
    ("Pairs", "pairs."),
    ("Dropped frames", "dropped."),
    ("Time difference, ms", "sync."),
    ("Time", "timing."),
)


def compare_page(
    a: Mapping[str, Any], b: Mapping[str, Any], found: Comparison, folders: Sequence[str]
) -> str:
    """Return the whole page.

    Args:
        a: first report.
        b: second report.
        found: what `compare` returned for them.
        folders: where the two lie, as people wrote it.
    """
    return rendered(
        "compare",
        sides=_sides(a, b, folders),
        found=found,
        groups=_GROUPS,
        explanation=explanation(),
    )


def explanation() -> str:
    """Describe the computation of the intervals."""
    return (
        f"Means over the pairs that both reports list. Intervals: {CONFIDENCE:.0%}, {RESAMPLES} "
        f"seeded draws of blocks of {BLOCK_S:g} s (of a data set: {BLOCK_PAIRS} pairs), because "
        f"neighbours are similar; none with fewer than {LEAST_BLOCKS} blocks. A difference is "
        f"certain when its interval leaves out 0, and small below {SMALL_SHARE:.0%} of the value "
        f"or {SMALL_GREY:g} grey levels. Equal rows and repeats are left out."
    )


def compare_text(
    a: Mapping[str, Any], b: Mapping[str, Any], found: Comparison, folders: Sequence[str]
) -> str:
    """Return the comparison for a terminal: objections, paired differences, and what changed.

    Args:
        a: first report.
        b: second report.
        found: what `compare` returned for them.
        folders: where the two lie, as people wrote it.
    """
    lines = ["  ".join(side[:4]) for side in _sides(a, b, folders)]
    lines += [f"NOT COMPARABLE: {objection}" for objection in found.objections]
    lines += [f"note: {caution}" for caution in found.cautions]
    if found.shown_pairs:
        lines += ["", f"{'pair by pair':<34}{'A':>11}{'B':>11}{'B - A':>12}   95 % interval"]
        lines += [_paired_line(each) for each in found.shown_pairs]
    if found.shown:
        lines += ["", f"{'all together':<44}{'A':>11}{'B':>11}{'B - A':>12}   better is"]
        lines += [
            f"{each.name:<44}{each.a:>11.4g}{each.b:>11.4g}{each.delta:>+12.3g}   {each.better}"
            for each in found.shown
        ]
    hidden = len(found.differences) - len(found.shown)
    lines += ["", f"{hidden} of {len(found.differences)} numbers are equal or repeats"]
    return "\n".join(lines)


def _sides(
    a: Mapping[str, Any], b: Mapping[str, Any], folders: Sequence[str]
) -> list[tuple[str, ...]]:
    """Letter, folder, what was evaluated, engine, digest of the model and date of each report."""
    return [
        (
            letter,
            folder,
            title_of(report),
            _engine(report["model"]["engine"]),
            report["model"]["sha256"][:12],
            report["created"],
        )
        for letter, folder, report in zip("AB", folders, (a, b), strict=True)
    ]


def _engine(facts: Mapping[str, Any]) -> str:
    words = (str(facts.get(key) or "") for key in ("name", "precision", "device"))
    return " ".join(filter(None, words))


def _paired_line(each: PairedDifference) -> str:
    name = each.name if each.bag == "all" else f"  {each.bag}"
    return (
        f"{name:<34}{each.a:>11.4g}{each.b:>11.4g}{each.delta:>+12.3g}   "
        f"{each.interval}  {each.certainty}"
    )
