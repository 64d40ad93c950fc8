# SPDX-License-Identifier: Apache-2.0
"""How much of this package a started node has read, lazily loaded modules included."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

MOST = {"openvino": (49, 9_650), "onnxruntime": (54, 10_820)}
"""Engine -> modules and lines. These only get smaller; the aim is 40 modules and 6,000 lines. ONNX
Runtime on the CPU loads the accuracy gate for files that are not the bundle's own precision."""
FOREIGN = ("rig", "report", "evaluation", "view", "recordings", "training", "network", "doctor")

ACTIVE_NODE = """
import json, sys
from pathlib import Path
import rclpy
from rclpy.parameter import Parameter
from segmif_ros.ros.node.node import SegmifNode
rclpy.init()
given = {"model": "segmif-nano", "engine": sys.argv[1]}
node = SegmifNode(parameter_overrides=[Parameter(n, value=v) for n, v in given.items()])
assert node.autostart(), node.last_error
ours = {n: m.__file__ for n, m in sys.modules.items() if n.split(".")[0] == "segmif_ros"}
lines = {name: len(Path(file).read_text().splitlines()) for name, file in ours.items()}
node.close(), node.destroy_node(), rclpy.shutdown()
print(json.dumps(lines))
"""


@pytest.mark.system
@pytest.mark.parametrize("engine", MOST)
def test_an_active_node_with_an_open_engine_has_read_little_of_the_package(
    engine, ros_domain, tmp_path
):
    ran = subprocess.run(
        [sys.executable, "-c", ACTIVE_NODE, engine],
        env=os.environ | {"ROS_DOMAIN_ID": str(ros_domain), "ROS_LOG_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    lines = json.loads(ran.stdout.splitlines()[-1])
    foreign = [name for name in lines if name.split(".")[1:2] and name.split(".")[1] in FOREIGN]
    assert not foreign, "the node needs none of these rooms"
    assert len(lines) <= MOST[engine][0], sorted(lines)
    assert sum(lines.values()) <= MOST[engine][1], lines
