# SPDX-License-Identifier: Apache-2.0
"""report.html in a real browser, opened as a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_report import PERSON, made_report, source, write_made_report

from segmif_ros.report.html import write_html

HOSTILE = '/rgb"><img src=x onerror=alert(1)><script>alert(2)</script>'


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    return write_html(write_made_report(folder / "eval")).as_uri()


def test_the_report_sends_no_request_and_its_viewer_works(report, watched):
    page = watched.open(report)
    assert [url for url in watched.requests if not url.startswith("data:")] == [report]
    watched.point_at("classes", 60, 60)
    assert watched.readout() == (PERSON, 60)
    red, blue = watched.pixel("visible", 60, 60), watched.pixel("fused", 60, 60)
    assert red[0] > 180
    assert blue[2] > 180
    page.get_by_label("How much of the fused image").fill("100")
    assert watched.pixel("fused", 60, 60) == red
    page.get_by_role("checkbox", name="person").uncheck()
    assert watched.pixel("classes", 60, 60) == blue
    page.get_by_role("button", name="Next frame").click()
    page.get_by_text("best, mIoU of this pair 0.100").wait_for()
    assert watched.problems == []
    assert watched.unnamed_controls() == []


def test_every_link_of_the_report_leads_to_a_place_in_it(report, watched):
    page = watched.open(report)
    targets = page.locator("a").evaluate_all("all => all.map(a => a.getAttribute('href'))")
    assert len(targets) > 20
    for target in set(targets):
        assert page.locator(f"[id='{target.removeprefix('#')}']").count() == 1, target


def test_the_report_fits_a_phone(report, phone):
    page = phone.open(report)
    assert phone.overflow() == 0
    page.locator(".report details summary").last.click()
    assert phone.overflow() == 0
    assert phone.problems == []


def test_what_stands_in_a_bag_stays_text(tmp_path: Path, watched):
    bad = source(f"{HOSTILE}.mcap", "partial", HOSTILE)
    bad["topics"] = {"rgb": HOSTILE, HOSTILE: "x"}
    made = made_report()
    made["model"]["classes"][PERSON]["name"] = HOSTILE
    changes = {
        "sources": [bad],
        "partial": HOSTILE,
        "model": made["model"],
        "notes": [HOSTILE],
        "settings": {HOSTILE: [HOSTILE]},
        "classes_seen": {HOSTILE: 0.5},
        "pairs": {**made["pairs"], "dropped": {HOSTILE: 3}},
    }
    folder = write_made_report(tmp_path / "eval", 1, **changes)
    page = watched.open(write_html(folder).as_uri())
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 2, "the viewer and its data"
    assert page.locator("h1").inner_text().startswith("segmif-nano on ")
    assert HOSTILE in page.locator("#origin").inner_text()
    assert watched.problems == []
