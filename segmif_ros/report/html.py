# SPDX-License-Identifier: Apache-2.0
"""report.html: everything about a drive on one page, with its pictures inside and no network.

The page carries a content security policy that names its one script and its style by their hashes:
nothing that stands in a bag (a topic, a file name, an error text) can run or fetch anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from segmif_ros.outputs import write_whole
from segmif_ros.report import score_sections as scores
from segmif_ros.report import sections
from segmif_ros.report.markup import Markup, element, joined
from segmif_ros.report.meanings import glossary
from segmif_ros.report.schema import DriveReport, load
from segmif_ros.view.frames import Picture, ViewError, ViewFrame, jpeg, png
from segmif_ros.view.page import asset, content_hash, embedded_viewer
from segmif_ros.view.report_pictures import classes_of, picture_frames

HTML_FILE = "report.html"

PICTURE_BUDGET = 9 * 2**20
"""Bytes of all pictures together; as text they take a third more, which leaves 3 MB of the 15 MB
that a report may have for tables and plots. Larger pictures are scaled down."""

_PASSES = 4
_NOTHING = "'none'"

SECTIONS = (
    ("pictures", "Pictures", None),
    ("segmentation", "Segmentation", scores.segmentation),
    ("boxes", "Boxes", scores.boxes),
    ("fusion", "Fusion", scores.fusion),
    ("timing", "Time and latency", sections.timing),
    ("pairing", "Pairing and synchronisation", sections.pairing),
    ("alignment", "Alignment", sections.alignment),
    ("frames", "Over time", sections.over_time),
    ("origin", "Where this comes from", sections.origin),
)
"""Id, title and builder; a section whose builder has nothing to say is left out."""


def write_html(report_dir: Path) -> Path:
    """Write report.html beside report.json; whole or not at all.

    Args:
        report_dir: what `segmif evaluate --out` wrote: report.json, run.json, pictures/.

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


def page(report: DriveReport, frames: Sequence[ViewFrame]) -> str:
    """Return the whole page.

    Args:
        report: as `drive_report.load` returns it.
        frames: the report's pictures.
    """
    title = sections.title_of(report)
    built = []
    for key, heading, build in SECTIONS:
        content = _viewer(report, frames) if build is None else build(report)
        if content:
            built.append((key, heading, content))
    links = [element("a", heading, href=f"#{key}") for key, heading, _ in built]
    links.append(element("a", "What the numbers mean", href="#meanings"))
    body = [
        element("header", element("h1", title), sections.banners(report)),
        element(
            "main",
            element("nav", *links, aria_label="Sections"),
            sections.tiles(report),
            sections.checks(report),
            *(
                element("section", element("h2", heading), content, id=key)
                for key, heading, content in built
            ),
            element("section", element("h2", "What the numbers mean"), glossary(), id="meanings"),
        ),
    ]
    return document(title, body, script=bool(frames))


def document(title: str, body: Sequence[Markup], *, script: bool) -> str:
    """Return a page that needs nothing but itself.

    Args:
        title: of the browser's window.
        body: content.
        script: put in the viewer's script, which finds its frames in the body.
    """
    style = asset("viewer.css") + asset("report.css")
    code = asset("viewer.js") if script else ""
    policy = (
        f"default-src 'none'; img-src data:; style-src {content_hash(style)}; "
        f"script-src {content_hash(code) if script else _NOTHING}; base-uri 'none'; "
        "form-action 'none'"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("link", rel="icon", href="data:,"),
        element("style", Markup(style)),
    )
    parts = [*body, element("script", Markup(code))] if script else list(body)
    inside = element("body", *parts, class_="report", data_report=True)
    return "<!doctype html>\n" + element("html", head, inside, lang="en") + "\n"


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


def _viewer(report: Mapping[str, Any], frames: Sequence[ViewFrame]) -> Markup:
    if not frames:
        return element("p", "No pictures were kept.")
    note = element(
        "p",
        "Worst, best and evenly spaced pairs; the arrows go from one to the next. Pictures are "
        "scaled down to fit into this page; numbers were computed on the full ones.",
        class_="note",
    )
    return joined([note, Markup(embedded_viewer(frames, classes_of(report)))])
