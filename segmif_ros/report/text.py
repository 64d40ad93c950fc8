# SPDX-License-Identifier: Apache-2.0
"""A report as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segmif_ros.metrics.tally import ROWS
from segmif_ros.report.score_tables import (
    box_lines,
    calibration_lines,
    cell,
    fusion_lines,
    segmentation_lines,
    verdict_lines,
)


def table(report: Mapping[str, Any]) -> str:
    """Return the figures that people look for first."""
    lines = [*_sources(report), *_pairs(report), *_rates(report)]
    lines += segmentation_lines(report["segmentation"])
    lines += box_lines(report["boxes"], report["model"]["classes"])
    lines += calibration_lines(report["calibration"])
    lines += fusion_lines(report["fusion"])
    lines += _steadiness(report)
    lines += [f"note: {note}" for note in report["notes"]]
    lines += verdict_lines(report["verdict"])
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
            f"rate       {timing['pairs_per_s']:.1f} pairs/s, the engine on the same pairs "
            f"{engine:.1f} ({timing['pairs_per_s'] / engine:.2f} of it)"
        )
    live = timing["live"]
    if live is not None:
        total = live["latency_ms"].get("total")
        late = f", camera stamp to published {total['p50']:.0f} ms median" if total else ""
        lines.append(f"live       {live['lost']} of {live['sent']} pairs lost{late}")
    return lines


def _steadiness(report: Mapping[str, Any]) -> list[str]:
    flicker, lines = report["flicker"], []
    if flicker["fused"] is not None:
        values = ", ".join(f"{row} {cell(flicker[row])}" for row in ROWS)
        ratio = ""
        if flicker["ratio"] is not None:
            ratio = f"; fused over the worse input {flicker['ratio']:.2f}"
        lines.append(f"flicker    {values} grey levels{ratio}")
    if flicker["mask_share"] is not None:
        lines.append(
            f"           {flicker['mask_share']:.2%} of the mask's pixels change for one frame, "
            f"{flicker['mask_worst_share']:.2%} in the worst"
        )
    seen = sorted(((v, name) for name, v in report["classes_seen"].items()), reverse=True)[:6]
    if seen:
        lines.append("classes    " + ", ".join(f"{name} {v:.1%}" for v, name in seen))
    alone = report["same_mask_alone"]
    if alone:
        told = ", ".join(f"{row} {share:.1%}" for row, share in alone.items())
        lines.append(f"alone      pixels whose class stays with one camera alone: {told}")
    alignment = report["alignment"]
    if alignment is not None and alignment["median_px"] is not None:
        lines.append(f"alignment  thermal lies {alignment['median_px']:.1f} px off RGB (median)")
    return lines
