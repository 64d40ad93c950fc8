# SPDX-License-Identifier: Apache-2.0
"""A report as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from segmif_ros.evaluation.fusion import METRICS
from segmif_ros.evaluation.tally import ROWS, row_order, split_order


def table(report: Mapping[str, Any]) -> str:
    """Return the figures that people look for first."""
    lines = [*_sources(report), *_pairs(report), *_rates(report)]
    lines += _segmentation(report["segmentation"])
    lines += _boxes(report["boxes"], report["model"]["classes"])
    lines += _fusion(report["fusion"])
    lines += _steadiness(report)
    lines += [f"note: {note}" for note in report["notes"]]
    lines += _verdict(report["verdict"])
    return "\n".join(lines)


def _sources(report: Mapping[str, Any]) -> list[str]:
    lines = []
    for source in report["sources"]:
        about = f"{source['duration_s']:.1f} s, {source['bytes'] / 1e6:.1f} MB"
        told = about if source["status"] == "ok" else f"{source['status']}: {source['reason']}"
        lines.append(f"{source['path']}: {told}")
    return lines


def _pairs(report: Mapping[str, Any]) -> list[str]:
    pairs = report["pairs"]
    received = ", ".join(f"{n} {name}" for name, n in pairs["received"].items())
    lines = ["", f"images     {received}"]
    lost = pairs["lost_share"]
    share = "" if lost is None else f", {lost:.1%} of the pairs lost"
    lines.append(f"pairs      {pairs['evaluated']} evaluated of {pairs['paired']} made{share}")
    lines += [f"           {n} {reason}" for reason, n in pairs["dropped"].items()]
    difference = report["sync"]["difference_ms"]
    if difference["p50"] is not None:
        lines.append(
            f"sync       |thermal - RGB| median {difference['p50']:.1f} ms, p95 "
            f"{difference['p95']:.1f}, largest {difference['max']:.1f}"
        )
    return lines


def _rates(report: Mapping[str, Any]) -> list[str]:
    timing = report["timing"]
    lines = []
    if timing["pairs_per_s"] and timing["engine_pairs_per_s"]:
        engine = timing["engine_pairs_per_s"]
        lines.append(
            f"rate       {timing['pairs_per_s']:.1f} pairs/s, the engine alone {engine:.1f} "
            f"({timing['pairs_per_s'] / engine:.2f} of it)"
        )
    live = timing["live"]
    if live is not None:
        total = live["latency_ms"].get("total")
        late = f", camera stamp to published {total['p50']:.0f} ms median" if total else ""
        lines.append(f"live       {live['lost']} of {live['sent']} pairs lost{late}")
    return lines


def _segmentation(scores: Mapping[str, Any] | None) -> list[str]:
    if scores is None:
        return []
    if not scores["rows"]:
        return ["", "segmentation: labels were asked for, but no pair had one that could be used"]
    first = next(iter(scores["protocols"]))
    lines = ["", f"{'mIoU':<11}" + "".join(f"{name:>10}" for name in scores["protocols"])]
    for row in row_order(scores["rows"]):
        for split in split_order(scores["rows"][row]):
            figures = scores["rows"][row][split]
            cells = "".join(f"{_cell(figures['protocols'][p]):>10}" for p in scores["protocols"])
            label = row if split == "all" else f"  {split}"
            lines.append(f"{label:<11}{cells}   {figures['frames']} pairs")
    per_class = scores["rows"].get("fused", {}).get("all", {}).get("per_class", {})
    worst = sorted((v, name) for name, v in per_class.items() if v is not None)
    if worst:
        lines.append(
            f"IoU of classes ({first}): " + ", ".join(f"{name} {v:.2f}" for v, name in worst)
        )
    return lines


def _boxes(scores: Mapping[str, Any] | None, classes: Sequence[Mapping[str, Any]]) -> list[str]:
    if not scores:
        return []
    names = {str(label["id"]): label["name"] for label in classes}
    lines = ["", f"{'boxes':<11}{'class':<14}{'boxes':>7}{'hit':>8}{'inside':>8}"]
    for row in row_order(scores):
        for label, found in scores[row].get("all", {}).items():
            if found["boxes"]:
                cells = f"{_cell(found['hit']):>8}{_cell(found['inside']):>8}"
                name = names.get(str(label), str(label))
                lines.append(f"{row:<11}{name:<14}{found['boxes']:>7}{cells}")
    return lines


def _fusion(fusion: Mapping[str, Any]) -> list[str]:
    rows = fusion["all"]
    if not rows:
        return []
    frames = next(iter(rows.values()))["frames"]
    lines = ["", f"{'fusion':<11}" + "".join(f"{metric:>8}" for metric in METRICS)]
    lines += [
        f"{row:<11}" + "".join(f"{_cell(rows[row][metric]):>8}" for metric in METRICS)
        for row in row_order(rows)
    ]
    return [*lines, f"on {frames} pairs, every {fusion['every']}."]


def _steadiness(report: Mapping[str, Any]) -> list[str]:
    flicker, lines = report["flicker"], []
    if flicker["fused"] is not None:
        values = ", ".join(f"{row} {_cell(flicker[row])}" for row in ROWS)
        ratio = ""
        if flicker["ratio"] is not None:
            ratio = f"; fused over the worse input {flicker['ratio']:.2f}"
        lines.append(f"flicker    {values} grey levels{ratio}")
    seen = sorted(((v, name) for name, v in report["classes_seen"].items()), reverse=True)[:6]
    if seen:
        lines.append("classes    " + ", ".join(f"{name} {v:.1%}" for v, name in seen))
    alignment = report["alignment"]
    if alignment is not None and alignment["median_px"] is not None:
        lines.append(f"alignment  thermal lies {alignment['median_px']:.1f} px off RGB (median)")
    return lines


def _verdict(verdict: Mapping[str, Any]) -> list[str]:
    if not verdict["checks"]:
        return []
    lines = [""]
    for check in verdict["checks"]:
        word = "passed" if check["passed"] else "MISSED"
        lines.append(f"{word}  {check['name']} {check['limit']}, is {_cell(check['value'])}")
    return [*lines, "verdict: " + ("passed" if verdict["passed"] else "failed")]


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"
