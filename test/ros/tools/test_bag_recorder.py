# SPDX-License-Identifier: Apache-2.0
"""`segmif bag record` as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from node_process import Peer
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosbags.typesys import Stores, get_typestore
from std_msgs.msg import String

from segmif_ros.cli.main import main
from segmif_ros.recordings.bags import BagReader, header_stamp_ns, message_types, summarize
from segmif_ros.ros.tools import bag_recorder
from segmif_ros.ros.tools.player import message_class

COUNT = 10


@pytest.fixture
def record(tmp_path, ros_domain):
    """Start recorders; what still runs at the end is ended."""
    started: list[subprocess.Popen[str]] = []

    def start(out: Path, *topics: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "segmif_ros.cli.main", "bag", "record"]
        environment = os.environ | {"ROS_DOMAIN_ID": str(ros_domain), "ROS_LOG_DIR": str(tmp_path)}
        started.append(
            subprocess.Popen(
                [*command, "--out", str(out), "--topics", *topics],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Interrupt it and return exit code, output and errors."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    return process.returncode, out, err


@pytest.mark.system
def test_what_is_published_lies_in_the_bag(record: Callable[..., Any], peer: Peer, tmp_path):
    recorder = record(tmp_path / "out", "/segmif/input/rgb", "/segmif/input/thermal", "/silent")
    peer.until_heard()
    rgb = np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3)
    stamps = []
    for _ in range(COUNT):
        header = peer.publish_pair(rgb, rgb[..., 0].copy())
        stamps.append(header.stamp.sec * 1_000_000_000 + header.stamp.nanosec)
        peer.spin(0.02)
    code, out, err = ended(recorder)
    assert code == 1, "nothing came on one of the topics"
    assert "recording /segmif/input/rgb\n" in out
    assert f"recorded {2 * COUNT} messages" in out
    assert "nothing came on /silent; check the topic names and ROS_DOMAIN_ID" in err
    assert {t.name: t.count for t in summarize(tmp_path / "out").topics} == {
        "/segmif/input/rgb": COUNT,
        "/segmif/input/thermal": COUNT,
    }
    with BagReader(tmp_path / "out") as reader:
        messages = list(reader.messages(["/segmif/input/rgb"]))
    assert [header_stamp_ns(message.cdr) for message in messages] == stamps
    assert all(rgb.tobytes() in message.cdr for message in messages)


@pytest.mark.system
def test_a_mistyped_topic_is_named_while_it_records(record: Callable[..., Any], tmp_path):
    recorder = record(tmp_path / "out", "/parameter_event", "/parameter_events")
    line = recorder.stderr.readline()
    assert line.startswith("segmif bag record: no publisher on /parameter_event yet")
    assert "did you mean /parameter_events?" in line
    ended(recorder)


@pytest.mark.system
def test_latched_topics_stay_latched_and_a_closed_terminal_completes_the_bag(
    record: Callable[..., Any], peer: Peer, tmp_path
):
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    publisher = peer.node.create_publisher(String, "/labels", latched)
    publisher.publish(String(data="before the recorder"))
    recorder = record(tmp_path / "out", "/labels")
    peer.until(lambda: publisher.get_subscription_count() > 0, "the recorder")
    deadline = monotonic() + 10
    while "/labels" not in (recorder.stdout.readline() if recorder.stdout else ""):
        assert monotonic() < deadline
    peer.spin(0.5)
    recorder.send_signal(signal.SIGHUP)
    out, err = recorder.communicate(timeout=20)
    assert (recorder.returncode, err) == (0, f"next: segmif bag info {tmp_path / 'out'}\n")
    assert "recorded 1 messages" in out
    (topic,) = summarize(tmp_path / "out").topics
    assert (topic.count, topic.latched) == (1, True)
    assert (tmp_path / "out" / "metadata.yaml").is_file()


@pytest.mark.parametrize(
    "name",
    [
        *("sensor_msgs/msg/CameraInfo", "diagnostic_msgs/msg/DiagnosticArray"),
        *("rcl_interfaces/msg/ParameterEvent", "sensor_msgs/msg/PointCloud2"),
        *("geometry_msgs/msg/PoseWithCovarianceStamped", "std_msgs/msg/ByteMultiArray"),
        *("type_description_interfaces/msg/TypeDescription", "sensor_msgs/msg/BatteryState"),
    ],
)
def test_types_that_rosbags_does_not_know_are_learnt_from_their_classes(name, monkeypatch):
    """As vision_msgs: what rosbags does know proves it, their hashes are those of ROS."""
    store = get_typestore(Stores.EMPTY)
    monkeypatch.setattr(bag_recorder, "message_types", lambda: store)
    bag_recorder.learn_type(message_class(name), name)
    assert store.hash_rihs01(name) == message_types().hash_rihs01(name)


@pytest.mark.system
def test_a_recording_without_a_message_fails(record: Callable[..., Any], peer: Peer, tmp_path):
    recorder = record(tmp_path / "out", "/silent", "/silent_too")
    peer.until(lambda: "segmif_bag_recorder" in peer.node.get_node_names(), "the recorder")
    deadline = monotonic() + 10
    while not (tmp_path / "out").exists():
        assert monotonic() < deadline
        peer.spin(0.05)
    code, out, err = ended(recorder)
    assert code == 1
    assert "recorded 0 messages" in out
    assert "nothing came on /silent, /silent_too" in err


def test_an_existing_bag_is_not_touched(tmp_path, capsys):
    assert main(["bag", "record", str(tmp_path), "--topics", "/a"]) == 2
    assert "exists already; give another name" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_no_topic_is_one_line(tmp_path, capsys):
    assert main(["bag", "record", str(tmp_path / "bag"), "--topics", "not a topic"]) != 0
    assert "'not a topic'" in capsys.readouterr().err
    assert not (tmp_path / "bag").exists()
