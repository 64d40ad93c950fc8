# SPDX-License-Identifier: Apache-2.0
"""Writes report.html: one self-contained page with all results and pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import cv2
import numpy as np
from markupsafe import Markup

from segmif_ros.metrics.tally import ROWS, SPLITS
from segmif_ros.outputs import write_whole
from segmif_ros.report.files import load
from segmif_ros.report.page import STAGES, first_seen, number, rendered
from segmif_ros.report.pictures import classes_of, picture_frames
from segmif_ros.report.svg_plots import Line, joined, line_plot
from segmif_ros.view.frames import Picture, ViewError, ViewFrame, jpeg, png
from segmif_ros.view.page import embedded_viewer

HTML_FILE = "report.html"

PICTURE_BUDGET = 9 * 2**20
"""Limit of all pictures, bytes; base64 adds a third, which leaves 3 MB of the 15 MB limit of a
report for tables and plots. Larger pictures are scaled down."""

_PASSES = 4

SECTIONS = {
    "pictures": "Pictures",
    "segmentation": "Segmentation",
    "boxes": "Boxes",
    "confidence": "Confidence",
    "fusion": "Fusion",
    "timing": "Time and latency",
    "pairing": "Pairing and synchronisation",
    "alignment": "Alignment",
    "frames": "Over time",
    "origin": "Where this comes from",
}
"""Template and heading; an empty section is left out."""

_OVER_TIME: Sequence[tuple[str, str, tuple[str, ...]]] = (
    ("mIoU of each pair", "0 to 1", ("miou",)),
    ("Fusion of the fused image", "0 is worst", ("SSIM", "Qabf", "VIF")),
    ("Confidence", "0 to 1", ("confidence",)),
    ("Contrast (SD)", "grey levels", ("fused_SD", "visible_SD", "thermal_SD")),
    ("Brightness of the visible picture", "grey levels", ("brightness",)),
    ("Network", "ms", ("engine_ms",)),
)


_WORDS = {
    "engine_ms": "engine time, ms",
    "difference_ms": "thermal minus RGB, ms",
    "dx_px": "to the right, px",
    "dy_px": "down, px",
    "miou": "mIoU",
}


def _words(column: str) -> str:
    """Return the displayed name of a column of report.json."""
    stage = STAGES.get(column.removesuffix("_ms"))
    told = _WORDS.get(column) or (f"{stage}, ms" if stage else column)
    return told.removesuffix("_SD").replace("_", " ")


def write_html(report_dir: Path) -> Path:
    """Write report.html beside report.json atomically.

    Args:
        report_dir: output of `segmif evaluate --out`: report.json, run.json, pictures/.

    Returns:
        Path of the page.

    Raises:
        ReportError: no readable report there.
        ViewError: a picture that the report names is missing or damaged.
        OSError: the page cannot be written.
    """
    report = load(report_dir)
    frames = list(picture_frames(report_dir, report))
    path = report_dir / HTML_FILE
    write_whole(path, page(report, fitted(frames)))
    return path


def page(report: Mapping[str, Any], frames: Sequence[ViewFrame]) -> str:
    """Return the whole page.

    Args:
        report: as `schema.load` returns it.
        frames: the report's pictures.
    """
    viewer = Markup(embedded_viewer(frames, classes_of(report))) if frames else ""  # noqa: S704
    told = _Told(report)
    values = {name: getattr(told, name) for name in dir(told) if not name.startswith("_")}
    built = [
        (key, heading, rendered(key, report=report, viewer=viewer, **values).strip())
        for key, heading in SECTIONS.items()
    ]
    return rendered(
        "report",
        script=bool(frames),
        report=report,
        title=title_of(report),
        sections=[section for section in built if section[2]],
        first_protocol=told.first_protocol,
    )


def title_of(report: Mapping[str, Any]) -> str:
    """Return the page's title: the model and the evaluated bags or data set."""
    names = [PurePath(source["path"]).name for source in report["sources"]]
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"{report['model']['name']} on {shown or 'nothing'}"


