# SPDX-License-Identifier: Apache-2.0
"""`segmif set` refuses what is no value; the real node is in test/ros/test_status_process.py."""

from __future__ import annotations

import pytest

from segmif_ros.cli.main import main


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("overlay_alfa=1", "did you mean overlay_alpha?"),
        ("overlay_alpha", "expected NAME=VALUE"),
        ("overlay_alpha=much", "expected a number"),
        ("overlay_alpha=7", "overlay_alpha"),
        ("freeze_detection=maybe", "expected true or false"),
    ],
)
def test_what_is_no_value_is_told_before_ros_is_joined(
    word: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["set", word]) == 2
    assert said in capsys.readouterr().err
