# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_report import made_report, source, write_made_report
from verb import verb

main = verb("compare")

SEGMENTATION = "segmentation.fused.all.miou.fmb-14"


@pytest.fixture
def reports(tmp_path: Path) -> list[str]:
    """One report, and one whose mIoU is 0.03 lower."""
    worse = made_report(shift=-0.03)
    changes = {key: worse[key] for key in ("frames", "segmentation")}
    a = write_made_report(tmp_path / "a", 0)
    b = write_made_report(tmp_path / "b", 0, **changes)
    return [str(a), str(b)]


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ([], 0),
        (["0.02"], 3),
        (["0.04"], 0),
        (["miou=0.02"], 3),
        ([f"{SEGMENTATION}=0.02", "flicker.fused=0"], 3),
        (["fusion.all.fused.SSIM=0"], 0),
        (["nonsense=1"], 2),
        (["miou=x"], 2),
        (["miou=-1"], 2),
    ],
)
def test_the_exit_code_is_the_verdict(reports, limits, code, capsys):
    flags = [word for limit in limits for word in ("--max-regression", limit)]
    assert main([*reports, *flags]) == code
    told = capsys.readouterr().err
    if code == 3:
        assert "went from 0.5 to 0.47, worse by 0.03; 0.02 is allowed" in told
    assert ("segmif compare: " in told) == (code != 0)


def test_an_improvement_is_no_regression(reports):
    assert main([*reversed(reports), "--max-regression", "0"]) == 0


def test_json_and_page(reports, tmp_path, capsys):
    page = tmp_path / "compare.html"
    assert main([*reports, "--json", "--out", str(page), "--max-regression", "0"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert told["comparable"] is True
    assert told["regressions"][0].startswith(SEGMENTATION)
    miou = next(e for e in told["paired"] if (e["name"], e["bag"]) == ("frame.miou", "all"))
    assert miou["delta"] == pytest.approx(-0.03)
    assert page.read_text().startswith("<!doctype html>")


def test_other_bags_cannot_pass(reports, tmp_path, capsys):
    other = write_made_report(tmp_path / "c", 0, sources=[source("other.mcap")])
    assert main([reports[0], str(other), "--max-regression", "1"]) == 2
    assert "not comparable: the reports are of different bags" in capsys.readouterr().err


def test_what_is_no_report_is_named(reports, tmp_path, capsys):
    assert main([reports[0], str(tmp_path)]) == 1
    assert "not readable" in capsys.readouterr().err
