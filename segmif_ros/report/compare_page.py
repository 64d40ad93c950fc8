# SPDX-License-Identifier: Apache-2.0
"""A comparison of two reports as a page, and as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from segmif_ros.report.compare import (
    BLOCK_S,
    CONFIDENCE,
    LEAST_BLOCKS,
    RESAMPLES,
    Comparison,
    Difference,
    PairedDifference,
)
from segmif_ros.report.html import document
from segmif_ros.report.markup import Markup, element, number, table
from segmif_ros.report.sections import title_of

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
    parts: list[object] = [table(("", "report", "model file", "created"), sides, caption="Reports")]
    if found.objections:
        parts.append(_list("banner failed", "Not comparable.", found.objections))
    if found.cautions:
        parts.append(_list("banner warn", "Mind:", found.cautions))
    if found.paired:
        parts += [
            element("h2", "Pair by pair"),
            element("p", explanation(), class_="note"),
            table(
                ("", "bag", "pairs", "A", "B", "B - A", "95 % interval", ""),
                [_paired_row(each) for each in found.paired],
            ),
        ]
    for heading, beginning in _GROUPS:
        rows = [_row(each) for each in found.differences if each.name.startswith(beginning)]
        if rows:
            parts += [element("h2", heading), table(("", "A", "B", "B - A", "better is"), rows)]
    title = "A and B compared"
    body = [element("header", element("h1", title)), element("main", *parts)]
    return document(title, body, script=False)


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
        f"{_interval(each)}  {_certainty(each)}"
    )


def _row(each: Difference) -> Sequence[object]:
    return (
        each.name.partition(".")[2],
        number(each.a, 4),
        number(each.b, 4),
        f"{each.delta:+.4f}",
        each.better,
    )


def _paired_row(each: PairedDifference) -> Sequence[object]:
    worsening = Difference(each.name, each.a, each.b, each.better).worsening
    shown = f"{each.delta:+.4f}"
    return (
        each.name.removeprefix("frame."),
        each.bag,
        number(each.pairs),
        number(each.a, 4),
        number(each.b, 4),
        _colored(shown, worsening) if each.certain else shown,
        _interval(each),
        _certainty(each),
    )


def _interval(each: PairedDifference) -> str:
    if each.low is None or each.high is None:
        return f"too short ({each.blocks} blocks)"
    return f"{each.low:+.4f} to {each.high:+.4f}"


def _certainty(each: PairedDifference) -> str:
    if not each.certain:
        return ""
    return _word(Difference(each.name, each.a, each.b, each.better)) or "certain"


def _word(each: Difference) -> str:
    if each.worsening == 0:
        return ""
    return "worse" if each.worsening > 0 else "better"


def _colored(text: str, worsening: float) -> Markup:
    kind = None if worsening == 0 else "worse" if worsening > 0 else "better"
    return element("span", text, class_=kind)


def _list(kind: str, word: str, lines: Sequence[str]) -> Markup:
    shown = element("ul", *(element("li", line) for line in lines))
    return element("div", element("b", word), shown, class_=kind, role="note")
