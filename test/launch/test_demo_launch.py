# SPDX-License-Identifier: Apache-2.0
"""demo.launch.py, executed against a stand-in."""

from __future__ import annotations

import shutil

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

import launch_stand_in

from segmif_ros.registration import load_calibration
from segmif_ros.ros.tools.rig_options import parser
from segmif_ros.share import share_path

FILE = "demo.launch.py"


@pytest.fixture(autouse=True)
def no_screen(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


def rig_options(started):
    (rig,) = started.of("segmif_rig")
    return parser().parse_args(rig["arguments"])


def test_rig_and_node_meet_on_the_same_topics_and_calibration(tmp_path):
    started = launch_stand_in.start(FILE, tmp_path, lighting="night", seed="7", rate="9")
    (rig,), (node,) = started.of("segmif_rig"), started.of("segmif_node")
    options = rig_options(started)
    assert (options.seed, options.lighting) == (7, "night")
    assert (options.rate, options.thermal_rate) == (9.0, 9.0)
    assert rig["namespace"] == "/"
    assert dict(node["remappings"])["~/input/thermal"] == "/thermal/image_raw"
    calibration = load_calibration(tmp_path / "rig.yaml")
    assert calibration.source.startswith("virtual rig, seed 7")
    assert node["parameters"][-1]["calibration_file"] == str(tmp_path / "rig.yaml")


def test_arguments_of_the_node_pass_through(tmp_path):
    (node,) = launch_stand_in.start(FILE, tmp_path, engine="null").of("segmif_node")
    assert node["parameters"][-1]["engine"] == "null"


def test_rviz_starts_where_there_are_rviz_and_a_screen(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setenv("DISPLAY", ":0")
    (rviz,) = launch_stand_in.start(FILE, tmp_path).of("/usr/bin/rviz2")
    assert rviz["arguments"] == ["-d", str(share_path("config", "segmif.rviz"))]
    assert not launch_stand_in.start(FILE, tmp_path, rviz="off").of("/usr/bin/rviz2")


@pytest.mark.parametrize(
    ("installed", "why"), [(None, "rviz2 is not installed"), ("/usr/bin/rviz2", "no screen")]
)
def test_a_line_says_why_there_is_no_rviz(tmp_path, monkeypatch, installed, why):
    monkeypatch.setattr(shutil, "which", lambda _: installed)
    started = launch_stand_in.start(FILE, tmp_path)
    assert len(started.processes) == 2
    (line,) = started.said
    assert why in line


def test_rviz_can_be_forced_where_no_screen_is_known(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert launch_stand_in.start(FILE, tmp_path, rviz="on").of("/usr/bin/rviz2")


@pytest.mark.parametrize(
    ("argument", "value", "told"),
    [
        ("rate", "0", "rate is '0'; expected a number, 0.1 to 1000"),
        ("rate", "fast", "rate is 'fast'"),
        ("seed", "-1", "seed is '-1'; expected a whole number"),
        ("prerender", "1.5", "prerender is '1.5'"),
        ("lighting", "fog", "'lighting' provided value 'fog' is not valid"),
    ],
)
def test_what_the_rig_cannot_do_is_refused(tmp_path, argument, value, told):
    launch_stand_in.refused(FILE, tmp_path, told, **{argument: value})
