# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import sys
import types
from dataclasses import dataclass, field
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from segmif_ros.ros.publishers import label_info_message, labels_json


def test_labels_as_json(loaded_bundle):
    labels = json.loads(labels_json(loaded_bundle.manifest))
    assert labels["model"] == "tiny"
    assert [c["id"] for c in labels["classes"]] == list(range(15))
    assert labels["classes"][1]["name"] == "road"
    assert labels["unlabelled"] == 255


def test_no_label_info_without_vision_msgs(loaded_bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "vision_msgs", None)
    monkeypatch.setitem(sys.modules, "vision_msgs.msg", None)
    assert label_info_message(loaded_bundle.manifest) is None


def test_label_info_with_vision_msgs(loaded_bundle, monkeypatch):
    """vision_msgs is not on PyPI: two classes with its field names stand in for it."""

    @dataclass
    class VisionClass:
        class_id: int = 0
        class_name: str = ""

    @dataclass
    class LabelInfo:
        header: Any = None
        class_map: list = field(default_factory=list)
        threshold: float = 0.0

    module = types.ModuleType("vision_msgs.msg")
    module.VisionClass, module.LabelInfo = VisionClass, LabelInfo
    monkeypatch.setitem(sys.modules, "vision_msgs", types.ModuleType("vision_msgs"))
    monkeypatch.setitem(sys.modules, "vision_msgs.msg", module)
    message = label_info_message(loaded_bundle.manifest)
    assert message is not None
    assert message.class_map[8] == VisionClass(8, "person")
