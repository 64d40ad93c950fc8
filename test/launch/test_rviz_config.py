# SPDX-License-Identifier: Apache-2.0
"""The RViz file shows topics that exist, with keys that RViz reads and a QoS that connects."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

import launch_stand_in
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from segmif_ros.datasets.classes import load_classes
from segmif_ros.objects.clouds import ADDED
from segmif_ros.recordings.writer import FRAME_IDS
from segmif_ros.ros.qos import DERIVED_TOPICS, IMAGE_TOPICS, image_output
from segmif_ros.share import share_path

DISPLAY_KEYS = {
    *("Class", "Enabled", "Name", "Topic", "Value"),
    *("Normalize Range", "Min Value", "Max Value", "Median window"),
}
CLOUD_KEYS = {
    *("Class", "Enabled", "Name", "Topic", "Value", "Alpha", "Autocompute Intensity Bounds"),
    *("Channel Name", "Color Transformer", "Decay Time", "Invert Rainbow", "Max Intensity"),
    *("Min Intensity", "Position Transformer", "Selectable", "Size (Pixels)", "Style"),
    *("Use Fixed Frame", "Use rainbow"),
}
TOPIC_KEYS = {"Value", "Depth", "Durability Policy", "History Policy", "Reliability Policy"}


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    return yaml.safe_load(share_path("config", "segmif.rviz").read_text())


@pytest.fixture(scope="module")
def displays(content) -> list[dict[str, Any]]:
    return content["Visualization Manager"]["Displays"]


@pytest.fixture(scope="module")
def remaps(tmp_path_factory) -> dict[str, str]:
    """Input of the node -> topic, as segmif.launch.py has it by default."""
    log = tmp_path_factory.mktemp("log")
    (node,) = launch_stand_in.start("segmif.launch.py", log).processes
    assert node["name"] == "segmif"
    return dict(node["remappings"])


def shown(displays: list[dict[str, Any]]) -> set[str]:
    return {d["Topic"]["Value"] for d in displays if d["Enabled"] and d["Value"]}


def qos(topic: dict[str, Any]) -> QoSProfile:
    """The reader that RViz makes of it; a word that RViz does not know raises."""
    words = {name: topic[f"{name} Policy"].upper().replace(" ", "_") for name in POLICIES}
    return QoSProfile(
        depth=topic["Depth"], **{n.lower(): POLICIES[n][word] for n, word in words.items()}
    )


POLICIES = {
    "History": HistoryPolicy,
    "Reliability": ReliabilityPolicy,
    "Durability": DurabilityPolicy,
}


def test_the_file_has_the_parts_that_rviz_opens(content):
    assert set(content) == {"Panels", "Visualization Manager", "Window Geometry"}
    manager = content["Visualization Manager"]
    assert {"Displays", "Global Options", "Name", "Tools", "Value"} <= set(manager)
    assert [panel["Class"] for panel in content["Panels"]] == ["rviz_common/Displays"]
    assert manager["Global Options"]["Fixed Frame"]


def test_every_display_shows_images_or_points_with_all_of_its_keys(displays):
    for display in displays:
        kind = display["Class"].removeprefix("rviz_default_plugins/")
        keys = {"Image": DISPLAY_KEYS, "PointCloud2": CLOUD_KEYS}[kind]
        assert set(display) == keys, display["Name"]
        more = {"Filter size"} if kind == "PointCloud2" else set()
        assert set(display["Topic"]) == TOPIC_KEYS | more, display["Name"]
        assert display["Enabled"] == display["Value"], display["Name"]
    names = [display["Name"] for display in displays]
    assert len(names) == len(set(names))


def test_what_people_look_at_is_shown_and_nothing_else_is_subscribed_to(displays, remaps):
    """A disabled image display is not left alone: RViz subscribes, and the node computes it."""
    names = ("fused", "overlay", "temperature", "points")
    outputs = {f"/segmif/output/{name}" for name in names}
    assert all(display["Enabled"] for display in displays)
    assert shown(displays) == outputs | {remaps["~/input/rgb"], remaps["~/input/thermal"]}


def test_points_are_coloured_by_label_in_the_frame_of_the_rgb_images(content, displays):
    (cloud,) = (d for d in displays if d["Class"].endswith("/PointCloud2"))
    assert cloud["Channel Name"] in {name for name, _, _ in ADDED}
    assert cloud["Max Intensity"] == max(label.id for label in load_classes("fmb15"))
    fixed = content["Visualization Manager"]["Global Options"]["Fixed Frame"]
    assert fixed == FRAME_IDS["rgb"]


def test_the_window_opens_as_a_grid_of_the_four_images_beside_the_points(content, displays):
    """The state of the window is Qt's: an orientation, a number of parts, and a name for each."""
    window = content["Window Geometry"]
    state = bytes.fromhex(window["QMainWindow State"])
    left, right = state.split(bytes.fromhex("00000001 00000118 00000384"))
    assert docks(left) == ["Visible camera", "Fused", "Thermal camera", "Overlay"]
    assert docks(right) == ["Displays", "Temperature"]
    middle = int.from_bytes(right[-32:-28], "big")
    assert middle > 300, "pixels for the view of the points"
    images = {d["Name"] for d in displays if d["Class"].endswith("/Image")}
    names = images | {"Displays"}
    assert {name for name in window if isinstance(window[name], dict)} == names
    assert not any(window[name]["collapsed"] for name in names)
    assert window["Hide Left Dock"] is window["Hide Right Dock"] is False


def docks(state: bytes) -> list[str]:
    """Names of the docks in their order: column by column, each from the top."""
    found, at = [], state.find(DOCK)
    while at >= 0:
        size = int.from_bytes(state[at + 1 : at + 5], "big")
        found.append(state[at + 5 : at + 5 + size].decode("utf-16-be"))
        visible = state[at + 5 + size]
        assert visible == 1, found[-1]
        at = state.find(DOCK, at + 5 + size)
    return found


DOCK = b"\xfb"


def test_every_topic_exists_and_its_reader_connects(displays, remaps):
    outputs = {topic.replace("~", "/segmif") for topic, _ in IMAGE_TOPICS.values()}
    outputs |= {topic.replace("~", "/segmif") for topic in DERIVED_TOPICS.values()}
    for display in displays:
        topic, reader = display["Topic"], qos(display["Topic"])
        assert reader.durability == DurabilityPolicy.VOLATILE
        if topic["Value"] in outputs:
            assert reader.reliability == image_output().reliability
        else:
            assert topic["Value"] in remaps.values()
            # A camera driver may be best effort, and then does not match a reliable reader.
            assert reader.reliability == ReliabilityPolicy.BEST_EFFORT


def test_thermal_counts_are_stretched(displays, remaps):
    (thermal,) = [d for d in displays if d["Topic"]["Value"] == remaps["~/input/thermal"]]
    assert thermal["Normalize Range"] is True
