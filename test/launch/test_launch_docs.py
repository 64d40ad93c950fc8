# SPDX-License-Identifier: Apache-2.0
"""docs/launch.md lists the arguments that the files declare."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

import launch_stand_in

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "launch.md").read_text()


@pytest.mark.parametrize("name", ["segmif", "demo", "replay", "multi_rig"])
def test_the_table_has_every_argument_with_its_default(name, tmp_path):
    """What is the same in every file stands in the first table alone."""
    (table,) = re.findall(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", TEXT, re.S)
    rows = dict(re.findall(r"^\| `(\w+)` \| (?:`([^`]*)` )?\|", table, re.M))
    first = launch_stand_in.arguments("segmif.launch.py", tmp_path) if name != "segmif" else {}
    declared = launch_stand_in.arguments(f"{name}.launch.py", tmp_path)
    own = {argument: words for argument, words in declared.items() if words != first.get(argument)}
    assert rows == {argument: words["default_value"] or "" for argument, words in own.items()}
