# SPDX-License-Identifier: Apache-2.0
"""multi_rig.launch.py, executed against a stand-in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

import launch_stand_in

from segmif_ros.registration import load_calibration
from segmif_ros.rig.cameras.cameras import Rig, write_calibration
from segmif_ros.ros.tools.rig_options import parser

FILE = "multi_rig.launch.py"


def test_every_rig_gets_a_process_a_namespace_and_topics_of_its_own(tmp_path):
    started = launch_stand_in.start(FILE, tmp_path, count="4", rgb_topic="/cam{i}/image")
    nodes = started.of("segmif_node")
    assert len(started.processes) == len(nodes) == 4
    assert [node["namespace"] for node in nodes] == ["rig0", "rig1", "rig2", "rig3"]
    remaps = [dict(node["remappings"]) for node in nodes]
    assert [each["~/input/rgb"] for each in remaps] == [f"/cam{i}/image" for i in range(4)]
    assert remaps[3]["~/input/thermal"] == "/rig3/thermal/image_raw"
    assert all(node["respawn"] for node in nodes)


def test_the_cores_are_shared_out(tmp_path):
    def threads(**given: str) -> set[int]:
        nodes = launch_stand_in.start(FILE, tmp_path, **given).of("segmif_node")
        return {node["parameters"][-1]["engine_threads"] for node in nodes}

    cores = len(os.sched_getaffinity(0))
    assert threads(count="1") == {cores}
    assert threads(count="2") == {max(1, cores // 2)}
    assert threads(count="16", engine_threads="3") == {3}


def test_virtual_rigs_are_different_streets_that_fit_their_nodes(tmp_path):
    started = launch_stand_in.start(FILE, tmp_path, count="2", virtual="true", rate="12")
    rigs, nodes = started.of("segmif_rig"), started.of("segmif_node")
    options = [parser().parse_args(rig["arguments"]) for rig in rigs]
    assert [each.seed for each in options] == [1, 2]
    assert {each.rate for each in options} | {each.thermal_rate for each in options} == {12.0}
    for index, (rig, node) in enumerate(zip(rigs, nodes, strict=True)):
        assert rig["namespace"] == f"/rig{index}"
        assert dict(node["remappings"])["~/input/rgb"] == f"{rig['namespace']}/rgb/image_raw"
        path = Path(node["parameters"][-1]["calibration_file"])
        assert load_calibration(path).source.startswith(f"virtual rig, seed {index + 1}")


def test_files_are_one_a_rig_or_one_for_all(tmp_path):
    (tmp_path / "p.yaml").touch()
    for seed in (0, 1):
        write_calibration(tmp_path / f"c{seed}.yaml", Rig.default(), seed=seed)
    nodes = launch_stand_in.start(
        FILE,
        tmp_path,
        params_file=str(tmp_path / "p.yaml"),
        calibration_file=str(tmp_path / "c{i}.yaml"),
    ).of("segmif_node")
    assert {node["parameters"][0] for node in nodes} == {str(tmp_path / "p.yaml")}
    assert [Path(node["parameters"][1]["calibration_file"]).name for node in nodes] == [
        "c0.yaml",
        "c1.yaml",
    ]


@pytest.mark.parametrize(
    ("argument", "value", "told"),
    [
        ("rgb_topic", "/cam/image", "rgb_topic is '/cam/image', the same for 2 rigs"),
        ("calibration_file", "/etc/rig.yaml", "the same for 2 rigs"),
        ("calibration_file", "/nowhere/{i}.yaml", "is '/nowhere/0.yaml', and there is no such"),
        ("count", "17", "'count' provided value '17' is not valid"),
        ("engine", "cuda", "'engine' provided value 'cuda' is not valid"),
        ("rgb_topic", "/cam{j}/c{i}", "rgb_topic is '/cam{j}/c0': .* unknown substitution"),
    ],
)
def test_what_two_rigs_cannot_share_is_refused(tmp_path, argument, value, told):
    launch_stand_in.refused(FILE, tmp_path, told, **{argument: value})


def test_what_only_the_last_rig_lacks_is_found_before_the_first_one_starts(tmp_path):
    (tmp_path / "p0.yaml").touch()
    given = {"virtual": "true", "params_file": str(tmp_path / "p{i}.yaml")}
    launch_stand_in.refused(FILE, tmp_path, "p1.yaml', and there is no such file", **given)


def test_all_arguments_of_the_node_that_rigs_can_share_are_declared(tmp_path):
    alone = launch_stand_in.arguments("segmif.launch.py", tmp_path)
    assert set(alone) - set(launch_stand_in.arguments(FILE, tmp_path)) == {"namespace"}
    (node,) = launch_stand_in.start(FILE, tmp_path, count="1", respawn="false").of("segmif_node")
    assert not node["respawn"]
