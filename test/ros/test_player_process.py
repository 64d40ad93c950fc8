# SPDX-License-Identifier: Apache-2.0
"""`segmif bag play` as a process of its own, received over DDS."""

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from segmif_ros.recordings.clips import StampedImage
from segmif_ros.recordings.writer import write_bag

pytest.importorskip("rclpy")
pytestmark = pytest.mark.system

START = 1_700_000_000_000_000_000
COUNT = 20


class Cameras:
    """VGA pairs at 20 Hz; the first pixel is the frame's number."""

    notes = ()
    frames = 2 * COUNT

    def __iter__(self) -> Iterator[StampedImage]:
        for index in range(COUNT):
            time_ns = index * 50_000_000
            yield StampedImage("thermal", time_ns, np.full((480, 640), index, np.uint8))
            yield StampedImage("rgb", time_ns, np.full((480, 640, 3), index, np.uint8))


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    path = tmp_path_factory.mktemp("player") / "bag"
    write_bag(Cameras(), path, start_ns=START)
    return path


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return {
        **os.environ,
        "ROS_DOMAIN_ID": str(1 + os.getpid() % 101),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_LOG_DIR": str(tmp_path_factory.mktemp("log")),
    }


@pytest.fixture(scope="module")
def ears(environment):
    """A context and node in this process, on the private domain."""
    import rclpy
    from rclpy.context import Context
    from rclpy.executors import SingleThreadedExecutor

    context = Context()
    saved = {k: os.environ.get(k) for k in ("ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOG_DIR")}
    os.environ.update({k: environment[k] for k in saved})
    rclpy.init(context=context, domain_id=int(environment["ROS_DOMAIN_ID"]))
    node = rclpy.create_node("ears", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    yield node, executor
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown(context=context)
    for key, value in saved.items():
        os.environ.pop(key) if value is None else os.environ.update({key: value})


class Heard:
    """Everything that arrived on some topics, with arrival times."""

    def __init__(self, node, executor, **topics):
        from rclpy.qos import qos_profile_sensor_data

        self.node, self.executor = node, executor
        self.messages = {name: [] for name in topics}
        self.subscriptions = [
            node.create_subscription(
                kind,
                topic,
                lambda m, name=name: self.messages[name].append((m, time.time_ns())),
                qos_profile_sensor_data,
            )
            for name, (topic, kind) in topics.items()
        ]

    def until(self, done, seconds):
        end = time.monotonic() + seconds
        while not done() and time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.05)
        return done()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for subscription in self.subscriptions:
            self.node.destroy_subscription(subscription)


def player(environment, bag: Path, *options: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "segmif_ros.cli.main", "bag", "play", str(bag), *options]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def segments(pid: int) -> set[Path]:
    """Return the Fast DDS shared-memory segments (not the ports, which are shared) of a process."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    return {Path(p) for p in re.findall(r"/dev/shm/fast(?:rtps|dds)_[0-9a-f]{8,}\S*", maps)}


def stamp(message) -> int:
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


def test_every_image_arrives_with_its_own_stamp(bag, environment, ears):
    from rosgraph_msgs.msg import Clock
    from sensor_msgs.msg import Image

    with Heard(
        *ears,
        rgb=("/cam/rgb", Image),
        thermal=("/thermal/image_raw", Image),
        clock=("/clock", Clock),
    ) as heard:
        process = player(
            environment,
            bag,
            *("--remap", "/rgb/image_raw:=/cam/rgb", "--clock"),
            *("--wait-for-subscribers", "20"),
        )
        assert heard.until(lambda: process.poll() is not None, 40)
        out, err = process.communicate()
        assert process.returncode == 0, err
        assert f"played {2 * COUNT} messages of 2 topics" in out
        heard.until(lambda: len(heard.messages["rgb"]) == COUNT, 1)
    for name in ("rgb", "thermal"):
        received = [m for m, _ in heard.messages[name]]
        assert len(received) >= 0.95 * COUNT
        for message in received:
            number = message.data[0]
            assert stamp(message) == START + number * 50_000_000
    clocks = [m.clock.sec * 1_000_000_000 + m.clock.nanosec for m, _ in heard.messages["clock"]]
    assert len(clocks) > 10
    assert clocks == sorted(clocks)
    assert clocks[0] >= START
    assert clocks[-1] <= START + COUNT * 50_000_000


def test_restamped_images_are_fresh_and_pairs_stay_together(bag, environment, ears):
    from sensor_msgs.msg import Image

    with Heard(
        *ears, rgb=("/rgb/image_raw", Image), thermal=("/thermal/image_raw", Image)
    ) as heard:
        process = player(
            environment, bag, "--restamp", "--every", "2", "--wait-for-subscribers", "20"
        )
        assert heard.until(lambda: process.poll() is not None, 40)
        assert process.returncode == 0, process.communicate()[1]
        process.communicate()
    received = heard.messages["rgb"]
    assert len(received) >= 0.9 * COUNT / 2
    ages = [arrival - stamp(message) for message, arrival in received]
    assert min(ages) > 0
    assert max(ages) < 2_000_000_000
    thermal = {stamp(message) for message, _ in heard.messages["thermal"]}
    together = sum(stamp(message) in thermal for message, _ in received)
    assert together >= 0.9 * len(received)


def test_looping_ends_cleanly_on_sigint(bag, environment, ears):
    from sensor_msgs.msg import Image

    before = segments(os.getpid())
    with Heard(
        *ears, rgb=("/rgb/image_raw", Image), thermal=("/thermal/image_raw", Image)
    ) as heard:
        process = player(environment, bag, "--loop", "--speed", "8", "--wait-for-subscribers", "20")
        assert heard.until(lambda: len(heard.messages["rgb"]) > 2 * COUNT, 30)
        own = segments(process.pid) - before
        assert own
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=5)
    assert process.returncode == 0
    assert "Traceback" not in err
    stamps = [stamp(m) for m, _ in heard.messages["rgb"]]
    jumps_back = sum(later < earlier for earlier, later in itertools.pairwise(stamps))
    assert jumps_back >= 2
    assert [path for path in own if path.exists()] == []


def test_no_subscriber_is_said_and_exits_3(bag, environment):
    process = player(environment, bag, "--wait-for-subscribers", "0.5")
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "no subscriber on /rgb/image_raw, /thermal/image_raw within 0.5 s" in err
