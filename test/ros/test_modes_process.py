# SPDX-License-Identifier: Apache-2.0
"""Degraded modes of a real node over DDS: what comes out, with which stamps, and what is said.

The model is the tiny one: fused = RGB, mask = 8 where thermal > 127 else 1, confidence = thermal.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from node_process import Operator, Peer
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Header, String

from segmif_ros.ros.images import to_message

pytestmark = pytest.mark.system

H, W = 480, 640
RGB = np.random.default_rng(1).integers(0, 256, (H, W, 3), np.uint8)
THERMAL = np.tile(np.linspace(0, 255, W).astype(np.uint8), (H, 1))
NAME = "degrading"
AFTER_MS = 400.0


class Cameras(Peer):
    """A peer whose cameras can be lost one by one, and that records the modes that it received."""

    def __init__(self, domain: int) -> None:
        super().__init__(domain, NAME)
        self.sent = 0
        self.told: list[dict[str, Any]] = []
        latched = QoSProfile(depth=20, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.node.create_subscription(
            String,
            f"/{NAME}/output/mode",
            lambda message: self.told.append(json.loads(message.data)),
            latched,
        )

    @property
    def mode(self) -> str:
        return str(self.told[-1]["mode"]) if self.told else ""

    def send(self, *cameras: str, frozen: tuple[str, ...] = ()) -> None:
        """Publish one image of each; a picture differs from the one before unless frozen."""
        self.sent += 1
        stamp = self.header().stamp
        for name in cameras:
            picture = (RGB if name == "rgb" else THERMAL).copy()
            picture[H // 2, 8] = 0 if name in frozen else self.sent % 256
            encoding = "rgb8" if name == "rgb" else "mono8"
            header = Header(stamp=stamp, frame_id=f"{name}_optical")
            self.cameras[name].publish(to_message(picture, encoding, header))

    def send_until(self, mode: str, *cameras: str, frozen: tuple[str, ...] = ()) -> None:
        def reached() -> bool:
            if self.mode == mode:
                return True
            self.send(*cameras, frozen=frozen)
            self.spin(0.04)
            return False

        self.until(reached, f"mode {mode}, now {self.told[-1:]}")

    def result(self, *cameras: str) -> dict[str, np.ndarray]:
        """Send until a whole set of results has come and return the newest of each as pixels."""
        self.forget()

        def complete() -> bool:
            self.send(*cameras)
            self.spin(0.04)
            return all(len(received) > 2 for received in self.images.values())

        self.until(complete, "results")
        return {
            name: np.frombuffer(received[-1].data, np.uint8).reshape(
                (H, W, 3) if received[-1].encoding == "rgb8" else (H, W)
            )
            for name, received in self.images.items()
        }


@pytest.fixture(scope="module")
def cameras(start_node, tiny_bundle, ros_domain):
    process = start_node(
        model=tiny_bundle,
        engine="onnxruntime",
        diagnostics_rate_hz=5.0,
        degraded_after_ms=AFTER_MS,
        ros_args=["-r", f"__node:={NAME}"],
    )
    process.wait_for_text("active: listening")
    with Cameras(ros_domain) as peer:
        peer.until_heard()
        peer.listen("fused", "mask", "confidence")
        peer.until(lambda: peer.told, "the latched mode")
        yield peer
    assert "Traceback" not in process.text()


@pytest.fixture
def fused(cameras: Cameras) -> Cameras:
    cameras.send_until("fused", "rgb", "thermal")
    cameras.told.clear()
    return cameras


def stamps_of(peer: Peer, name: str) -> list[int]:
    return [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in peer.images[name]]


def test_rgb_continues_alone_and_pairs_come_back(fused):
    fused.forget()
    fused.send_until("rgb_only", "rgb")
    assert fused.told[-1]["reason"] == "no thermal image any more"
    stamps = stamps_of(fused, "fused")
    images = fused.result("rgb")
    picture = images["fused"].copy()
    picture[H // 2, 8] = RGB[H // 2, 8]
    np.testing.assert_array_equal(picture, RGB, "fused is the RGB image itself")
    assert (images["mask"] == 1).all(), "the network saw black as thermal"
    assert (images["confidence"] == 0).all()
    assert {m.header.frame_id for m in fused.images["fused"]} == {"rgb_optical"}
    fused.until(lambda: fused.status("mode").get("mode") == "rgb_only", "the mode in diagnostics")
    assert fused.status("mode")["level"] == "1"
    stamps += stamps_of(fused, "fused")
    fused.forget()
    fused.send_until("fused", "rgb", "thermal")
    images = fused.result("rgb", "thermal")
    assert set(np.unique(images["mask"])) == {1, 8}
    stamps += stamps_of(fused, "fused")
    assert stamps == sorted(set(stamps)), "no stamp twice, and none goes back"
    assert [t["mode"] for t in fused.told] == ["rgb_only", "fused"]
    assert fused.told[0]["since"]["sec"] <= fused.told[1]["since"]["sec"]


def test_thermal_continues_alone_in_the_rgb_frame(fused):
    fused.send_until("thermal_only", "thermal")
    assert fused.told[-1]["reason"] == "no rgb image any more"
    images = fused.result("thermal")
    picture = images["fused"].copy()
    picture[H // 2, 8] = THERMAL[H // 2, 8]
    np.testing.assert_array_equal(picture, np.repeat(THERMAL[..., None], 3, axis=2))
    assert set(np.unique(images["mask"])) == {1, 8}
    assert {m.header.frame_id for m in fused.images["fused"]} == {"rgb_optical"}
    fused.send_until("fused", "rgb", "thermal")


def test_a_frozen_rgb_camera_is_left_behind(fused):
    fused.send_until("thermal_only", "rgb", "thermal", frozen=("rgb",))
    assert fused.told[-1]["reason"] == "the rgb camera repeats one picture"
    fused.send_until("fused", "rgb", "thermal")


def test_without_permission_it_stops_and_a_live_change_gives_it(fused):
    operator = Operator(fused, f"/{NAME}")
    assert operator.set_parameter("degraded_mode", "none") == (True, "")
    fused.send_until("stopped", "rgb")
    assert fused.told[-1]["reason"] == "no thermal image any more; degraded_mode is none"
    fused.spin(0.2)
    fused.forget()
    for _ in range(10):
        fused.send("rgb")
        fused.spin(0.04)
    assert not any(fused.images.values())
    fused.until(lambda: fused.status("mode").get("level") == "2", "an ERROR in diagnostics")
    assert operator.set_parameter("degraded_mode", "any")[0]
    fused.send_until("rgb_only", "rgb")
    assert [t["mode"] for t in fused.told] == ["stopped", "rgb_only"]


def test_late_readers_receive_the_mode_and_that_of_a_deactivated_node(fused):
    fused.send_until("rgb_only", "rgb")
    with Cameras(fused.node.context.get_domain_id()) as late:

        def told() -> bool:
            fused.send("rgb")
            fused.spin(0.04)
            return bool(late.told)

        late.until(told, "the latched mode")
        assert late.mode == "rgb_only"
    operator = Operator(fused, f"/{NAME}")
    assert operator.transition("deactivate")
    fused.until(lambda: fused.mode == "stopped", "the mode of an inactive node")
    assert fused.told[-1]["reason"] == "the node is not active"
    assert operator.transition("activate")
    fused.until(lambda: fused.mode == "waiting", "the mode of a node that waits")
    fused.until_heard()
    fused.send_until("fused", "rgb", "thermal")
