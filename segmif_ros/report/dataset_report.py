# SPDX-License-Identifier: Apache-2.0
"""Scores of a data set as a report, as text, and as pictures of the worst pairs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from segmif_ros.bundle import LabelClass, Manifest
from segmif_ros.datasets.dataset import Dataset
from segmif_ros.evaluation.dataset_scores import DatasetScores, Shown, WorstPairs
from segmif_ros.evaluation.kept_pictures import encoded
from segmif_ros.evaluation.state import StoredPicture
from segmif_ros.frames import Image8
from segmif_ros.images.pictures import encode_picture
from segmif_ros.metrics.tally import ROWS
from segmif_ros.outputs import write_whole
from segmif_ros.render import COLUMNS, Legend, SheetRow, contact_sheet, overlay, palette
from segmif_ros.report.confusion_picture import confusion_picture
from segmif_ros.report.files import PICTURES, REPORT_FILE, RUN_FILE, finite, save
from segmif_ros.report.html import HTML_FILE, write_html
from segmif_ros.report.run_summary import report_head
from segmif_ros.report.schema import EARLIER, validate
from segmif_ros.report.score_tables import (
    box_lines,
    calibration_lines,
    fusion_lines,
    segmentation_lines,
    verdict_lines,
)
from segmif_ros.report.summary import model_facts, remove_pictures, write_pictures
from segmif_ros.report.verdict import Requirement, verdict

SCORES_FILE = "scores.json"
SCORES_SCHEMA, SCORES_VERSION = "segmif.dataset", 1
CONFUSIONS = {row: f"confusion_{row}.png" for row in ROWS}
WORST_FILE = "worst.jpg"
FILES = (
    *(SCORES_FILE, REPORT_FILE, RUN_FILE, HTML_FILE, PICTURES),
    *(*CONFUSIONS.values(), WORST_FILE),
)
"""All files that `write` may write."""

_SCORES = (
    *("dataset", "model", "versions", "other_methods", "segmentation", "boxes", "calibration"),
    *("fusion", "verdict", "partial"),
)


def dataset_report(
    scores: DatasetScores,
    dataset: Dataset,
    manifest: Manifest,
    engine: Mapping[str, str],
    others: Sequence[str] = (),
    *,
    wall_s: float = 0.0,
    partial: str | None = None,
    requirements: Sequence[Requirement] = (),
) -> dict[str, Any]:
    """Return the report without its pictures, with the fields of a drive's report.

    Args:
        scores: the counts.
        dataset: the data set.
        manifest: of the bundle.
        engine: the engine's description.
        others: rows of other methods.
        wall_s: duration, seconds.
        partial: why it ended early, None if it did not.
        requirements: thresholds.
    """
    found = scores.summary()
    classes = scores.protocols[0].classes
    if found["segmentation"] is not None:
        found["segmentation"]["labels"] = f"data set, read as {dataset.labels}"
    table, count = found.pop("pairs"), len(scores.pairs)
    name = dataset.root.resolve().name
    report = {
        **report_head(partial),
        "sources": [
            {
                **{"path": name, "bytes": 0, "start_ns": 0, "duration_s": 0.0, "topics": {}},
                **{"status": "ok", "reason": ""},
            }
        ],
        "dataset": {**_facts(dataset, name), "scored": count, **table},
        "model": model_facts(manifest, engine, classes),
        "settings": {"protocols": [protocol.name for protocol in scores.protocols]},
        "pairs": {"paired": min(len(dataset), 2**63 - 1), "evaluated": count},
        "sync": {},
        "alignment": None,
        "timing": {"wall_s": wall_s, "pairs_per_s": count / wall_s if wall_s else None},
        "flicker": {},
        "classes_seen": {},
        "frames": {},
        "pictures": [],
        "bag": None,
        "notes": list(dataset.notes),
        "other_methods": list(others),
        **found,
    }
    report["verdict"] = verdict(report, requirements)
    return validate(finite(report))


def _facts(dataset: Dataset, name: str) -> dict[str, Any]:
    return {
        "kind": dataset.kind,
        "name": name,
        "split": dataset.split,
        "labels": dataset.labels,
        "of": len(dataset),
        "unpaired": len(dataset.unpaired),
        "notes": list(dataset.notes),
    }


def scores_file(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return scores.json: the scores alone, as earlier versions wrote them."""
    facts = {k: v for k, v in report["dataset"].items() if k not in ("columns", "rows")}
    boxes = report["boxes"] and {
        row: {
            split: {
                name: {**f, **{old: f[new] for old, new in EARLIER.items()}}
                for name, f in by_class.items()
            }
            for split, by_class in splits.items()
        }
        for row, splits in report["boxes"].items()
    }
    return {
        "schema": SCORES_SCHEMA,
        "version": SCORES_VERSION,
        **{key: report[key] for key in _SCORES},
        "dataset": facts,
        "boxes": boxes,
        "pairs": {key: report["dataset"][key] for key in ("columns", "rows")},
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
    """Write the report, scores.json, and the pictures for which there is data.

    Returns:
        The written files, without the report's own pictures.

    Raises:
        OSError: it cannot be written.
    """
    for stale in (HTML_FILE, REPORT_FILE, RUN_FILE, *CONFUSIONS.values(), WORST_FILE):
        (out / stale).unlink(missing_ok=True)
    remove_pictures(out)
    pictures = write_pictures(out, _worst(worst, report["dataset"]["name"]))
    save(out, {**report, "pictures": pictures})
    write_whole(out / SCORES_FILE, json.dumps(scores_file(report), indent=1) + "\n")
    written = [write_html(out), out / REPORT_FILE, out / SCORES_FILE]
    for name, picture in _pictures(report, scores, worst).items():
        write_whole(out / name, encode_picture(picture, Path(name).suffix))
        written.append(out / name)
    return written


def _worst(worst: WorstPairs, source: str) -> list[tuple[str, StoredPicture]]:
    """Return the pairs with the lowest scores as pictures of a report."""
    found = []
    for shown in worst.sorted():
        why = f"{shown.name}: {shown.why} {shown.score:.3f}"
        found.append((source, StoredPicture("worst", 0, shown.score, why, encoded(shown.images))))
    return found


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


_PANE_WIDTH = 320
_CAPTION_LETTERS = 16


def worst_sheet(shown: Sequence[Shown], classes: Sequence[LabelClass], title: str = "") -> Image8:
    """Draw one row per pair: both inputs, fused image, segmentation with boxes, and labels if any.

    Args:
        shown: at least one pair, in the order of the rows.
        classes: ids, names and colours of masks and labels.
        title: headline.

    Returns:
        HxWx3 uint8 RGB.

    Raises:
        ValueError: no pair.
    """
    table = palette(classes)
    labelled = any(pair.truth is not None for pair in shown)
    rows, present = [], set()
    for pair in shown:
        segmented = _framed(overlay(pair.images.visible, pair.images.mask, table), pair, table)
        present |= set(np.unique(pair.images.mask).tolist())
        images = [*pair.images[:3], segmented]
        if labelled:
            truth = np.full_like(pair.images.mask, 255) if pair.truth is None else pair.truth
            known = np.where(np.isin(truth, [label.id for label in classes]), truth, 255)
            images.append(overlay(pair.images.visible, known.astype(np.uint8), table))
            present |= set(np.unique(known).tolist())
        name = pair.name.rsplit("/", 1)[-1][-_CAPTION_LETTERS:]
        rows.append(SheetRow(tuple(images), (name, f"{pair.why} {pair.score:.3f}")))
    return contact_sheet(
        rows,
        Legend(tuple(classes), present),
        title=title,
        columns=(*COLUMNS, "Labels") if labelled else COLUMNS,
        pane_width=_PANE_WIDTH,
    )


def _framed(image: Image8, pair: Shown, table: Image8) -> Image8:
    """Draw the boxes in the colours of their classes with a white outline for contrast."""
    for box in pair.boxes:
        corners = (box.left, box.top), (box.right - 1, box.bottom - 1)
        cv2.rectangle(image, *corners, (255, 255, 255), 3)
        cv2.rectangle(image, *corners, tuple(table[box.label].tolist()), 1)
    return image
