# SPDX-License-Identifier: Apache-2.0
"""Thresholds: how they are written, and what they find in a report."""

from __future__ import annotations

import pytest

from segmif_ros.report.verdict import RequirementError, figure, requirement, verdict

REPORT = {
    "fusion": {"all": {"fused": {"SSIM": 0.71}}},
    "classes": {"traffic light": 0.2, "a.b": 3},
    "sources": [{"bytes": 10}],
    "none": None,
    "yes": True,
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("fusion.all.fused.SSIM", 0.71),
        ("classes.traffic light", 0.2),
        ("classes.a.b", 3),
        ("sources.0.bytes", 10),
        ("sources.1.bytes", None),
        ("sources.x", None),
        ("fusion.night.fused.SSIM", None),
        ("fusion.all", None),
        ("none", None),
        ("yes", None),
    ],
)
def test_a_path_finds_a_number_or_nothing(path, value):
    assert figure(REPORT, path) == value


@pytest.mark.parametrize(
    ("text", "passed"),
    [
        ("fusion.all.fused.SSIM>=0.71", True),
        ("fusion.all.fused.SSIM > 0.71", False),
        ("classes.traffic light <= 0.2", True),
        ("classes.traffic light < 0.2", False),
        ("sources.0.bytes == 10", True),
        ("not.there >= 0", False),
    ],
)
def test_a_threshold_is_met_or_missed(text, passed):
    found = verdict(REPORT, [requirement(text)])
    assert found["passed"] is passed
    assert found["checks"][0]["passed"] is passed


def test_one_missed_threshold_fails_all():
    wanted = [requirement("sources.0.bytes>=1"), requirement("sources.0.bytes>=11")]
    found = verdict(REPORT, wanted)
    assert found["passed"] is False
    assert [check["passed"] for check in found["checks"]] == [True, False]


def test_without_thresholds_nothing_is_passed_or_failed():
    assert verdict(REPORT, []) == {"passed": None, "checks": []}


@pytest.mark.parametrize("text", ["", "SSIM", "SSIM 0.7", ">=0.7", "a>=b", "a>=nan", "a=>1"])
def test_what_is_no_threshold_shows_how_one_is_written(text):
    with pytest.raises(RequirementError, match=r"fusion\.all\.fused\.SSIM>=0\.7"):
        requirement(text)
