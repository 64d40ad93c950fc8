# SPDX-License-Identifier: Apache-2.0
"""What the node sends, field by field, as those who use it read it: Nav2, RViz, image_transport.

Nav2's semantic segmentation layer takes a mask (mono8 class ids), a confidence (mono8, the same
stamp and size), both with sensor-data QoS, and a latched `label_info` beside the mask that was
there first. The largest id stands for "no label".
"""

from __future__ import annotations

import json
from posixpath import dirname
from typing import Any

import cv2
import numpy as np
import pytest
from node_process import Operator, Peer
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSProfile,
    ReliabilityPolicy,
    qos_profile_sensor_data,
)
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String

from segmif_ros.ros import qos

pytestmark = pytest.mark.system

H, W = 480, 640
NAME = "contract"
RNG = np.random.default_rng(4)
SMOOTH = cv2.resize(RNG.integers(0, 256, (6, 8, 3), np.uint8), (W, H))
THERMAL = np.tile(np.linspace(0, 255, W).astype(np.uint8), (H, 1))
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
TYPES = {
    "mask": Image,
    "confidence": Image,
    "fused": Image,
    "overlay": Image,
    "fused/compressed": CompressedImage,
    "camera_info": CameraInfo,
}


class Nav2(Peer):
    """Reads all outputs in the order in which they come, with the QoS that Nav2 requests for."""

    def __init__(self, domain: int) -> None:
        super().__init__(domain, NAME)
        self.arrived: list[str] = []
        self.newest: dict[str, Any] = {}
        self.info = CameraInfo(width=W, height=H, distortion_model="plumb_bob", d=[0.0] * 5)
        self.info.k = [500.0, 0.0, 319.5, 0.0, 500.0, 239.5, 0.0, 0.0, 1.0]
        self.info.p = [500.0, 0.0, 319.5, 0.0, 0.0, 500.0, 239.5, 0.0, 0.0, 0.0, 1.0, 0.0]
        self.infos = self.node.create_publisher(
            CameraInfo, f"/{NAME}/input/rgb/camera_info", qos_profile_sensor_data
        )
        self._readers = [self._read("labels", String, LATCHED)]

    def read_results(self, *names: str) -> None:
        """Subscribe to these outputs and no others."""
        for reader in self._readers[1:]:
            self.node.destroy_subscription(reader)
        self._readers[1:] = [
            self._read(name, TYPES[name], qos_profile_sensor_data) for name in names
        ]
        self.newest = {"labels": self.newest["labels"]}  # latched: they come once

    def _read(self, name: str, kind: type, profile: QoSProfile) -> Any:
        def take(message: Any) -> None:
            self.arrived.append(name)
            self.newest[name] = message

        return self.node.create_subscription(kind, f"/{NAME}/output/{name}", take, profile)

    def one_set(self, *names: str) -> dict[str, Any]:
        """Send pairs until all outputs of one of them are here."""

        def complete() -> bool:
            stamps = {str(self.newest[n].header.stamp) for n in names if n in self.newest}
            if len(stamps) == 1 and all(name in self.newest for name in names):
                return True
            self.infos.publish(self.info)
            self.publish_pair(SMOOTH, THERMAL)
            self.spin(0.15)
            return False

        self.until(complete, f"one set of {names}, got {sorted(self.newest)}")
        return {name: self.newest[name] for name in names}


@pytest.fixture(scope="module")
def nav2(start_node, tiny_bundle, ros_domain):
    process = start_node(
        model=tiny_bundle,
        engine="onnxruntime",
        diagnostics_rate_hz=5.0,
        freeze_detection=False,
        ros_args=["-r", f"__node:={NAME}"],
    )
    process.wait_for_text("active: listening")
    with Nav2(ros_domain) as peer:
        peer.until_heard()
        peer.until(lambda: "labels" in peer.arrived, "labels before any image was sent")
        yield peer
    assert "Traceback" not in process.text()


