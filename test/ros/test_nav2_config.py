# SPDX-License-Identifier: Apache-2.0
"""config/nav2_semantic_layer.yaml names what the node publishes, as Nav2's layer needs it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from std_msgs.msg import Header

from segmif_ros.frames import UNLABELLED
from segmif_ros.objects.clouds import XYZ, labelled_cloud, native_bytes
from segmif_ros.objects.points import LabelPicture
from segmif_ros.ros import qos
from segmif_ros.ros.node.point_input import cloud_message
from segmif_ros.share import share_path

MANIFEST = Path(__file__).resolve().parents[2] / "models" / "segmif-nano" / "manifest.json"


@pytest.fixture(scope="module")
def source() -> dict:
    raw = yaml.safe_load(share_path("config", "nav2_semantic_layer.yaml").read_text())
    layer = raw["local_costmap"]["local_costmap"]["ros__parameters"]["semantic_layer"]
    return layer[layer["observation_sources"]]


def topic(name: str) -> str:
    return name.replace("~", "/segmif")


def test_mask_and_confidence_are_mono8(source):
    for key, name in (("segmentation_topic", "mask"), ("confidence_topic", "confidence")):
        path, encoding = qos.IMAGE_TOPICS[name]
        assert source[key] == topic(path)
        assert encoding == "mono8"
    assert UNLABELLED == 255


def test_labels_are_latched_beside_the_mask(source):
    assert source["labels_topic"] == topic(qos.LABEL_INFO_TOPIC)
    mask = source["segmentation_topic"]
    assert source["labels_topic"].rpartition("/")[0] == mask.rpartition("/")[0]
    profile = qos.latched()
    assert profile.reliability is ReliabilityPolicy.RELIABLE
    assert profile.durability is DurabilityPolicy.TRANSIENT_LOCAL


def test_points_are_aligned_with_the_mask_pixel_by_pixel(source):
    assert source["pointcloud_topic"] == topic(qos.DERIVED_TOPICS["points"])
    mask = np.arange(12, dtype=np.uint8).reshape(3, 4)
    xyz = np.random.default_rng(0).random((3, 4, 3), np.float32)
    header = Header(frame_id="rgb_optical")
    header.stamp.sec = 7
    labels = LabelPicture(mask, mask).everywhere()
    cloud = cloud_message(labelled_cloud(native_bytes(xyz), labels, header, XYZ))
    assert (cloud.height, cloud.width) == mask.shape
    assert cloud.header == header
    offsets = {field.name: field.offset for field in cloud.fields}
    assert [offsets[axis] for axis in "xyz"] == [0, 4, 8]
    data = np.frombuffer(cloud.data, np.uint8).reshape(3, 4, cloud.point_step)
    np.testing.assert_array_equal(data[..., :12].copy().view("<f4").reshape(3, 4, 3), xyz)
    np.testing.assert_array_equal(data[..., offsets["label"]], mask)


def test_every_class_of_the_model_has_one_cost_and_no_other_is_named(source):
    named = [name for group in source["class_types"] for name in source[group]["classes"]]
    assert len(named) == len(set(named))
    model = {each["name"] for each in json.loads(MANIFEST.read_text())["classes"]}
    assert set(named) == model - {"unlabelled", "sky"}
    for group in source["class_types"]:
        costs = source[group]
        assert 0 <= costs["base_cost"] <= costs["max_cost"] <= 254
        assert 0 <= costs["mark_confidence"] <= 255
    assert source["danger"]["base_cost"] == 254
