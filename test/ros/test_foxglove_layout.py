# SPDX-License-Identifier: Apache-2.0
"""The Foxglove layout shows topics and diagnostics that the node, the bags and the rig have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from tiny_source import Pairs

from segmif_ros.evaluation.results_bag import OUTPUT, PICTURES
from segmif_ros.objects.clouds import ADDED
from segmif_ros.recordings.writer import write_bag
from segmif_ros.report.run_summary import STAGES
from segmif_ros.ros.qos import DERIVED_TOPICS, DIAGNOSTICS_TOPIC, IMAGE_TOPICS
from segmif_ros.share import share_path

PATH = re.compile(
    r'/diagnostics\.status\[:\]\{name=="segmif: (\w+)"\}'
    r'\.values\[:\]\{key=="latency\.(\w+)\.p50_ms"\}\.value'
)


@pytest.fixture(scope="module")
def layout() -> dict[str, Any]:
    return json.loads(share_path("config", "foxglove_layout.json").read_text())


def leaves(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
        return
    assert node["direction"] in ("row", "column")
    assert 0 < node["splitPercentage"] < 100
    yield from leaves(node["first"])
    yield from leaves(node["second"])


def test_every_panel_has_its_place(layout):
    placed = list(leaves(layout["layout"]))
    assert sorted(placed) == sorted(layout["configById"])
    kinds = {panel.split("!")[0] for panel in placed}
    assert kinds == {"Image", "3D", "RawMessages", "DiagnosticSummary", "Plot"}


def test_the_images_are_those_of_the_node_and_of_the_bags(layout, tmp_path: Path):
    shown = {
        config["imageMode"]["imageTopic"]
        for panel, config in layout["configById"].items()
        if panel.startswith("Image!")
    }
    cameras = {topic.name for topic in write_bag(Pairs(), tmp_path / "b").topics}
    outputs = {topic.replace("~", "/segmif") for topic, _ in IMAGE_TOPICS.values()}
    derived = {topic.replace("~", "/segmif") for topic in DERIVED_TOPICS.values()}
    assert shown - derived == cameras | outputs
    assert {f"{OUTPUT}{name}" for name in PICTURES} <= shown, "what --write-bag writes"
    shown |= set(layout["configById"]["3D!points"]["topics"])
    shown.add(layout["configById"]["RawMessages!objects"]["topicPath"])
    # Boxes are in the overlay; detections are for programs.
    assert shown == cameras | outputs | derived - {f"{OUTPUT}detections"}
    (points,) = layout["configById"]["3D!points"]["topics"].values()
    assert points["colorField"] in {name for name, _, _ in ADDED}


def test_the_plots_are_of_values_that_the_node_reports(layout):
    paths = [path["value"] for path in layout["configById"]["Plot!latency"]["paths"]]
    assert paths
    for path in paths:
        found = PATH.fullmatch(path)
        assert found, path
        assert found[1] == "latency"
        assert found[2] in STAGES
    topic = layout["configById"]["DiagnosticSummary!segmif"]["topicToRender"]
    assert topic == DIAGNOSTICS_TOPIC
