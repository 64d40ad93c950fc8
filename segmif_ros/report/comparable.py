# SPDX-License-Identifier: Apache-2.0
"""Checks whether two reports can be compared, and lists the limits of the comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any


def objections(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[str]:
    """Yield reasons against comparing two reports."""
    first, second = _bags(a), _bags(b)
    only_first, only_second = sorted(first - second), sorted(second - first)
    if only_first or only_second:
        told = [
            f"only in the {word}: {', '.join(name for name, _ in names)}"
            for word, names in (("first", only_first), ("second", only_second))
            if names
        ]
        yield f"the reports are of different bags ({'; '.join(told)})"
    protocols = [_protocols(report) for report in (a, b)]
    if all(protocols) and protocols[0] != protocols[1]:
        yield (
            f"the labels were scored by different protocols ({', '.join(protocols[0])} and "
            f"{', '.join(protocols[1])})"
        )
    labels = [(report["segmentation"] or {}).get("labels") for report in (a, b)]
    if all(labels) and labels[0] != labels[1]:
        yield f"the labels differ ({labels[0]} and {labels[1]})"


def cautions(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[str]:
    """Yield limits of the comparison."""
    for word, report in (("first", a), ("second", b)):
        if report["partial"]:
            yield (
                f"the {word} report is partial ({report['partial']}): its sums cover fewer pairs; "
                "the paired differences cover the common pairs"
            )
    if bool(a["segmentation"]) != bool(b["segmentation"]):
        yield f"only the {'first' if a['segmentation'] else 'second'} report has labels"
    if a["machine"] != b["machine"]:
        yield "the machine or its load differs, so times do not compare the models"
    every = [report["fusion"].get("every") for report in (a, b)]
    if every[0] != every[1]:
        yield f"fusion was measured on one of {every[0]} and on one of {every[1]} pairs"
    if a["model"].get("sha256") == b["model"].get("sha256"):
        yield "both reports are of the same model file"
    settings = [_comparable_settings(report["settings"]) for report in (a, b)]
    changed = sorted(
        key
        for key in settings[0].keys() | settings[1].keys()
        if settings[0].get(key) != settings[1].get(key)
    )
    if changed:
        yield f"settings differ: {', '.join(changed)}"


def _comparable_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out settings that are expected to differ: the model and output paths."""
    return {k: v for k, v in settings.items() if k not in ("model", "write_bag", "bag_inputs")}


def _bags(report: Mapping[str, Any]) -> set[tuple[str, int]]:
    return {
        (PurePath(str(source["path"])).name, int(source["start_ns"]))
        for source in report["sources"]
        if source["status"] != "skipped"
    }


def _protocols(report: Mapping[str, Any]) -> list[str]:
    rows = ((report["segmentation"] or {}).get("rows") or {}).get("fused") or {}
    return sorted((rows.get("all") or {}).get("protocols") or {})
