# SPDX-License-Identifier: Apache-2.0
"""`segmif view --live`: what a running node sends becomes the newest frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from node_process import Peer
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String

from segmif_ros.bundle import Bundle, labels_json
from segmif_ros.ros.images import to_message
from segmif_ros.ros.tools.view_listener import ViewListener
from segmif_ros.view.frames import ViewError, ViewFrame

pytestmark = pytest.mark.system

H, W = 48, 64
NAME = "looked_at"
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class FakeNode(Peer):
    """Publishes what the cameras and the node would."""

    def __init__(self, domain: int) -> None:
        super().__init__(domain, NAME)
        self.outputs = {
            name: self.node.create_publisher(Image, f"/{NAME}/output/{name}", 2)
            for name in ("fused", "mask", "confidence")
        }
        self.told = self.node.create_publisher(String, f"/{NAME}/output/labels", LATCHED)

    def send(self, value: int, *, refused: bool = False) -> None:
        """One pair and its results, all of one grey level."""
        grey, color = np.full((H, W), value, np.uint8), np.full((H, W, 3), value, np.uint8)
        header = self.publish_pair(color, np.full((H // 2, W // 2), value, np.uint8))
        self.outputs["fused"].publish(to_message(color, "rgb8", header))
        self.outputs["confidence"].publish(to_message(grey, "mono8", header))
        mask = to_message(grey, "mono8", header)
        mask.encoding = "nonsense" if refused else "mono8"
        self.outputs["mask"].publish(mask)


@pytest.fixture
def node(ros_domain: int) -> Iterator[FakeNode]:
    with FakeNode(ros_domain) as fake:
        yield fake


@pytest.fixture
def listener(ros_domain: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[ViewListener]:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(ros_domain))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    made = ViewListener(f"/{NAME}", f"/{NAME}/input/rgb", f"/{NAME}/input/thermal")
    yield made
    made.close()


def decoded(frame: ViewFrame, name: str) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(frame.pictures[name].data, np.uint8), cv2.IMREAD_UNCHANGED)


def test_the_newest_result_is_shown_with_its_own_images(node, listener, loaded_bundle: Bundle):
    number, frame, told = listener.newest(0, 0.01)
    assert (number, frame) == (0, None)
    assert f"/{NAME}/output/fused" in told
    node.told.publish(String(data=labels_json(loaded_bundle.manifest)))
    results: list[tuple[int, ViewFrame]] = []

    def seen(value: int) -> bool:
        node.send(value)
        number, frame, _ = listener.newest(results[-1][0] if results else 0, 0.1)
        if frame is not None:
            results.append((number, frame))
        return bool(results) and decoded(results[-1][1], "mask")[0, 0] == value

    node.until(lambda: seen(10), "a result of 10")
    node.until(lambda: seen(20), "a result of 20")
    number, frame = results[-1]
    assert number > results[0][0]
    for name in ("mask", "confidence"):
        np.testing.assert_array_equal(decoded(frame, name), np.full((H, W), 20))
    assert decoded(frame, "thermal").shape == (H, W), "scaled to the others"
    assert decoded(frame, "visible")[5, 5] == pytest.approx([20, 20, 20], abs=2)
    assert "stamp " in frame.caption
    assert listener.wait_for_classes(5.0)
    assert listener.classes == loaded_bundle.manifest.classes


def test_an_image_of_no_use_is_reported(node, listener):
    told = [""]

    def refused() -> bool:
        node.send(5, refused=True)
        told[0] = listener.newest(0, 0.1)[2]
        return "nonsense" in told[0]

    node.until(refused, "the refusal")
    assert told[0].startswith(f"/{NAME}/output/mask: ")


def test_the_offsets_of_the_node_are_read(node, listener):
    """With stamps 40 ms late the frame before the right one would be shown."""

    def answer(_: GetParameters.Request, response: GetParameters.Response) -> Any:
        response.values = [
            ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value)
            for value in (0.0, -40.0)
        ]
        return response

    node.node.create_service(GetParameters, f"/{NAME}/get_parameters", answer)
    thermal = node.cameras["thermal"]
    offset = Duration(nanoseconds=40_000_000)

    def send(value: int) -> None:
        """A pair whose thermal stamp is late, after a wrong thermal frame with the RGB's own."""
        now = node.node.get_clock().now()
        grey, color = np.full((H, W), value, np.uint8), np.full((H, W, 3), value, np.uint8)
        for stamp, level in ((now, 255), (now + offset, value)):
            picture = np.full((H, W), level, np.uint8)
            picture[0] = 0
            thermal.publish(to_message(picture, "mono8", Header(stamp=stamp.to_msg())))
        header = Header(stamp=now.to_msg())
        node.cameras["rgb"].publish(to_message(color, "rgb8", header))
        node.spin(0.05)
        node.outputs["fused"].publish(to_message(color, "rgb8", header))
        node.outputs["mask"].publish(to_message(grey, "mono8", header))
        node.outputs["confidence"].publish(to_message(grey, "mono8", header))

    found: list[int] = []

    def right_one() -> bool:
        send(100)
        with listener._changed:
            whole = listener._newest
        found.append(-1 if whole is None else int(whole.thermal[-1, -1]))
        return found[-1] == 100

    node.until(right_one, "the thermal frame that the node has paired")


def test_what_is_no_topic_is_refused():
    with pytest.raises(ViewError, match="ros2 topic list"):
        ViewListener("/segmif", "/rgb image", "/thermal")
