# SPDX-License-Identifier: Apache-2.0
"""Topic names: the code and the README name the same ones, with the same types."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from segmif_ros.ros import qos

README = Path(__file__).resolve().parents[2] / "README.md"

TYPES = {
    **dict.fromkeys(qos.INPUT_TOPICS.values(), "sensor_msgs/Image"),
    **dict.fromkeys(qos.CAMERA_INFO_INPUTS.values(), "sensor_msgs/CameraInfo"),
    **{topic: "sensor_msgs/Image" for topic, _ in qos.IMAGE_TOPICS.values()},
    qos.COMPRESSED_TOPIC: "sensor_msgs/CompressedImage",
    qos.CAMERA_INFO_TOPIC: "sensor_msgs/CameraInfo",
    qos.LABELS_TOPIC: "std_msgs/String",
    qos.LABEL_INFO_TOPIC: "vision_msgs/LabelInfo",
    qos.MODE_TOPIC: "std_msgs/String",
    qos.POINTS_INPUT: "sensor_msgs/PointCloud2",
    qos.DEPTH_INPUT: "sensor_msgs/Image",
    **dict(
        zip(
            qos.DERIVED_TOPICS.values(),
            (
                "std_msgs/String",
                "vision_msgs/Detection2DArray",
                "sensor_msgs/PointCloud2",
                "sensor_msgs/Image",
            ),
            strict=True,
        )
    ),
    qos.DIAGNOSTICS_TOPIC: "diagnostic_msgs/DiagnosticArray",
}


def test_the_readme_names_every_topic_with_its_type():
    section = README.read_text().partition("## Topics")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \| (\S+) \| (.+) \|$", section, re.MULTILINE)
    assert {topic: kind for topic, kind, _ in rows} == TYPES
    for topic, encoding in qos.IMAGE_TOPICS.values():
        (words,) = [text for name, _, text in rows if name == topic]
        assert words.startswith(encoding)


def test_every_output_has_a_place_in_the_order_of_publishing():
    assert set(qos.OUTPUTS) == {*qos.IMAGE_TOPICS, *qos.DERIVED_TOPICS, "compressed", "camera_info"}
    assert qos.OUTPUTS[0] == "camera_info", "who matches images with it has it first"
