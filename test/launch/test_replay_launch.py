# SPDX-License-Identifier: Apache-2.0
"""replay.launch.py, executed against a stand-in."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

import launch_stand_in
from tiny_source import Pairs

from segmif_ros.cli import bag as bag_verb
from segmif_ros.recordings.bag_writer import write_bag
from segmif_ros.recordings.bags import BagError
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
    assert bag_verb.main(commands(started)["player"]) == 0
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
    assert bag_verb.main(commands(started)["recorder"]) == 0
    (out, topics) = taken[0]
    assert str(out) == "out"
    assert topics == ["/veh/segmif/output/fused", "/veh/segmif/output/mask", "/diagnostics"]
    assert played(bag, tmp_path, monkeypatch, record="out").start_delay_s == 2.0


def test_nothing_is_recorded_unless_asked_for(bag, tmp_path):
    assert set(commands(launch_stand_in.start(FILE, tmp_path, bag=str(bag)))) == {"player"}


def test_everything_ends_after_the_bag(bag, tmp_path):
    with launch_stand_in.stand_in(tmp_path):
        ended = launch_stand_in.load(launch_stand_in.FILES / FILE).when_played
        (timer,) = ended(SimpleNamespace(returncode=0), None)
        (failed,) = ended(SimpleNamespace(returncode=3), None)
    assert timer.kwargs["period"] >= 2.0
    assert [type(a).__name__ for a in timer.kwargs["actions"]] == ["Shutdown"]
    assert "exit code 3" in failed.kwargs["reason"]
    (player,) = [
        p
        for p in launch_stand_in.start(FILE, tmp_path, bag=str(bag)).processes
        if p.get("name") == "player"
    ]
    assert player["on_exit"].__name__ == "when_played"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "Required launch argument 'bag' was not provided"),
        ({"bag": "/nowhere/bag"}, "bag '/nowhere/bag' does not exist; check the path"),
        ({"rgb_topic": "/front"}, "no images on '/front' in .*; it holds /rgb/image_raw"),
        ({"rate": "0"}, "rate is '0'"),
    ],
)
def test_what_cannot_be_played_is_refused_before_the_player_starts(bag, tmp_path, given, told):
    with pytest.raises((ValueError, RuntimeError, BagError), match=told):
        launch_stand_in.start(FILE, tmp_path, **({"bag": str(bag)} if given else {}) | given)
