# SPDX-License-Identifier: Apache-2.0
"""A report as text for a terminal; the tables of a drive and of a data set are the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from segmif_ros.metrics.fusion import METRICS
from segmif_ros.metrics.tally import ROWS, WHOLE, row_order, split_order


def table(report: Mapping[str, Any]) -> str:
    """Return the main figures."""
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


def segmentation_lines(scores: Mapping[str, Any] | None) -> list[str]:
    """Return mIoU by row, split and protocol, and the IoU of every class; nothing for None.

    Args:
        scores: `protocols` by name, and `rows` from `SegmentationScores.summary`.
    """
    if scores is None:
        return []
    if not scores["rows"]:
        return ["", "segmentation: labels were requested, but no pair had a usable one"]
    first = next(iter(scores["protocols"]))
    heads = [*scores["protocols"], "accuracy", "boundary"]
    widths = [max(10, len(name) + 2) for name in heads]
    titles = (f"{name:>{width}}" for name, width in zip(heads, widths, strict=True))
    lines = ["", f"{'mIoU':<14}" + "".join(titles)]
    for row, split, figures in _rows(scores["rows"]):
        values = [figures["protocols"][name] for name in scores["protocols"]]
        values += [figures["pixel_accuracy"], figures["boundary_iou"]]
        cells = "".join(f"{cell(v):>{width}}" for v, width in zip(values, widths, strict=True))
        lines.append(f"{_label(row, split)}{cells}   {figures['frames']} pairs")
    per_class = scores["rows"].get("fused", {}).get(WHOLE, {}).get("per_class", {})
    worst = sorted((v, name) for name, v in per_class.items() if v is not None)
    if worst:
        named = ", ".join(f"{name} {v:.2f}" for v, name in worst)
        lines.append(f"IoU of classes ({first}): {named}")
    return lines


def box_lines(scores: Mapping[str, Any] | None, classes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return box recall and box precision by class; nothing for None.

    Args:
        scores: from `BoxScores.summary`, class ids as numbers or as text.
        classes: `id` and `name` of the classes.
    """
    if not scores:
        return []
    names = {str(label["id"]): label["name"] for label in classes}
    objects = f"{'AP@.5':>8}{'obj. recall':>13}{'obj. prec.':>12}"
    lines = ["", f"{'boxes':<14}{'class':<14}{'boxes':>7}{'recall':>8}{'precision':>11}{objects}"]
    for row, split, found in _rows(scores):
        for label, figures in found.items():
            if figures["boxes"]:
                cells = f"{cell(figures['box_recall']):>8}{cell(figures['box_precision']):>11}"
                cells += (
                    f"{cell(figures.get('average_precision')):>8}"
                    f"{cell(figures.get('object_recall')):>13}"
                    f"{cell(figures.get('object_precision')):>12}"
                )
                name = names.get(str(label), str(label))
                lines.append(f"{_label(row, split)}{name:<14}{figures['boxes']:>7}{cells}")
    return lines


def calibration_lines(scores: Mapping[str, Any]) -> list[str]:
    """Return accuracy, confidence and expected calibration error by class.

    Args:
        scores: from `CalibrationScores.summary`.
    """
    if not scores:
        return []
    lines = ["", f"{'confidence':<14}{'class':<14}{'accuracy':>9}{'mean':>8}{'error':>8}"]
    for split in split_order(scores):
        for name, figures in scores[split].items():
            cells = f"{cell(figures['accuracy']):>9}{cell(figures['confidence']):>8}"
            lines.append(f"{split:<14}{name:<14}{cells}{cell(figures['error']):>8}")
    return lines


def fusion_lines(fusion: Mapping[str, Any]) -> list[str]:
    """Return the metrics of every row over all pictures; nothing where none was measured.

    Args:
        fusion: split -> row -> metric, and `every`.
    """
    rows = fusion[WHOLE]
    if not rows:
        return []
    frames = next(iter(rows.values()))["frames"]
    lines = ["", f"{'fusion':<14}" + "".join(f"{metric:>8}" for metric in METRICS)]
    lines += [
        f"{row:<14}" + "".join(f"{cell(rows[row][metric]):>8}" for metric in METRICS)
        for row in row_order(rows)
    ]
    sampled = f", every {fusion['every']}." if fusion["every"] > 1 else "."
    lines.append(f"on {frames} pairs{sampled}")
    for row in row_order(rows.keys() - set(ROWS)):
        ahead = [metric for metric in METRICS if rows["fused"][metric] >= rows[row][metric]]
        named = ": " + ", ".join(ahead) if ahead else ""
        lines.append(f"fused is at or above {row} in {len(ahead)} of {len(METRICS)}{named}")
    return lines


def verdict_lines(verdict: Mapping[str, Any]) -> list[str]:
    """Return every threshold with the measured value; empty without thresholds."""
    if not verdict["checks"]:
        return []
    lines = [""]
    for check in verdict["checks"]:
        word = "passed" if check["passed"] else "MISSED"
        lines.append(f"{word}  {check['name']} {check['limit']}, is {cell(check['value'])}")
    return [*lines, "verdict: " + ("passed" if verdict["passed"] else "failed")]


def cell(value: float | None) -> str:
    """Return a number formatted for a table."""
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _rows(table: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, Any]]:
    return [
        (row, split, table[row][split])
        for row in row_order(table)
        for split in split_order(table[row])
    ]


def _label(row: str, split: str) -> str:
    return f"{row if split == WHOLE else '  ' + split:<14}"
