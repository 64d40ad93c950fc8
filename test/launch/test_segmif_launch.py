# SPDX-License-Identifier: Apache-2.0
"""segmif.launch.py, executed against a stand-in; test_real_launch.py has the real launch."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

import launch_stand_in

from segmif_ros.engines import ENGINES
from segmif_ros.parameters import SPECS
from segmif_ros.rig.cameras.cameras import Rig, write_calibration
from segmif_ros.ros.qos import CAMERA_INFO_INPUTS, DEPTH_INPUT, INPUT_TOPICS, POINTS_INPUT

FILE = "segmif.launch.py"


def started(log: Path, **given: str) -> dict[str, Any]:
    """The one node, as keywords of launch_ros's Node."""
    (node,) = launch_stand_in.start(FILE, log, **given).processes
    return node


def test_defaults_leave_every_parameter_to_the_node(tmp_path):
    node = started(tmp_path)
    assert (node["package"], node["executable"], node["name"]) == (
        "segmif_ros",
        "segmif_node",
        "segmif",
    )
    assert node["parameters"] == [{"use_sim_time": False}]
    assert dict(node["remappings"]) == {
        "~/input/rgb": "/rgb/image_raw",
        "~/input/thermal": "/thermal/image_raw",
    }


def test_what_is_remapped_are_inputs_of_the_node(tmp_path):
    node = started(
        tmp_path, rgb_info_topic="/a", thermal_info_topic="/b", points_topic="/c", depth_topic="/d"
    )
    inputs = {*INPUT_TOPICS.values(), *CAMERA_INFO_INPUTS.values(), POINTS_INPUT, DEPTH_INPUT}
    assert {old for old, _ in node["remappings"]} == inputs


def test_arguments_become_remaps_and_parameters(tmp_path, tiny_bundle):
    params, rig = tmp_path / "segmif.yaml", tmp_path / "rig.yaml"
    params.touch()
    write_calibration(rig, Rig.default(), seed=1)
    node = started(
        tmp_path,
        rgb_topic="/front/image",
        rgb_info_topic="/front/info",
        thermal_topic="/flir/image",
        model=str(tiny_bundle),
        engine="openvino",
        engine_threads="2",
        params_file=str(params),
        calibration_file=str(rig),
        namespace="veh",
        use_sim_time="True",
        autostart="false",
    )
    assert node["namespace"] == "veh"
    assert dict(node["remappings"]) == {
        "~/input/rgb": "/front/image",
        "~/input/rgb/camera_info": "/front/info",
        "~/input/thermal": "/flir/image",
    }
    assert node["parameters"] == [
        str(params),
        {
            "use_sim_time": True,
            "model": str(tiny_bundle),
            "engine": "openvino",
            "engine_threads": 2,
            "calibration_file": str(rig),
            "autostart": False,
        },
    ]


def test_a_node_that_crashed_is_started_again_unless_forbidden(tmp_path):
    node = started(tmp_path)
    assert (node["respawn"], node["respawn_delay"]) == (True, 2.0)
    node = started(tmp_path, respawn="false", respawn_delay="0.5")
    assert (node["respawn"], node["respawn_delay"]) == (False, 0.5)


@pytest.mark.parametrize(
    ("code", "ends"), [(1, True), (2, True), (3, False), (0, False), (-9, False)]
)
def test_a_node_that_no_restart_can_fix_ends_launch(tmp_path, code, ends):
    """A bad model would be started again for ever; what broke or was killed comes back."""
    ended = SimpleNamespace(returncode=code)
    with pytest.raises(RuntimeError, match=f"code {code}: it cannot") if ends else nullcontext():
        started(tmp_path)["on_exit"](ended, None)


@pytest.mark.parametrize(
    ("argument", "value", "told"),
    [
        ("params_file", "/nowhere/p.yaml", "params_file is '/nowhere/p.yaml', and there is no"),
        ("calibration_file", "rig.yaml", "calibration_file is 'rig.yaml', and there is no such"),
        ("model", "/nowhere/model", "model is '/nowhere/model', and there is no such folder"),
        ("engine_threads", "many", "engine_threads is 'many'; expected a whole number, 0 to 256"),
        ("respawn_delay", "-1", "respawn_delay is '-1'; expected a number, 0 or more"),
        ("engine", "cuda", "'engine' provided value 'cuda' is not valid"),
        ("autostart", "yes", "'autostart' provided value 'yes' is not valid"),
        ("rgb_topic", "9cam", "rgb_topic is '9cam': .* must not start with a number"),
        ("thermal_topic", "/flir/", "thermal_topic is '/flir/': .* must not end with"),
        ("thermal_topic", "/flir//ir", "must not contain repeated"),
        ("thermal_topic", "/fl ir", "must not contain characters other"),
        ("thermal_topic", "", "thermal_topic is empty"),
        ("rgb_info_topic", "--info", "rgb_info_topic is '--info': .* characters other"),
        ("thermal_info_topic", "/a/" + "b" * 250, "length should not exceed"),
        (
            "thermal_topic",
            "/rgb/image_raw",
            "rgb_topic and thermal_topic are both '/rgb/image_raw'",
        ),
        ("namespace", "9veh", "namespace is '9veh': .* starts with a number"),
        ("namespace", "veh/", "must not end with"),
        ("model", "segmif-nan", "model is 'segmif-nan': "),
    ],
)
def test_what_cannot_work_is_refused_before_a_process_starts(tmp_path, argument, value, told):
    launch_stand_in.refused(FILE, tmp_path, told, **{argument: value})


@pytest.mark.parametrize("name", ["a: b", "run #2", "'", "[1]", "{x", "1e5", "~", "null"])
def test_files_may_have_names_that_mean_something_in_yaml(tmp_path, name):
    """Launch reads parameters as YAML unless their type is given."""
    rig, params = tmp_path / name / "rig.yaml", tmp_path / name / "p.yaml"
    rig.parent.mkdir()
    params.touch()
    write_calibration(rig, Rig.default(), seed=1)
    node = started(tmp_path, calibration_file=str(rig), params_file=str(params))
    assert node["parameters"] == [
        str(params),
        {"use_sim_time": False, "calibration_file": str(rig)},
    ]


def test_the_name_of_a_shipped_model_is_left_to_the_node(tmp_path):
    assert started(tmp_path, model="segmif-nano")["parameters"][-1]["model"] == "segmif-nano"


def test_the_node_gets_the_transport_profile(tmp_path, monkeypatch):
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        monkeypatch.delenv(name, raising=False)
    environment = launch_stand_in.start(FILE, tmp_path).environment
    assert Path(environment["FASTRTPS_DEFAULT_PROFILES_FILE"]).name == "fastdds_shm.xml"
    assert environment["MALLOC_MMAP_THRESHOLD_"] == "33554432"


def test_every_parameter_argument_exists_on_the_node_and_offers_its_values(tmp_path):
    arguments = launch_stand_in.arguments(FILE, tmp_path)
    parameters = {"model", "engine", "engine_threads", "calibration_file", "autostart"}
    assert parameters <= set(arguments) & set(SPECS)
    assert arguments["engine"]["choices"] == ("", *ENGINES)


@pytest.mark.parametrize(
    "file", ["segmif.launch.py", "demo.launch.py", "replay.launch.py", "multi_rig.launch.py"]
)
def test_every_argument_is_described_and_every_default_is_a_choice(tmp_path, file):
    for name, words in launch_stand_in.arguments(file, tmp_path).items():
        assert len(words["description"]) > 10, name
        assert words["choices"] is None or words["default_value"] in words["choices"], name
