# SPDX-License-Identifier: Apache-2.0
"""The text of report.html; how it looks and works in a browser is tested in test/view."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from made_report import made_report, source, write_made_report

from segmif_ros.evaluation.scores import MOST_ROWS
from segmif_ros.report.html import PICTURE_BUDGET, fitted, write_html
from segmif_ros.report.page import MEANINGS
from segmif_ros.report.schema import ReportError
from segmif_ros.view.frames import Picture, ViewError, ViewFrame, jpeg, png

VOID = {"meta", "link", "input", "br", "img", "hr"}


class Balance(HTMLParser):
    """Notices elements that are closed in another order than they were opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:  # noqa: ARG002
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def written(folder: Path, **changes: Any) -> str:
    pictures = changes.pop("count", 1)
    return write_html(write_made_report(folder / "eval", pictures, **changes)).read_text()


def banners(text: str) -> list[str]:
    return re.findall(r'<div class="banner[^"]*" role="note"><b>([^<]+)</b>([^<]*)', text)


def test_the_page_is_well_formed_and_one_file(tmp_path):
    text = written(tmp_path)
    balance = Balance()
    balance.feed(text)
    assert balance.wrong == []
    assert balance.open == []
    assert not re.search(r'(?:src|href)="(?!#|data:)', text)
    assert not re.search(r"https?://(?!www\.w3\.org)", text)
    assert "default-src 'none'" in html.unescape(text)
    assert "unsafe-inline" not in text
    assert ' style="' not in text, "the policy would leave it out"


@pytest.mark.parametrize(
    "figure", ["0.500", "0.410", "41.0 ms", "2.9 ms", "0.310", "110", "Surplus is normal", "10.04"]
)
def test_the_numbers_are_there(tmp_path, figure):
    assert figure in written(tmp_path)


def test_the_verdict_comes_first(tmp_path):
    assert banners(written(tmp_path)) == [("Passed", " 1 of 1 checks passed.")]


def test_plots_are_drawn_with_legends_in_words_and_flat_ones_are_left_out(tmp_path):
    text = written(tmp_path)
    assert "Markup(" not in text
    assert "&lt;figure" not in text
    assert "to the right, px" in text
    assert "dx_px" not in text


def test_a_failed_report_says_what_failed_at_the_top(tmp_path):
    checks = [
        {"name": "miou", "limit": ">= 0.6", "value": 0.5, "passed": False},
        {"name": "fusion.all.fused.SSIM", "limit": ">= 0.7", "value": None, "passed": False},
        {"name": "drop", "limit": "<= 0.1", "value": 0.01, "passed": True},
    ]
    text = written(tmp_path, verdict={"passed": False, "checks": checks})
    assert banners(text) == [("Failed", " 1 of 3 checks passed.")]
    assert "miou is 0.5000, wanted &gt;= 0.6" in text
    assert "fusion.all.fused.SSIM is –, wanted" in text


def test_a_partial_report_says_so_before_anything_else(tmp_path):
    bags = [source("a.mcap"), source("b.mcap", "skipped", "the file is cut off")]
    text = written(tmp_path, partial="Ctrl-C", sources=bags, verdict={"passed": None, "checks": []})
    assert [word for word, _ in banners(text)] == ["Partial report", "No verdict", "Bags left out"]
    assert "b.mcap: skipped, the file is cut off" in text
    assert text.index("Partial report") < text.index("<main>")


def test_a_drive_without_labels_or_anything_else_is_a_page_too(tmp_path):
    made = made_report()
    text = written(
        tmp_path,
        count=0,
        segmentation=None,
        alignment=None,
        fusion={"every": 50},
        flicker={},
        classes_seen={},
        frames={"columns": ["t_s"], "rows": [], "every": 1},
        sync={},
        pairs={"received": {"rgb": 0, "thermal": 0}, "paired": 0, "evaluated": 0, "dropped": {}},
        timing={**made["timing"], "stages": {}, "series": {"columns": [], "rows": [], "every": 1}},
    )
    assert "No pictures were kept." in text
    assert 'id="segmentation"' not in text
    assert "<script" not in text


