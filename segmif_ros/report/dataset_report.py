# SPDX-License-Identifier: Apache-2.0
"""Scores of a data set as scores.json, as text, and as pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2

from segmif_ros.bundle import Manifest
from segmif_ros.datasets.dataset import Dataset
from segmif_ros.evaluation.dataset_scores import DatasetScores, WorstPairs
from segmif_ros.frames import Image8
from segmif_ros.metrics.tally import ROWS
from segmif_ros.outputs import write_whole
from segmif_ros.report.confusion_picture import confusion_picture
from segmif_ros.report.run_summary import versions
from segmif_ros.report.score_tables import (
    box_lines,
    calibration_lines,
    fusion_lines,
    segmentation_lines,
    verdict_lines,
)
from segmif_ros.report.worst_sheet import worst_sheet

SCORES_FILE = "scores.json"
SCHEMA, VERSION = "segmif.dataset", 1
CONFUSIONS = {row: f"confusion_{row}.png" for row in ROWS}
WORST_FILE = "worst.jpg"
FILES = (SCORES_FILE, *CONFUSIONS.values(), WORST_FILE)
"""Everything that `write` may write."""


def dataset_report(
    scores: DatasetScores,
    dataset: Dataset,
    manifest: Manifest,
    engine: Mapping[str, str],
    others: Sequence[str] = (),
) -> dict[str, Any]:
    """Return everything as JSON-able values; figures lie where a drive's report has them.

    Only boxes go by the names of their classes: `boxes.fused.night.person.hit`.

    Args:
        scores: what was counted.
        dataset: what was opened.
        manifest: of the bundle.
        engine: what the engine says about itself.
        others: rows of other methods.
    """
    found = scores.summary()
    if found["boxes"] is not None:
        names = {label.id: label.name for label in scores.protocols[0].classes}
        found["boxes"] = {
            row: {
                split: {names[label]: figures for label, figures in by_class.items()}
                for split, by_class in splits.items()
            }
            for row, splits in found["boxes"].items()
        }
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "dataset": {
            "kind": dataset.kind,
            "name": dataset.root.resolve().name,
            "split": dataset.split,
            "labels": dataset.labels,
            "scored": len(scores.pairs),
            "of": len(dataset),
            "unpaired": len(dataset.unpaired),
            "notes": list(dataset.notes),
        },
        "model": {
            "name": manifest.name,
            "sha256": manifest.sha256,
            "size": list(manifest.size),
            "engine": dict(engine),
        },
        "versions": versions(),
        "other_methods": list(others),
        **found,
    }


def to_text(report: Mapping[str, Any]) -> str:
    """Return the tables for a terminal; the report needs its `verdict` and `partial`."""
    data = report["dataset"]
    split = f", split {data['split']}" if data["split"] else ""
    lines = [
        f"{data['name']} ({data['kind']}){split}: {data['scored']} of {data['of']} pairs, "
        f"model {report['model']['name']}, classes of {data['labels']}"
    ]
    if data["unpaired"]:
        lines.append(
            f"unpaired: {data['unpaired']}; `segmif dataset check` names the missing files"
        )
    lines += [f"note: {note}" for note in data["notes"]]
    lines += segmentation_lines(report["segmentation"])
    lines += box_lines(report["boxes"], ())
    lines += calibration_lines(report["calibration"])
    lines += fusion_lines(report["fusion"])
    if report["segmentation"] is None and report["boxes"] is None:
        lines.append(
            "no labels and no boxes: only fusion could be scored; put ids as PNG into labels/, or "
            "lines `class cx cy w h` into boxes/, or name a folder with --boxes"
        )
    lines += verdict_lines(report["verdict"])
    if report["partial"]:
        lines.append(f"PARTIAL: {report['partial']}")
    return "\n".join(lines)


def write(
    out: Path, report: Mapping[str, Any], scores: DatasetScores, worst: WorstPairs
) -> list[Path]:
    """Write scores.json and the pictures that there is something to draw for.

    Returns:
        What was written.

    Raises:
        OSError: it cannot be written.
    """
    for stale in (*CONFUSIONS.values(), WORST_FILE):
        (out / stale).unlink(missing_ok=True)
    text = json.dumps(report, indent=1, allow_nan=False) + "\n"
    write_whole(out / SCORES_FILE, text)
    written = [out / SCORES_FILE]
    for name, picture in _pictures(report, scores, worst).items():
        ok, coded = cv2.imencode(Path(name).suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        if not ok:
            raise OSError(f"OpenCV {cv2.__version__} cannot write {name}")
        write_whole(out / name, coded.tobytes())
        written.append(out / name)
    return written


def _pictures(
    report: Mapping[str, Any], scores: DatasetScores, worst: WorstPairs
) -> dict[str, Image8]:
    data, protocol = report["dataset"], scores.protocols[0]
    about = f"{report['model']['name']} on {data['kind']} {data['split'] or ''}".rstrip()
    pictures = {}
    for row, figures in (report["segmentation"] or {"rows": {}})["rows"].items():
        miou = figures["all"]["protocols"][protocol.name]
        if miou is not None:
            pictures[CONFUSIONS[row]] = confusion_picture(
                scores.segmentation.confusion(row).without(protocol.ignored).matrix,
                protocol.classes,
                f"{about}: {'both cameras' if row == 'fused' else row + ' alone'}",
                f"{figures['all']['frames']} pairs, mIoU {miou:.3f} ({protocol.name})",
            )
    if kept := worst.sorted():
        title = f"{about}: lowest {kept[0].why}"
        pictures[WORST_FILE] = worst_sheet(kept, protocol.classes, title)
    return pictures
