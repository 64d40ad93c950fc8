# SPDX-License-Identifier: Apache-2.0
"""replay.launch.py, executed against a stand-in."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

import launch_stand_in
from tiny_source import Pairs

from segmif_ros.cli.main import main
from segmif_ros.recordings.bags import IMAGE, BagReader
from segmif_ros.recordings.writer import BagWriter, write_bag
from segmif_ros.ros import qos
from segmif_ros.ros.tools.player import Playback

FILE = "replay.launch.py"
SEGMIF_BAG = [sys.executable, "-m", "segmif_ros.cli.main", "bag"]


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    path = tmp_path_factory.mktemp("replay") / "bag"
    write_bag(Pairs(), path)
    return path


def commands(started: launch_stand_in.Started) -> dict[str, list[str]]:
    """What follows `segmif bag`, by the name of the process."""
    found = {}
    for process in started.processes:
        if "cmd" in process:
            assert process["cmd"][:4] == SEGMIF_BAG
            found[process["name"]] = list(process["cmd"][4:])
    return found


def played(bag, tmp_path, monkeypatch, **given: str) -> Playback:
    """What `segmif bag play` makes of the player's command line."""
    options: list[Playback] = []
    monkeypatch.setattr("segmif_ros.ros.tools.player.play", lambda _, o: options.append(o) or 0)
    started = launch_stand_in.start(FILE, tmp_path, bag=str(bag), **given)
    assert main(["bag", *commands(started)["player"]]) == 0
    return options[0]


def test_the_player_waits_for_the_node_and_brings_the_clock(bag, tmp_path, monkeypatch):
    options = played(bag, tmp_path, monkeypatch)
    assert set(options.topics) == {"/rgb/image_raw", "/thermal/image_raw"}
    assert (options.rate, options.loop, options.clock, options.restamp) == (1.0, False, True, False)
    assert options.wait_s == 60.0
    (node,) = launch_stand_in.start(FILE, tmp_path, bag=str(bag)).of("segmif_node")
    assert node["parameters"][-1]["use_sim_time"] is True


def test_without_the_bags_time_the_stamps_are_those_of_now(bag, tmp_path, monkeypatch):
    options = played(bag, tmp_path, monkeypatch, use_sim_time="false", loop="true", rate="0.5")
    assert (options.rate, options.loop, options.clock, options.restamp) == (0.5, True, False, True)


def test_the_recorder_takes_the_outputs_of_the_node_in_its_namespace(bag, tmp_path, monkeypatch):
    taken: list[Any] = []
    monkeypatch.setattr("segmif_ros.ros.tools.bag_recorder.record", lambda *a: taken.append(a) or 0)
    started = launch_stand_in.start(
        FILE, tmp_path, bag=str(bag), record="out", record_outputs="fused mask", namespace="veh"
    )
    assert main(["bag", *commands(started)["recorder"]]) == 0
    (out, topics) = taken[0]
    assert out == Path("out").absolute()
    assert topics == ["/veh/segmif/output/fused", "/veh/segmif/output/mask", "/diagnostics"]
    assert played(bag, tmp_path, monkeypatch, record="out").start_delay_s == 2.0


def test_nothing_is_recorded_unless_requested(bag, tmp_path):
    assert set(commands(launch_stand_in.start(FILE, tmp_path, bag=str(bag)))) == {"player"}


def ending(bag, tmp_path, process: str, code: int, *, shutting_down: bool = False):
    """What launch does when a process has ended."""
    started = launch_stand_in.start(FILE, tmp_path, bag=str(bag), record=str(tmp_path / "out"))
    (on_exit,) = [p["on_exit"] for p in started.processes if p.get("name") == process]
    return on_exit(SimpleNamespace(returncode=code), SimpleNamespace(is_shutdown=shutting_down))


def test_everything_ends_after_the_bag(bag, tmp_path):
    (timer,) = ending(bag, tmp_path, "player", 0)
    assert timer.kwargs["period"] >= 2.0
    assert [type(a).__name__ for a in timer.kwargs["actions"]] == ["Shutdown"]


