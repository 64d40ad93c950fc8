# SPDX-License-Identifier: Apache-2.0
"""`segmif set` refuses what is no value; the real node is in test/ros/test_status_process.py."""

from __future__ import annotations

import pytest

from segmif_ros.cli.main import main
from segmif_ros.cli.set import _restart


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
def test_what_is_no_value_is_reported_before_ros_is_joined(
    word: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["set", word]) == 2
    assert said in capsys.readouterr().err


def test_what_a_running_node_cannot_change_is_given_at_its_start() -> None:
    text = _restart({"overlay_alpha": 0.3, "engine": "null", "autostart": False})
    assert text.startswith("engine, autostart cannot change")
    assert text.endswith("restart it with -p engine:=null -p autostart:=false")
    assert _restart({"overlay_alpha": 0.3}) == ""
