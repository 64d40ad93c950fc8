# SPDX-License-Identifier: Apache-2.0
"""`segmif_rig`: its messages, and the process as users run it, received over DDS."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

import rclpy
from node_process import DEADLINE_S, shared_memory_of
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image
from time_code_reader import read_bars

from segmif_ros.images.raw import view_rgb, view_thermal
from segmif_ros.registration import load_calibration
from segmif_ros.rig.cameras.cameras import Rig
from segmif_ros.rig.scene.scene import Label
from segmif_ros.ros.tools.rig_node import camera_info, main

TOPICS = {
    "rgb/image_raw": Image, "thermal/image_raw": Image, "rgb/labels": Image,
    "rgb/camera_info": CameraInfo, "thermal/camera_info": CameraInfo,
}  # fmt: skip


class Ears:
    """Keeps what the rig says."""

    def __init__(self, domain: int, namespace: str = "/rig") -> None:
        self._context = Context()
        rclpy.init(context=self._context, domain_id=domain)
        self._node = rclpy.create_node("ears", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self.heard: dict[str, list] = {topic: [] for topic in TOPICS}
        for topic, kind in TOPICS.items():
            name = f"{namespace}/{topic}"
            self._node.create_subscription(
                kind, name, self.heard[topic].append, qos_profile_sensor_data
            )

    def until(self, condition: Callable[[], object], what: str) -> None:
        deadline = monotonic() + DEADLINE_S
        while not condition():
            assert monotonic() < deadline, f"no {what}; received {self.counts()}"
            self._executor.spin_once(timeout_sec=0.05)

    def set_parameter(self, node: str, name: str, value: str) -> SetParametersResult:
        client = self._node.create_client(SetParameters, f"{node}/set_parameters")
        self.until(client.service_is_ready, f"{node}/set_parameters")
        parameters = [Parameter(name, value=value).to_parameter_msg()]
        future = client.call_async(SetParameters.Request(parameters=parameters))
        self.until(future.done, "answer")
        return future.result().results[0]

    def counts(self) -> dict[str, int]:
        return {topic: len(messages) for topic, messages in self.heard.items()}

    def close(self) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)


@pytest.fixture
def environment(ros_domain: int, tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "ROS_DOMAIN_ID": str(ros_domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_LOG_DIR": str(tmp_path / "log"),
    }


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(environment) -> Iterator[Start]:
    """Start rig processes; what still runs at the end is ended."""
    running: list[subprocess.Popen[str]] = []

    def run(*options: str) -> subprocess.Popen[str]:
        running.append(
            subprocess.Popen(
                [sys.executable, "-m", "segmif_ros.ros.tools.rig_node", *options],
                env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
        )  # fmt: skip
        return running[-1]

    yield run
    for process in running:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture
def ears(ros_domain: int) -> Iterator[Ears]:
    listener = Ears(ros_domain)
    yield listener
    listener.close()


def stamps(messages: list) -> list[int]:
    return [m.header.stamp.sec * 1_000_000_000 + m.header.stamp.nanosec for m in messages]


@pytest.mark.system
def test_both_cameras_are_received_at_their_rates_with_true_stamps(start, ears, tmp_path):
    calibration = tmp_path / "rig.yaml"
    process = start(
        "--frames", "20", "--rate", "10", "--thermal-rate", "5", "--labels", "--seed", "14",
        "--lighting", "night", "--wait-for-subscribers", "30",
        "--write-calibration", str(calibration),
    )  # fmt: skip
    ears.until(lambda: process.poll() is not None, "end of the rig")
    output = process.communicate()[0]
    assert process.returncode == 0, output
    assert "rendering ahead: 30 of 30" in output
    counts = ears.counts()
    assert counts["rgb/image_raw"] >= 19, output
    assert counts["thermal/image_raw"] >= 9, output
    rgb, thermal = ears.heard["rgb/image_raw"], ears.heard["thermal/image_raw"]
    for messages, period in ((rgb, 100_000_000), (thermal, 200_000_000)):
        steps = np.diff(stamps(messages))
        assert (steps > 0).all()
        assert (steps % period <= 1).all() or (period - steps % period <= 1).all()
    assert {(m.encoding, m.step, m.header.frame_id) for m in rgb} == {
        ("rgb8", 1920, "rgb_optical_frame")
    }
    assert {(m.encoding, m.step, m.header.frame_id) for m in thermal} == {
        ("mono16", 1280, "thermal_optical_frame")
    }
    assert view_rgb(rgb[-1]).pixels.shape == (480, 640, 3)
    kelvin = view_thermal(thermal[-1]).pixels / 100.0
    assert 230.0 < kelvin.min() < kelvin.max() < 340.0
    labels = ears.heard["rgb/labels"]
    assert set(stamps(labels)) <= set(stamps(rgb))
    assert set(np.unique(np.frombuffer(labels[-1].data, np.uint8))) <= set(Label)
    infos = ears.heard["rgb/camera_info"]
    assert set(stamps(infos)) & set(stamps(rgb))
    assert infos[-1].k[0] == pytest.approx(Rig.default().rgb.intrinsics.fx)
    assert load_calibration(calibration).thermal_size == (512, 640)


@pytest.mark.system
def test_sigint_ends_it_at_once_and_leaves_nothing(start, ears):
    process = start("--prerender", "0", "--rate", "5", "--thermal-encoding", "mono8")
    ears.until(lambda: all(ears.heard[f"{c}/image_raw"] for c in ("rgb", "thermal")), "images")
    memory = shared_memory_of(process.pid)
    assert memory
    started = monotonic()
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=DEADLINE_S)[0]
    assert monotonic() - started < 5.0
    assert process.returncode == 0, output
    assert "Traceback" not in output
    assert ears.heard["thermal/image_raw"][0].encoding == "mono8"
    left = {path for path in memory if path.exists() and "_port" not in path.name}
    assert left <= shared_memory_of("self"), left


@pytest.mark.system
def test_without_listeners_it_says_so(start):
    process = start("--wait-for-subscribers", "0.2", "--prerender", "1")
    output = process.communicate(timeout=DEADLINE_S)[0]
    assert process.returncode == 1
    assert "/rig/rgb/image_raw, /rig/thermal/image_raw" in output
    assert "ROS_DOMAIN_ID" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--lighting", "noon"], "noon"),
        (["--rate", "0"], "rate above 0"),
        (["--frames", "-1"], "0 or more"),
        (["--wait-for-subscribers", "-1"], "0 or more"),
    ],
)
def test_wrong_options_are_named(options, words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(options)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_what_cannot_be_done_is_one_line(capsys, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert main(["--prerender", "999999"]) == 2
    assert "GiB" in capsys.readouterr().err
    assert main(["--write-calibration", str(blocked / "rig.yaml")]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert str(blocked) in errors


def test_camera_info_describes_an_ideal_camera():
    camera = Rig.default().thermal
    info = camera_info(camera)
    assert (info.width, info.height, info.distortion_model) == (640, 512, "plumb_bob")
    assert list(info.d) == [0.0] * 5
    np.testing.assert_allclose(np.reshape(info.k, (3, 3)), camera.intrinsics.matrix)
    np.testing.assert_allclose(np.reshape(info.p, (3, 4))[:, :3], camera.intrinsics.matrix)
    np.testing.assert_allclose(np.reshape(info.r, (3, 3)), np.eye(3))


@pytest.mark.system
def test_faults_are_switched_while_it_runs_and_bad_ones_refused(start, ears):
    start(
        "--pattern", "--size", "64x48", "--aligned", "--thermal-encoding", "mono8",
        "--time-code", "--reliable", "--fault", "thermal:stop", "--rate", "20",
    )  # fmt: skip
    rgb, thermal = ears.heard["rgb/image_raw"], ears.heard["thermal/image_raw"]
    ears.until(lambda: len(rgb) >= 10, "RGB images")
    assert not thermal
    result = ears.set_parameter("/rig/rig", "faults", "lidar:stop")
    assert not result.successful
    assert "'lidar'" in result.reason
    assert ears.set_parameter("/rig/rig", "faults", "thermal:step rgb:size").successful
    ears.until(lambda: len(thermal) >= 3 and rgb[-1].width == 32, "faulty images")
    assert {m.step for m in thermal} == {32}
    assert ears.set_parameter("/rig/rig", "faults", "").successful
    ears.until(lambda: thermal[-1].step == 64 and rgb[-1].width == 64, "sound images")
    for message in (thermal[-1], rgb[-1]):
        channels = len(message.data) // (48 * 64)
        pixels = np.frombuffer(message.data, np.uint8).reshape(48, 64, channels).squeeze()
        top, bottom = read_bars(pixels)
        assert top is not None
        assert top == bottom


def test_a_wrong_fault_is_named_before_anything_starts(capsys):
    with pytest.raises(SystemExit):
        main(["--fault", "rgb:sulk"])
    assert "'sulk'" in capsys.readouterr().err
