# SPDX-License-Identifier: Apache-2.0
"""A comparison of two reports as a page, and as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segmif_ros.report.compare import (
    BLOCK_S,
    CONFIDENCE,
    LEAST_BLOCKS,
    RESAMPLES,
    Comparison,
    PairedDifference,
)
from segmif_ros.report.html import title_of
from segmif_ros.report.page import rendered

_GROUPS = (
    ("Segmentation", "segmentation."),
    ("Fusion", "fusion."),
    ("Flicker", "flicker."),
    ("Pairs", "pairs."),
    ("Dropped frames", "dropped."),
    ("Time difference, ms", "sync."),
    ("Time", "timing."),
)


def compare_page(a: Mapping[str, Any], b: Mapping[str, Any], found: Comparison) -> str:
    """Return the whole page.

    Args:
        a: first report.
        b: second report.
        found: what `compare` returned for them.
    """
    sides = [
        (name, title_of(report), report["model"]["sha256"][:12], report["created"])
        for name, report in (("A", a), ("B", b))
    ]
    return rendered("compare", sides=sides, found=found, groups=_GROUPS, explanation=explanation())


def explanation() -> str:
    """Return how the intervals come about."""
    return (
        f"Means over the pairs that both reports list. Intervals: {CONFIDENCE:.0%}, {RESAMPLES} "
        f"seeded draws of blocks of {BLOCK_S:g} s, because neighbouring frames are alike; none "
        f"with fewer than {LEAST_BLOCKS} blocks. A difference is certain when its interval leaves "
        "out 0."
    )


def compare_text(found: Comparison) -> str:
    """Return the comparison for a terminal: objections, paired differences, and what changed."""
    lines = [f"NOT COMPARABLE: {objection}" for objection in found.objections]
    lines += [f"note: {caution}" for caution in found.cautions]
    if found.paired:
        lines += ["", f"{'pair by pair':<34}{'A':>11}{'B':>11}{'B - A':>12}   95 % interval"]
        lines += [_paired_line(each) for each in found.paired]
    changed = [each for each in found.differences if each.delta]
    if changed:
        lines += ["", f"{'whole drive':<44}{'A':>11}{'B':>11}{'B - A':>12}   better is"]
        lines += [
            f"{each.name:<44}{each.a:>11.4g}{each.b:>11.4g}{each.delta:>+12.3g}   {each.better}"
            for each in changed
        ]
    same = len(found.differences) - len(changed)
    lines += ["", f"{same} of {len(found.differences)} numbers of the whole drive are equal"]
    return "\n".join(lines)


def _paired_line(each: PairedDifference) -> str:
    name = each.name if each.bag == "all" else f"  {each.bag}"
    return (
        f"{name:<34}{each.a:>11.4g}{each.b:>11.4g}{each.delta:>+12.3g}   "
        f"{each.interval}  {each.certainty}"
    )