def test_a_live_run_reports_latency_and_what_was_lost(tmp_path):
    latency = {"total": {"p50": 43.2, "p95": 61.5, "p99": 70.1, "count": 50}}
    live = {
        **{"sent": 60, "lost": 15, "rate_in_hz": 30.0, "rate_out_hz": 22.5},
        "dropped": {"overtaken by a newer pair": 15},
        "latency_ms": latency,
        "age_ms": {"fused": {"p50": 45.0, "p95": 63.0, "p99": 71.0, "count": 50}},
    }
    text = written(tmp_path, timing={**made_report()["timing"], "live": live})
    for figure in ("43.2 ms", "25.0 %", "15 of 60 pairs", "63.0", "overtaken by a newer pair"):
        assert figure in text


def test_light_without_pairs_is_left_out(tmp_path):
    text = written(tmp_path)
    section = text[text.index('id="segmentation"') : text.index('id="fusion"')]
    assert "All pairs, which are all by day" in section
    assert "<caption>Day</caption>" not in section, "that would be the same numbers again"
    assert "<caption>Night</caption>" not in section


def test_boxes_are_reported_with_the_objects_that_fit_them(tmp_path):
    person = {"boxes": 40, "box_recall": 0.91, "box_precision": 0.82, "average_precision": 0.731,
              "object_recall": 0.64, "object_precision": 0.55}  # fmt: skip
    road = {"boxes": 3, "box_recall": 1.0}
    text = written(tmp_path, boxes={"fused": {"all": {"person": person, "road": road}}})
    row = re.search(r"<th scope=\"row\">fused</th><td>all</td><td>person</td>.*?</tr>", text)
    assert re.findall(r"<td>([\d.]+)</td>", row[0]) == [
        "40",
        *("0.910", "0.820", "0.731", "0.640", "0.550"),
    ]
    assert "AP at .5" in text


def test_every_word_that_is_linked_has_a_meaning(tmp_path):
    linked = set(re.findall(r'href="#about-([\w]+)"', written(tmp_path)))
    assert {"miou", "protocol", "flicker", "difference", "alignment", "SSIM"} <= linked
    assert linked <= set(MEANINGS)


def test_the_same_report_makes_the_same_page(tmp_path):
    assert written(tmp_path / "a") == written(tmp_path / "b")


def test_a_long_drive_with_large_pictures_stays_below_15_mb(tmp_path):
    """Tables and plots of the most rows, and as much of pictures as is let in."""
    made = made_report(rows=MOST_ROWS)
    text = written(tmp_path, count=0, frames=made["frames"], timing=made["timing"])
    assert len(text) + 4 / 3 * PICTURE_BUDGET < 15e6


def test_scaling_down_keeps_ids_and_proportions():
    ids = np.zeros((100, 200), np.uint8)
    ids[:, 100:] = 14
    noise = np.random.default_rng(0).integers(0, 256, (100, 200, 3), np.uint8)
    frame = ViewFrame(0.0, "x", {"mask": png(ids), "visible": jpeg(noise)})
    (small,) = fitted([frame], budget=6_000)
    assert sum(len(p.data) for p in small.pictures.values()) <= 6_000
    mask, visible = (
        cv2.imdecode(np.frombuffer(small.pictures[name].data, np.uint8), -1)
        for name in ("mask", "visible")
    )
    assert set(np.unique(mask)) == {0, 14}
    assert mask.shape == visible.shape[:2]
    assert mask.shape[1] == pytest.approx(2 * mask.shape[0], abs=2)
    assert fitted([frame], budget=10**6) == [frame]


def test_a_damaged_picture_is_named():
    frame = ViewFrame(0.0, "x", {"mask": Picture("png", b"no picture" * 1000)})
    with pytest.raises(ViewError, match="mask picture of the report is damaged"):
        fitted([frame], budget=10)


def test_what_is_no_report_is_refused_and_leaves_no_page(tmp_path):
    with pytest.raises(ReportError, match=r"run\.json"):
        write_html(tmp_path)
    folder = write_made_report(tmp_path / "eval", 1)
    next((folder / "pictures").glob("*fused*")).unlink()
    with pytest.raises(ViewError, match="cannot be read"):
        write_html(folder)
    assert not (folder / "report.html").exists()
