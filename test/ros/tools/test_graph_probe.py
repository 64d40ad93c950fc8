# SPDX-License-Identifier: Apache-2.0
"""`segmif doctor` among real processes: images that do not arrive, and images that get lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

import cv2
from node_process import Peer
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage
from std_msgs.msg import Header

from segmif_ros.ros.images import to_message
from segmif_ros.ros.tools.graph_probe import Probe, Watched
from segmif_ros.ros.transport import PROFILE_VARIABLES

RGB = np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8)
THERMAL = np.zeros((480, 640), np.uint8)

DRIVER = """
import time, rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node("flir_driver")
camera = node.create_publisher(Image, "/flir/image_raw", qos_profile_sensor_data)
image = Image(width=640, height=512, encoding="mono16", step=1280)
image.data.frombytes(bytes(1280 * 512))
end = time.monotonic() + 60
while rclpy.ok() and time.monotonic() < end:
    image.header.stamp = node.get_clock().now().to_msg()
    camera.publish(image)
    time.sleep(0.05)
node.destroy_node()
rclpy.try_shutdown()
"""


@pytest.fixture
def driver(ros_domain: int):
    """A camera driver that was started without the Fast DDS profile."""
    environment = {k: v for k, v in os.environ.items() if k not in PROFILE_VARIABLES}
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER], env=environment | {"ROS_DOMAIN_ID": str(ros_domain)}
    )
    yield process
    process.send_signal(signal.SIGINT)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.mark.system
@pytest.mark.usefixtures("driver")
def test_the_doctor_names_what_is_wrong(start_node, tiny_bundle, peer: Peer, tmp_path):
    overrides = tmp_path / "qos.yaml"
    overrides.write_text(
        "/**:\n  ros__parameters:\n    qos_overrides:\n      /segmif/input/rgb:\n"
        "        subscription: {reliability: reliable}\n"
    )
    node = start_node(
        model=tiny_bundle, engine="null", diagnostics_rate_hz=5.0,
        ros_args=["--params-file", str(overrides)],
    )  # fmt: skip
    node.wait_for_text("active: listening")
    home = Path(__file__).resolve().parents[3]
    doctor = subprocess.Popen(
        [sys.executable, "-m", "segmif_ros.cli.main", "doctor", "--json", "--seconds", "3",
         "--rgb-topic", "/segmif/input/rgb", "--thermal-topic", "/flir/image_raw"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=home,
        env=os.environ | {"ROS_DOMAIN_ID": str(peer.node.context.get_domain_id())},
    )  # fmt: skip
    while doctor.poll() is None:
        peer.publish_pair(RGB, THERMAL)  # best effort, and the node requests reliable
        peer.spin(0.05)
    out, err = doctor.communicate()
    assert doctor.returncode == 3, err
    found = {row["check"]: row for row in json.loads(out)}

    assert found["ros"]["verdict"] == "OK"
    assert "rmw_fastrtps_cpp" in found["ros"]["fact"]
    assert found["rgb"]["verdict"] == "FAIL"
    assert "/peer offers reliability best_effort" in found["rgb"]["fact"]
    assert "qos_overrides./segmif/input/rgb.subscription.reliability" in found["rgb"]["fact"]

    thermal = found["thermal"]
    assert thermal["verdict"] == "WARN", thermal
    assert "640x512 mono16, best_effort" in thermal["fact"]
    assert "0.6 MiB each, from a process with a segment of 0.5 MiB" in thermal["fact"]
    assert "start /flir_driver with the Fast DDS profile" in thermal["remedy"]

    assert found["node"]["verdict"] == "FAIL"
    assert found["node"]["fact"].startswith("segmif runs, mode ")
    assert "segmif: rgb: nothing can come on /segmif/input/rgb" in found["node"]["fact"]
    assert node.stop()[0] == 0


def test_rates_and_losses_come_from_arrivals_and_stamps(monkeypatch):
    watched = Watched("sensor_msgs/msg/Image")
    assert watched.facts(0.0) == {"images": 0, "rate_hz": 0.0, "focal_lengths": []}
    clock = iter(np.arange(0.0, 10.0, 0.1))
    monkeypatch.setattr("segmif_ros.ros.tools.graph_probe.monotonic", lambda: next(clock))
    message = rgb_message()
    for number in range(11):
        # A camera of 30 Hz: its first five frames arrive, then every third.
        sent = number / 30 if number < 5 else number / 10
        stamp = int(sent * 1e9).to_bytes(4, sys.byteorder)
        watched.take(message[:4] + (100).to_bytes(4, sys.byteorder) + stamp + message[12:])
    facts = watched.facts(103.0)
    assert facts["images"] == 11
    assert facts["rate_hz"] == pytest.approx(10.0)
    assert facts["sent_hz"] == pytest.approx(30.0, rel=0.01)
    assert facts["age_s"] == pytest.approx(2.0, abs=0.1)
    assert (facts["format"], facts["bytes"]) == ("640x480 rgb8", 640 * 480 * 3)


def rgb_message(encoding: str = "rgb8") -> bytes:
    """A serialised image."""
    message = to_message(RGB, "rgb8", Header())
    message.encoding = encoding
    return bytes(serialize_message(message))


def compressed(picture: np.ndarray, form: str) -> bytes:
    data = cv2.imencode(".png", picture)[1].tobytes()
    return bytes(serialize_message(CompressedImage(format=form, data=data)))


@pytest.mark.parametrize(
    ("kind", "message", "refused"),
    [
        ("Image", rgb_message(), set()),
        ("Image", rgb_message("nv99"), {"rgb", "thermal"}),
        ("Image", rgb_message("32FC1"), {"rgb", "thermal"}),
        ("Image", rgb_message("mono16"), {"rgb"}),
        ("CompressedImage", compressed(RGB, "png"), set()),
        ("CompressedImage", compressed(RGB, "zstd").replace(b"PNG", b"XXX"), {"rgb", "thermal"}),
    ],
    ids=["rgb8", "unknown", "wrong step", "no colour", "png", "zstd"],
)
def test_the_node_itself_says_what_it_refuses(kind, message, refused):
    watched = Watched(f"sensor_msgs/msg/{kind}")
    watched.take(message)
    facts = watched.facts(0.0)
    assert set(facts["refused"]) == refused
    assert (facts["size"] == [640, 480]) == (len(refused) < 2)


def test_focal_lengths_come_from_a_calibrated_camera():
    watched = Watched("sensor_msgs/msg/Image")
    watched.take_info(CameraInfo(k=[600.0, 0, 320, 0, 610.0, 240, 0, 0, 1]))
    assert watched.facts(0.0)["focal_lengths"] == [600.0, 610.0]
    watched.take_info(CameraInfo())
    assert watched.facts(0.0)["focal_lengths"] == []


def test_a_node_does_not_compute_for_the_doctor():
    probe = Probe(MagicMock(), [])
    outputs = ("fused", "mask", "confidence", "overlay", "temperature", "fused/compressed")
    assert not any(probe._is_wanted(f"/veh/segmif/output/{name}") for name in outputs)
    assert probe._is_wanted("/flir/output/raw")
    assert Probe(MagicMock(), ["/segmif/output/fused"])._is_wanted("/segmif/output/fused")
