# SPDX-License-Identifier: Apache-2.0
"""The RViz file shows topics that exist, with keys that RViz reads."""

from __future__ import annotations

import pytest
import yaml

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from segmif_ros.ros.qos import IMAGE_TOPICS
from segmif_ros.share import share_path


def test_every_display_has_the_keys_of_an_image_display_and_a_known_topic():
    content = yaml.safe_load(share_path("config", "segmif.rviz").read_text())
    displays = content["Visualization Manager"]["Displays"]
    outputs = {topic.replace("~", "/segmif") for topic, _ in IMAGE_TOPICS.values()}
    shown = set()
    for display in displays:
        assert display["Class"] == "rviz_default_plugins/Image"
        assert {"Enabled", "Name", "Value", "Normalize Range", "Min Value", "Max Value"} <= set(
            display
        )
        topic = display["Topic"]
        assert set(topic) == {
            "Value",
            "Depth",
            "Durability Policy",
            "History Policy",
            "Reliability Policy",
        }
        reliable = topic["Value"].startswith("/segmif/output/")
        assert topic["Reliability Policy"] == ("Reliable" if reliable else "Best Effort")
        assert not reliable or topic["Value"] in outputs
        shown.add(topic["Value"])
    assert {"/rgb/image_raw", "/thermal/image_raw", "/segmif/output/overlay"} <= shown
