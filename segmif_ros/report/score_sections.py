# SPDX-License-Identifier: Apache-2.0
"""The parts of report.html that tell how good the results are: segmentation, boxes, fusion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from segmif_ros.report.markup import (
    NOTHING,
    Markup,
    element,
    facts,
    first_seen,
    joined,
    number,
    percent,
    table,
)
from segmif_ros.report.meanings import MEANINGS, meaning
from segmif_ros.report.svg_plots import bars, confusion_plot

Report = Mapping[str, Any]

ROWS = ("fused", "visible", "thermal")
SPLITS = ("all", "day", "night")


def segmentation(report: Report) -> Markup:
    """Return the scores by light and input, IoU by class, and the confusion matrix."""
    found = report["segmentation"]
    if not found:
        return NOTHING
    parts: list[Markup] = [
        element(
            "p",
            f"Labels: {found.get('labels', 'unknown')}. The rows ",
            meaning("rows", "fused, visible, thermal"),
            " tell what the network was given; light is told from the picture (",
            meaning("day_night", "how"),
            ").",
        )
    ]
    counts = {
        split: max((scores_of(report, row, split).get("frames") or 0) for row in ROWS)
        for split in SPLITS
    }
    by_light = [
        _segmentation_table(caption, {row: scores_of(report, row, split) for row in ROWS})
        for split, caption in _lights(counts)
    ]
    if not by_light:
        parts.append(element("p", "No pair had a label that could be used."))
    parts += [element("div", *by_light, class_="tables"), *_protocols(found), _class_table(report)]
    for problem, count in (found.get("problems") or {}).items():
        parts.append(element("p", f"{count} labels could not be used: {problem}"))
    confusion = found.get("confusion")
    if confusion:
        names = found.get("classes") or _classfirst_seen(report, confusion["ids"])
        plot = confusion_plot(names, confusion["matrix"])
        parts += [element("h3", meaning("confusion")), plot] if plot else []
    return joined(parts)


def boxes(report: Report) -> Markup:
    """Return the box scores as they stand."""
    if not report["boxes"]:
        return NOTHING
    note = (
        "A box is hit when its own class covers a fifth of it; inside is the share of the class's "
        "pixels that lie in boxes of the class. These are not mIoU."
    )
    return joined([element("p", note), facts(report["boxes"])])


def fusion(report: Report) -> Markup:
    """Return the fusion metrics by light, flicker, and what the mask consists of."""
    found = report["fusion"]
    counts = {
        split: max(
            (each.get("frames") or 1 for each in (found.get(split) or {}).values()), default=0
        )
        for split in SPLITS
    }
    tables = []
    for split, caption in _lights(counts):
        metrics = first_seen(found[split].values())
        head = ["image", *(_named(metric) for metric in metrics)]
        rows = [
            (row, *(number(values.get(metric)) for metric in metrics))
            for row, values in found[split].items()
        ]
        tables.append(table(head, rows, caption=caption))
    parts = [element("div", *tables, class_="tables")] if tables else []
    if tables and found.get("every"):
        every = found["every"]
        parts.append(element("p", f"Measured on every {every}th pair of each bag.", class_="note"))
    steadiness = {row: value for row, value in report["flicker"].items() if value is not None}
    if steadiness:
        head = ["", *({"ratio": "fused / worse input"}.get(row, row) for row in steadiness)]
        rows = [(meaning("flicker"), *(number(value) for value in steadiness.values()))]
        parts.append(table(head, rows, caption="Steadiness"))
    same = report.get("same_mask_alone") or {}
    if same:
        told = ", ".join(f"{percent(share)} with {row} alone" for row, share in same.items())
        parts.append(element("p", meaning("same_mask_alone"), f": {told}."))
    shares = {name: 100 * share for name, share in report["classes_seen"].items() if share > 1e-3}
    if shares:
        parts.append(bars("What the masks consist of", shares, "% of pixels"))
    return joined(parts)


def _segmentation_table(caption: str, scores: Mapping[str, Mapping[str, Any]]) -> Markup:
    present = [row for row in ROWS if scores[row]]
    protocols = first_seen(scores[row].get("protocols") or {} for row in present)
    rows: list[Sequence[object]] = []
    for protocol in protocols:
        values = [(scores[row].get("protocols") or {}).get(protocol) for row in present]
        name = joined([meaning("miou"), " ", meaning("protocol", protocol)])
        rows.append((name, *(number(value) for value in values)))
    for key in ("pixel_accuracy", "boundary_iou"):
        values = [scores[row].get(key) for row in present]
        if any(value is not None for value in values):
            rows.append((meaning(key), *(number(value) for value in values)))
    rows.append(("pairs", *(number(scores[row].get("frames")) for row in present)))
    return table(("", *present), rows, caption=caption)


def _protocols(found: Mapping[str, Any]) -> Iterator[Markup]:
    told = found.get("protocols") or {}
    for name, each in told.items():
        if each.get("about"):
            yield element("p", element("b", name), f": {each['about']}", class_="note")


def _class_table(report: Report) -> Markup:
    wanted = [(row, "all") for row in ROWS]
    if all(scores_of(report, "fused", split).get("frames") for split in ("day", "night")):
        wanted += [("fused", "day"), ("fused", "night")]
    columns = [
        (row, split, found)
        for row, split in wanted
        if (found := scores_of(report, row, split).get("per_class"))
    ]
    if not columns:
        return NOTHING
    head = [meaning("iou", "IoU of"), *(f"{row}, {split}" for row, split, _ in columns)]
    rows = [
        (name, *(number(found.get(name)) for _, _, found in columns))
        for name in first_seen(found for _, _, found in columns)
        if any(found.get(name) is not None for _, _, found in columns)
    ]
    return table(head, rows, caption="IoU by class; classes that occur in neither are left out")


def scores_of(report: Report, row: str, split: str) -> Mapping[str, Any]:
    """Return the scores of one input in one light; empty if there are none."""
    rows = (report["segmentation"] or {}).get("rows") or {}
    found: Mapping[str, Any] = (rows.get(row) or {}).get(split) or {}
    return found


def _classfirst_seen(report: Report, ids: Sequence[int]) -> list[str]:
    known = {int(c["id"]): str(c["name"]) for c in report["model"]["classes"]}
    return [known.get(int(i), f"id {i}") for i in ids]


def _named(metric: str) -> object:
    return meaning(metric) if metric in MEANINGS else metric


def _lights(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return the splits to show, with captions; a split that equals all is not shown twice."""
    apart = [split for split in ("day", "night") if counts.get(split)]
    if not counts.get("all"):
        return []
    if len(apart) == 1:
        return [("all", f"All pairs, which are all by {apart[0]}")]
    return [("all", "All pairs"), *((split, split.capitalize()) for split in apart)]