@pytest.mark.parametrize("process", ["player", "recorder"])
@pytest.mark.parametrize(("code", "shutting_down"), [(3, False), (1, True), (-9, False)])
def test_a_process_that_fails_ends_launch_with_an_error(
    bag, tmp_path, process, code, shutting_down
):
    with pytest.raises(RuntimeError, match=f"the {process} ended with exit code {code}"):
        ending(bag, tmp_path, process, code, shutting_down=shutting_down)


def test_a_process_that_launch_interrupted_has_not_failed(bag, tmp_path):
    assert not ending(bag, tmp_path, "recorder", -2, shutting_down=True)


def test_the_cameras_are_identified_by_name_as_in_the_other_verbs(bag, tmp_path, monkeypatch):
    with BagReader(bag) as reader, BagWriter(tmp_path / "bag") as out:
        for topic in ("/front/image", "/flir_boson/image"):
            out.add_topic(topic, IMAGE)
        for message in reader.messages():
            topic = "/front/image" if message.topic == "/rgb/image_raw" else "/flir_boson/image"
            out.write(topic, message.time_ns, message.cdr)
    monkeypatch.chdir(tmp_path)
    options = played("bag", tmp_path, monkeypatch)
    assert set(options.topics) == {"/front/image", "/flir_boson/image"}
    (node,) = launch_stand_in.start(FILE, tmp_path, bag="bag").of("segmif_node")
    assert dict(node["remappings"]) == {
        "~/input/rgb": "/front/image",
        "~/input/thermal": "/flir_boson/image",
    }


@pytest.mark.parametrize("name", ["--loop", "-h", "--", "~bag", "a b"])
def test_no_name_of_a_bag_becomes_an_option(bag, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).symlink_to(bag)
    taken: list[Any] = []
    monkeypatch.setattr("segmif_ros.ros.tools.player.play", lambda *a: taken.append(a) or 0)
    monkeypatch.setattr("segmif_ros.ros.tools.bag_recorder.record", lambda *a: taken.append(a) or 0)
    given = {"bag": str(name), "record": f"{name}2"}
    for command in commands(launch_stand_in.start(FILE, tmp_path, **given)).values():
        assert main(["bag", *command]) == 0
    (recorded, _), (path, options) = taken
    assert (recorded, path) == (tmp_path / f"{name}2", tmp_path / name)
    assert not options.loop


def test_every_output_that_has_a_topic_can_be_recorded(tmp_path):
    with launch_stand_in.stand_in(tmp_path):
        known = launch_stand_in.load(launch_stand_in.FILES / FILE).OUTPUTS
    found = set(re.findall(r"'~/output/([\w/]+)'", repr(vars(qos))))
    assert set(known) == found
    assert len(known) == len(set(known))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "Required launch argument 'bag' was not provided"),
        ({"bag": "/nowhere/bag"}, "bag '/nowhere/bag' does not exist; check the path"),
        ({"rgb_topic": "/front"}, "no images on '/front' in .*; It holds /rgb/image_raw"),
        ({"rate": "0"}, "rate is '0'"),
        ({"engine": "cuda"}, "'engine' provided value 'cuda' is not valid"),
        ({"params_file": "/nowhere.yaml"}, "there is no such file"),
        ({"record": "/"}, "record is '/': '/' exists already"),
        ({"record": "/dev/null/out"}, "nothing can be written in /dev/null"),
        ({"record": "out", "record_outputs": "fused masks"}, "names 'masks'; expected some of"),
        ({"record": "out", "record_outputs": "--help"}, "names '--help'"),
    ],
)
def test_what_cannot_be_played_is_refused_before_the_player_starts(bag, tmp_path, given, told):
    launch_stand_in.refused(FILE, tmp_path, told, **({"bag": str(bag)} if given else {}) | given)
