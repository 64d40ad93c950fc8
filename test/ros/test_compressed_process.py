# SPDX-License-Identifier: Apache-2.0
"""The node with cameras as many vehicles have them: compressed topics and a calibrated rig."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from node_process import Peer
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage
from true_calibration import rig_calibration

from segmif_ros.registration import Registration, save_calibration
from segmif_ros.rig.cameras.cameras import Rig
from segmif_ros.ros.tools.rig_node import camera_info

pytestmark = pytest.mark.system

RIG = Rig.default()
RGB = np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8)
COUNTS = np.tile(np.linspace(3000, 3900, 640).astype(np.uint16), (512, 1))


def compressed(array: np.ndarray, declared: str) -> CompressedImage:
    _, data = cv2.imencode(".png", array)
    out = CompressedImage(format=declared)
    out.data.frombytes(data.tobytes())
    return out


class Cameras:
    """Both cameras under the names of a driver, with their camera_info."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

        def publisher(kind: type, topic: str):
            return peer.node.create_publisher(kind, topic, qos_profile_sensor_data)

        self.rgb = publisher(CompressedImage, "/front/image_raw/compressed")
        self.thermal = publisher(CompressedImage, "/flir/image_raw/compressed")
        self.info = publisher(CameraInfo, "/front/camera_info")
        self._facts = camera_info(RIG.rgb)

    def publish(self, thermal: CompressedImage | None = None) -> None:
        rgb = compressed(RGB[..., ::-1], "bgr8; png compressed bgr8")
        thermal = thermal or compressed(COUNTS, "16UC1; png compressed ")
        rgb.header = self._peer.header()
        thermal.header.stamp = rgb.header.stamp
        self._facts.header = rgb.header
        self.info.publish(self._facts)
        self.rgb.publish(rgb)
        self.thermal.publish(thermal)


def test_compressed_pairs_are_registered_and_damage_is_counted(
    start_node, tiny_bundle, tmp_path, peer
):
    calibration = rig_calibration(RIG, seed=1, depth_m=(8.0, 40.0))
    save_calibration(calibration, tmp_path / "rig.yaml")
    node = start_node(
        model=tiny_bundle,
        engine="onnxruntime",
        input_transport="compressed",
        calibration_file=tmp_path / "rig.yaml",
        thermal_mode="range",
        thermal_low=2900.0,
        thermal_high=3920.0,
        diagnostics_rate_hz=5.0,
        freeze_detection=False,  # the cameras of this test repeat one picture
        ros_args=["-r", "~/input/rgb:=/front/image_raw", "-r", "~/input/thermal:=/flir/image_raw"],
    )
    node.wait_for_text("active: listening to /front/image_raw/compressed, /flir/image_raw/comp")
    cameras = Cameras(peer)
    peer.listen("fused", "confidence")
    infos: list[CameraInfo] = []
    peer.node.create_subscription(CameraInfo, "/segmif/output/camera_info", infos.append, 10)

    def heard() -> bool:
        cameras.publish()
        peer.spin(0.1)
        assert node.process.poll() is None, node.text()
        return len(infos) > 2 and all(len(received) > 2 for received in peer.images.values())

    peer.until(heard, "registered pairs and their camera_info")
    fused, seen = (
        np.frombuffer(peer.images[name][-1].data, np.uint8) for name in ("fused", "confidence")
    )
    np.testing.assert_array_equal(fused, RGB.ravel())
    rendered = np.round((COUNTS - 2900.0) * 255.0 / 1020.0).astype(np.uint8)
    expected = Registration(calibration).apply(rendered, (480, 640))
    np.testing.assert_allclose(seen.reshape(480, 640).astype(int), expected, atol=2)
    assert infos[-1].k[0] == pytest.approx(RIG.rgb.intrinsics.fx)
    assert infos[-1].header.frame_id == "rgb_optical"
    assert "px at 8 m" in peer.status("engine")["registration"]

    damaged = compressed(COUNTS, "16UC1; png compressed ")
    del damaged.data[-50:]

    def counted() -> bool:
        cameras.publish(damaged)
        peer.spin(0.1)
        return int(peer.status("thermal").get("refused.decoding", 0)) > 1

    peer.until(counted, "a refusal of a damaged PNG")
    assert "cut short" in peer.status("thermal")["last_refusal"]
    peer.forget()
    peer.until(heard, "pairs after the damage")
    assert node.stop()[0] == 0