class _Told:
    """Further values of a report for the templates."""

    def __init__(self, report: Mapping[str, Any]) -> None:
        self._report = report

    def mask_scores(self, row: str, split: str) -> Mapping[str, Any]:
        rows = (self._report["segmentation"] or {"rows": {}})["rows"]
        found: Mapping[str, Any] = rows.get(row, {}).get(split, {})
        return found

    def first_protocol(self, row: str) -> list[tuple[str, Any]]:
        return list(self.mask_scores(row, "all").get("protocols", {}).items())[:1]

    def mask_counts(self) -> dict[str, int]:
        return {
            split: max(self.mask_scores(row, split).get("frames", 0) for row in ROWS)
            for split in SPLITS
        }

    def fusion_counts(self) -> dict[str, int]:
        """Number of pictures by split; absent in reports of older versions."""
        fusion = self._report["fusion"]
        return {
            split: max((int(each.get("frames") or 1) for each in fusion[split].values()), default=0)
            for split in SPLITS
        }

    def lights(self, counts: Mapping[str, int]) -> list[tuple[str, str]]:
        """Splits to show, with captions; a split that equals all is not shown twice."""
        apart = [split for split in ("day", "night") if counts[split]]
        if not counts["all"]:
            return []
        if len(apart) == 1:
            return [("all", f"All pairs, which are all by {apart[0]}")]
        return [("all", "All pairs"), *((split, split.capitalize()) for split in apart)]

    def protocols_of(self, rows: Sequence[str], split: str) -> list[str]:
        return first_seen(self.mask_scores(row, split)["protocols"] for row in rows)

    def values_of(self, rows: Sequence[str], split: str, key: str, name: str = "") -> list[str]:
        scores = [self.mask_scores(row, split)[key] for row in rows]
        return [number(value.get(name) if name else value) for value in scores]

    def class_columns(self) -> list[dict[str, Any]]:
        """Row and light of each column of the table of classes, with its values."""
        wanted = [(row, "all") for row in (ROWS[-1], *ROWS[:-1])]
        if all(self.mask_scores("fused", split).get("frames") for split in ("day", "night")):
            wanted += [("fused", "day"), ("fused", "night")]
        return [
            {"title": f"{row}, {split}", "per_class": found}
            for row, split in wanted
            if (found := self.mask_scores(row, split).get("per_class"))
        ]

    def class_rows(self, columns: Sequence[Mapping[str, Any]]) -> list[list[str]]:
        """Name and IoU in each column, of the classes that have one."""
        found = [column["per_class"] for column in columns]
        rows = [(name, [each.get(name) for each in found]) for name in first_seen(found)]
        return [
            [name, *map(number, values)]
            for name, values in rows
            if any(value is not None for value in values)
        ]

    def class_names(self) -> list[str]:
        found = self._report["segmentation"]
        return found["classes"] or [self.class_name(i) for i in found["confusion"]["ids"]]

    def class_name(self, label: object) -> str:
        """Name of a class; reports of older versions have ids."""
        known = {str(c["id"]): str(c["name"]) for c in self._report["model"]["classes"]}
        text = str(label)
        return known.get(text, f"id {text}" if text.isdigit() else text)

    def class_shares(self) -> dict[str, float]:
        return {k: 100 * v for k, v in self._report["classes_seen"].items() if v > 1e-3}

    def latencies(self, live: Mapping[str, Any]) -> dict[str, Any]:
        ages = {f"camera stamp to subscriber, {k}": v for k, v in live["age_ms"].items()}
        return {**live["latency_ms"], **ages}

    def columns(
        self, table: Mapping[str, Any], names: Sequence[str] = (), endswith: str = ""
    ) -> list[Line]:
        """Selected columns of a table over its first one; constant ones are left out."""
        lines = [
            Line(
                _words(name), [(row[0], row[index]) for row in table["rows"] if row[0] is not None]
            )
            for index, name in enumerate(table["columns"])
            if index and (name in names or (endswith and name.endswith(endswith)))
        ]
        return [line for line in lines if len({y for _, y in line.points if y is not None}) != 1]

    def over_time(self) -> Markup:
        tables = self._report["frames"], self._report["fusion_frames"]
        plots = [
            line_plot(title, unit, [line for each in tables for line in self.columns(each, names)])
            for title, unit, names in _OVER_TIME
        ]
        return joined(plots)

    def shifts(self, certain: Sequence[Sequence[Any]]) -> list[Line]:
        return [
            Line(_words(name), [(row[0], row[index]) for row in certain if row[0] is not None])
            for index, name in ((1, "dx_px"), (2, "dy_px"))
        ]

    def camera_stamps(self) -> list[tuple[str, Mapping[str, Any]]]:
        told = zip(self._report["sources"], self._report["sync"]["intervals"], strict=False)
        return [
            (f"{PurePath(source['path']).name}, {camera}", found)
            for source, each in told
            for camera, found in each["intervals"].items()
        ]

    def dataset_facts(self) -> dict[str, Any]:
        hidden = ("columns", "rows")
        return {k: v for k, v in self._report["dataset"].items() if k not in hidden}

    def model_facts(self) -> dict[str, Any]:
        return {k: v for k, v in self._report["model"].items() if k != "classes"}


def fitted(frames: Sequence[ViewFrame], budget: int = PICTURE_BUDGET) -> list[ViewFrame]:
    """Return the frames, scaled down until all pictures together have at most `budget` bytes."""
    shrunk = list(frames)
    scale = 1.0
    for _ in range(_PASSES):
        size = sum(len(p.data) for frame in shrunk for p in frame.pictures.values())
        if size <= budget:
            break
        scale *= 0.95 * math.sqrt(budget / size)
        shrunk = [_scaled(frame, scale) for frame in frames]
    return shrunk


def _scaled(frame: ViewFrame, scale: float) -> ViewFrame:
    pictures = {name: _smaller(name, each, scale) for name, each in frame.pictures.items()}
    return ViewFrame(frame.time_s, frame.caption, pictures)


def _smaller(name: str, picture: Picture, scale: float) -> Picture:
    coded = np.frombuffer(picture.data, np.uint8)
    image = cv2.imdecode(coded, cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ViewError(f"a {name} picture of the report is damaged; evaluate again")
    height, width = image.shape[:2]
    size = max(1, round(scale * width)), max(1, round(scale * height))
    how = cv2.INTER_NEAREST if name == "mask" else cv2.INTER_AREA
    small = np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)
    if picture.kind == "png":
        return png(small)
    return jpeg(small if small.ndim == 2 else np.ascontiguousarray(small[..., ::-1]))
