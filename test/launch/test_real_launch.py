# SPDX-License-Identifier: Apache-2.0
"""The launch files in the real launch. launch and launch_ros have no wheels: skipped without."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event
from time import monotonic

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from node_process import DEADLINE_S, Peer
from tiny_source import Pairs

from segmif_ros.recordings.bags import BagReader, header_stamp_ns, summarize
from segmif_ros.recordings.writer import write_bag
from segmif_ros.ros.transport import prepare_process

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        importlib.util.find_spec("launch_ros") is None,
        reason="launch and launch_ros are not installed (not on PyPI); see docs/launch.md",
    ),
]
# Fast DDS reads these once per process.
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
prepare_process()

FILES = Path(__file__).resolve().parents[2] / "launch"
DOMAIN = 1 + os.getpid() % 100
MARK = "SEGMIF_TEST_LAUNCH"
RUN = """
import sys
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch import LaunchDescription, LaunchService
file, *arguments = sys.argv[1:]
include = IncludeLaunchDescription(
    PythonLaunchDescriptionSource(file),
    launch_arguments=[tuple(a.split(":=", 1)) for a in arguments],
)
service = LaunchService()
service.include_launch_description(LaunchDescription([include]))
sys.exit(service.run())
"""


class Launched:
    """`ros2 launch` without ros2cli, as a process of its own."""

    def __init__(self, log: Path, file: str, arguments: dict[str, object]) -> None:
        self.log = log
        environment = os.environ | {
            "ROS_DOMAIN_ID": str(DOMAIN),
            "ROS_LOG_DIR": str(log.parent),
            "OVERRIDE_LAUNCH_PROCESS_OUTPUT": "screen",
            # What it starts inherits this and is identified by it.
            MARK: str(log),
        }
        command = [sys.executable, "-c", RUN, str(FILES / file)]
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [*command, *(f"{name}:={value}" for name, value in arguments.items())],
                stdout=out,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    def pids(self, name: str) -> list[int]:
        """Process ids of every start of a process such as "segmif_node-1" (a pattern)."""
        found = re.findall(rf"\[{name}\]: process started with pid \[(\d+)\]", self.log.read_text())
        return [int(pid) for pid in found]

    def survivors(self) -> list[str]:
        """Return the command lines of what it started and left running."""
        mark, found = f"{MARK}={self.log}".encode(), []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    found.append((process / "cmdline").read_text().replace("\0", " "))
        return found

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(DEADLINE_S)

    def end(self) -> None:
        """Stop it whatever the test did: SIGTERM would leave what it started running."""
        if self.process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                for pid in self.pids(".*"):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                self.process.kill()
                self.process.wait()


@pytest.fixture
def launched(tmp_path):
    started: list[Launched] = []

    def start(file: str, **arguments: object) -> Launched:
        started.append(Launched(tmp_path / "launch.log", file, arguments))
        return started[-1]

    yield start
    for each in started:
        each.end()


Launch = Callable[..., Launched]


def test_a_killed_node_comes_back_and_publishes_again(launched: Launch, tiny_bundle: Path):
    launch = launched(
        "segmif.launch.py",
        rgb_topic="/segmif/input/rgb",
        thermal_topic="/segmif/input/thermal",
        model=tiny_bundle,
        engine="onnxruntime",
        respawn_delay="0.2",
    )
    rgb, thermal = np.zeros((480, 640, 3), np.uint8), np.zeros((480, 640), np.uint8)

    def answered(peer: Peer) -> bool:
        before = len(peer.images["fused"])
        peer.publish_pair(rgb, thermal)
        peer.spin(0.1)
        return len(peer.images["fused"]) > before

    with Peer(DOMAIN) as peer:
        peer.listen("fused")
        peer.until(lambda: answered(peer), "the first image")
        (first,) = launch.pids("segmif_node-1")
        os.kill(first, signal.SIGKILL)
        killed = monotonic()
        peer.until(lambda: len(launch.pids("segmif_node-1")) == 2, "a second process")
        peer.forget()
        peer.until(lambda: answered(peer), "an image of the second process")
        print(f"publishing again {monotonic() - killed:.2f} s after SIGKILL")
    assert launch.stop() == 0, launch.log.read_text()
    assert "process has finished cleanly" in launch.log.read_text()


def test_the_demo_shows_the_rig(launched: Launch):
    launch = launched("demo.launch.py", engine="null", rate="5", prerender="5", rviz="auto")
    with Peer(DOMAIN) as peer:
        peer.listen("fused", "overlay")
        peer.until(lambda: len(peer.images["overlay"]) >= 3, "three overlays")
    assert launch.stop() == 0, launch.log.read_text()


def test_every_rig_has_outputs_of_its_own(launched: Launch):
    launch = launched(
        "multi_rig.launch.py", count="2", virtual="true", engine="null", rate="5", prerender="5"
    )
    stamps = []
    for name in ("rig0/segmif", "rig1/segmif"):
        with Peer(DOMAIN, name) as peer:
            peer.listen("mask")
            peer.until(lambda peer=peer: len(peer.images["mask"]) >= 3, f"three masks of {name}")
            stamps.append(peer.images["mask"][0].header.stamp)
    assert stamps[0] != stamps[1]
    assert launch.stop() == 0, launch.log.read_text()


def test_a_replay_records_what_comes_out_and_ends(launched: Launch, tmp_path: Path):
    write_bag(Pairs(20), tmp_path / "bag")
    launch = launched(
        "replay.launch.py", bag=tmp_path / "bag", record=tmp_path / "out", engine="null"
    )
    assert launch.process.wait(2 * DEADLINE_S) == 0, launch.log.read_text()
    counts = {topic.name: topic.count for topic in summarize(tmp_path / "out").topics}
    assert counts["/segmif/output/labels"] == 1
    assert counts["/diagnostics"] >= 2

    def stamps(bag: str, topic: str) -> list[int]:
        with BagReader(tmp_path / bag) as reader:
            return [header_stamp_ns(message.cdr) for message in reader.messages([topic])]

    # A machine under load leaves pairs out; none comes twice, late or under another stamp.
    masks, played = stamps("out", "/segmif/output/mask"), stamps("bag", "/rgb/image_raw")
    assert masks == stamps("out", "/segmif/output/fused")
    assert masks == [stamp for stamp in played if stamp in masks]
    assert len(masks) >= 0.8 * len(played)


@pytest.mark.parametrize(
    ("file", "arguments", "told"),
    [
        ("segmif.launch.py", {"params_file": "/nowhere.yaml"}, "there is no such file"),
        ("segmif.launch.py", {"engine": "cuda"}, "Valid options are|is not valid"),
        ("segmif.launch.py", {"rgb_topic": "9cam"}, "must not start with a number"),
        ("replay.launch.py", {}, "bag"),
        ("replay.launch.py", {"bag": "/nowhere"}, "bag '/nowhere' does not exist"),
        ("demo.launch.py", {"engine": "cuda"}, "Valid options are|is not valid"),
        ("demo.launch.py", {"params_file": "/nowhere.yaml"}, "there is no such file"),
        (
            "multi_rig.launch.py",
            {"virtual": "true", "calibration_file": "/dev/fd/{i}"},
            "calibration_file is",
        ),
    ],
)
def test_a_wrong_argument_ends_launch_with_a_line_and_leaves_nothing_running(
    launched: Launch, file, arguments, told
):
    launch = launched(file, **arguments)
    assert launch.process.wait(DEADLINE_S) == 1
    assert re.search(told, launch.log.read_text())
    assert not launch.pids(".*")
    assert not launch.survivors()


@pytest.mark.parametrize("wrong", [{"rgb_topic": "/front"}, {"rate": "0"}, {"record": "bag"}])
def test_a_replay_that_cannot_work_leaves_nothing_running(launched: Launch, tmp_path, wrong):
    write_bag(Pairs(4), tmp_path / "bag")
    if "record" in wrong:
        wrong = {"record": tmp_path / "bag"}
    launch = launched("replay.launch.py", bag=tmp_path / "bag", engine="null", **wrong)
    assert launch.process.wait(DEADLINE_S) == 1
    assert not launch.pids(".*")
    assert not launch.survivors()


def test_a_player_that_fails_takes_the_others_with_it(launched: Launch, tmp_path: Path):
    write_bag(Pairs(60), tmp_path / "bag")
    given = {"bag": tmp_path / "bag", "record": tmp_path / "out", "engine": "null"}
    launch = launched("replay.launch.py", **given)
    deadline = monotonic() + DEADLINE_S
    while not launch.pids("player-3"):
        assert monotonic() < deadline, launch.log.read_text()
        Event().wait(0.05)
    os.kill(launch.pids("player-3")[0], signal.SIGKILL)
    assert launch.process.wait(DEADLINE_S) == 1, launch.log.read_text()
    assert "the player ended with exit code -9" in launch.log.read_text()
    assert not launch.survivors()