def ids(labels: String) -> set[int]:
    return {label["id"] for label in json.loads(labels.data)["classes"]}


def test_the_set_that_nav2_reads(nav2):
    labels = nav2.newest["labels"]
    nav2.read_results("mask", "confidence")
    out = nav2.one_set("mask", "confidence")
    mask, confidence = out["mask"], out["confidence"]
    assert nav2.arrived.index("labels") < nav2.arrived.index("mask")
    for image in (mask, confidence):
        assert image.encoding == "mono8"
        assert (image.height, image.width, image.step) == (H, W, W)
        assert len(image.data) == H * W
    assert mask.header == confidence.header
    assert mask.header.frame_id == "rgb_optical"
    content = json.loads(labels.data)
    assert content["unlabelled"] == 255
    assert max(ids(labels)) < 255
    assert set(np.unique(np.frombuffer(mask.data, np.uint8))) <= ids(labels) | {255}
    np.testing.assert_array_equal(
        np.frombuffer(confidence.data, np.uint8).reshape(H, W), THERMAL, "probability times 255"
    )
    for name in ("mask", "confidence"):
        (offered,) = nav2.node.get_publishers_info_by_topic(f"/{NAME}/output/{name}")
        assert offered.topic_type == "sensor_msgs/msg/Image"
        assert offered.qos_profile.reliability is ReliabilityPolicy.RELIABLE
    for name in ("labels", "mode"):
        (offered,) = nav2.node.get_publishers_info_by_topic(f"/{NAME}/output/{name}")
        assert offered.qos_profile.reliability is ReliabilityPolicy.RELIABLE
        assert offered.qos_profile.durability is DurabilityPolicy.TRANSIENT_LOCAL


def test_label_info_lies_beside_the_mask_and_is_latched():
    """vision_msgs has no wheel, so the topic itself is there only with apt ROS."""
    mask, _ = qos.IMAGE_TOPICS["mask"]
    assert dirname(qos.LABEL_INFO_TOPIC) == dirname(mask)
    assert qos.LABEL_INFO_TOPIC.endswith("/label_info")
    profile = qos.latched()
    assert profile.reliability is ReliabilityPolicy.RELIABLE
    assert profile.durability is DurabilityPolicy.TRANSIENT_LOCAL
    assert profile.history is HistoryPolicy.KEEP_LAST


def test_all_outputs_of_a_pair_share_one_header_and_one_geometry(nav2):
    nav2.read_results(*TYPES)
    out = nav2.one_set(*TYPES)
    assert {str(out[name].header) for name in TYPES} == {str(out["mask"].header)}
    info = out["camera_info"]
    assert (info.width, info.height) == (out["mask"].width, out["mask"].height)
    assert list(info.k) == list(nav2.info.k)
    assert list(info.p) == list(nav2.info.p)
    assert info.header.frame_id == "rgb_optical"
    assert out["fused"].encoding == out["overlay"].encoding == "rgb8"
    assert out["fused"].step == 3 * W
    fused = np.frombuffer(out["fused"].data, np.uint8).reshape(H, W, 3)
    np.testing.assert_array_equal(fused, SMOOTH)


def test_the_jpeg_is_the_fused_image_as_image_transport_reads_it(nav2):
    nav2.read_results("fused/compressed")
    small = nav2.one_set("fused/compressed")["fused/compressed"]
    assert small.format == "rgb8; jpeg compressed bgr8"
    decoded = cv2.imdecode(np.frombuffer(small.data, np.uint8), cv2.IMREAD_COLOR)
    error = np.abs(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB).astype(int) - SMOOTH)
    assert error.mean() < 3.0
    operator = Operator(nav2, f"/{NAME}")
    assert not operator.set_parameter("jpeg_quality", 101)[0]
    assert operator.set_parameter("jpeg_quality", 5) == (True, "")
    del nav2.newest["fused/compressed"]
    smaller = nav2.one_set("fused/compressed")["fused/compressed"]
    assert len(smaller.data) < 0.7 * len(small.data), "in force for the next result"
