# SPDX-License-Identifier: Apache-2.0
"""The launch file, with the real launch where it is installed and a stand-in where it is not."""

from __future__ import annotations

import importlib.util
import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

FILE = Path(__file__).resolve().parents[2] / "launch" / "segmif.launch.py"
HAS_LAUNCH = importlib.util.find_spec("launch_ros") is not None


class Action:
    """Keeps what it was called with."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args, self.kwargs = args, kwargs


class Configuration(Action):
    def perform(self, context: dict[str, str]) -> str:
        return context[self.args[0]]


@pytest.fixture
def stand_in(monkeypatch):
    """The parts of launch that the file uses; launch has no wheel on PyPI."""
    contents = {
        "launch": {"LaunchContext": dict, "LaunchDescription": Action},
        "launch.actions": {
            name: type(name, (Action,), {})
            for name in ("DeclareLaunchArgument", "OpaqueFunction", "SetEnvironmentVariable")
        },
        "launch.substitutions": {"LaunchConfiguration": Configuration},
        "launch_ros": {},
        "launch_ros.actions": {"Node": type("Node", (Action,), {})},
    }
    for name, members in contents.items():
        module = types.ModuleType(name)
        module.__dict__.update(members)
        monkeypatch.setitem(sys.modules, name, module)


def load() -> Any:
    spec = importlib.util.spec_from_file_location("segmif_launch", FILE)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    assert spec.loader is not None
    spec.loader.exec_module(module)
    return module


def started(**given: str) -> dict[str, Any]:
    """Execute the file with launch arguments and return the node's keyword arguments."""
    description = load().generate_launch_description()
    actions = description.args[0]
    values = {
        a.args[0]: a.kwargs["default_value"]
        for a in actions
        if type(a).__name__ == "DeclareLaunchArgument"
    }
    assert set(given) <= set(values)
    (function,) = [a.kwargs["function"] for a in actions if type(a).__name__ == "OpaqueFunction"]
    (node,) = function(values | given)
    return node.kwargs


@pytest.mark.usefixtures("stand_in")
def test_defaults_leave_every_parameter_to_the_node():
    node = started()
    assert (node["package"], node["executable"], node["name"]) == (
        "segmif_ros",
        "segmif_node",
        "segmif",
    )
    assert node["parameters"] == [{"use_sim_time": False}]
    assert node["remappings"] == [
        ("~/input/rgb", "/rgb/image_raw"),
        ("~/input/thermal", "/thermal/image_raw"),
    ]


@pytest.mark.usefixtures("stand_in")
def test_arguments_become_remaps_and_parameters():
    node = started(
        rgb_topic="/front/image",
        thermal_topic="/flir/image",
        model="/models/mine",
        engine="openvino",
        params_file="/etc/segmif.yaml",
        calibration_file="/etc/rig.yaml",
        namespace="veh",
        use_sim_time="True",
        autostart="false",
    )
    assert node["namespace"] == "veh"
    assert node["remappings"][1] == ("~/input/thermal", "/flir/image")
    assert node["parameters"] == [
        "/etc/segmif.yaml",
        {
            "model": "/models/mine",
            "engine": "openvino",
            "calibration_file": "/etc/rig.yaml",
            "use_sim_time": True,
            "autostart": False,
        },
    ]


@pytest.mark.usefixtures("stand_in")
def test_a_switch_that_is_neither_true_nor_false_is_refused():
    with pytest.raises(ValueError, match="autostart is 'yes', expected true or false"):
        started(autostart="yes")


@pytest.mark.usefixtures("stand_in")
def test_environment_and_descriptions(monkeypatch):
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        monkeypatch.delenv(name, raising=False)
    actions = load().generate_launch_description().args[0]
    environment = dict(a.args for a in actions if type(a).__name__ == "SetEnvironmentVariable")
    assert Path(environment["FASTRTPS_DEFAULT_PROFILES_FILE"]).name == "fastdds_shm.xml"
    assert environment["MALLOC_MMAP_THRESHOLD_"] == "33554432"
    arguments = [a for a in actions if type(a).__name__ == "DeclareLaunchArgument"]
    assert all(a.kwargs["description"] for a in arguments)


@pytest.mark.usefixtures("stand_in")
def test_every_parameter_argument_exists_on_the_node():
    from segmif_ros.ros.parameters import SPECS

    module = load()
    assert {*module.OPTIONAL_PARAMETERS, "autostart"} <= set(SPECS)


@pytest.mark.system
@pytest.mark.skipif(not HAS_LAUNCH, reason="launch and launch_ros are not installed (not on PyPI)")
def test_with_the_real_launch(tiny_bundle, capfd, monkeypatch, tmp_path):
    """Start the node through launch and stop it: exit code 0 and an active node in between."""
    from launch.actions import IncludeLaunchDescription, RegisterEventHandler, Shutdown
    from launch.event_handlers import OnProcessExit, OnProcessIO
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    from launch import LaunchDescription, LaunchService

    monkeypatch.setenv("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path))
    codes: list[int] = []
    service = LaunchService()

    def on_text(event: Any) -> Any:
        return [Shutdown()] if b"active: listening to /a, /b" in event.text else None

    service.include_launch_description(
        LaunchDescription(
            [
                IncludeLaunchDescription(
                    PythonLaunchDescriptionSource(str(FILE)),
                    launch_arguments={
                        "rgb_topic": "/a",
                        "thermal_topic": "/b",
                        "model": str(tiny_bundle),
                        "engine": "onnxruntime",
                    }.items(),
                ),
                RegisterEventHandler(OnProcessIO(on_stdout=on_text, on_stderr=on_text)),
                RegisterEventHandler(
                    OnProcessExit(on_exit=lambda event, _: codes.append(event.returncode))
                ),
            ]
        )
    )
    assert service.run() == 0
    assert codes == [0], capfd.readouterr().out
