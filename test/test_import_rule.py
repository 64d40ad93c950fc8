# SPDX-License-Identifier: Apache-2.0
"""Who may import what, read from the source of every file.

What runs on a vehicle must not need torch, what runs on a workstation must not need ROS, and a
runtime may be absent as long as it is not opened.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import rooms

REPOSITORY = Path(__file__).resolve().parent.parent

ROS = frozenset(
    {
        "action_msgs",
        "ament_index_python",
        "builtin_interfaces",
        "cv_bridge",
        "diagnostic_msgs",
        "geometry_msgs",
        "launch",
        "launch_ros",
        "lifecycle_msgs",
        "rcl_interfaces",
        "rclpy",
        "rosgraph_msgs",
        "sensor_msgs",
        "std_msgs",
        "std_srvs",
        "tf2_msgs",
        "tf2_ros",
        "vision_msgs",
    }
)
TORCH = frozenset({"torch", "torchvision"})
RUNTIMES = frozenset({"onnxruntime", "openvino", "tensorrt", "tensorrt_rtx", "pycuda"})
TORCH_ROOMS = frozenset({"segmif_ros.network", "segmif_ros.training", "segmif_ros.export"})
ROS_ROOM = frozenset({"segmif_ros.ros"})
CLI = frozenset({"segmif_ros.cli"})


@dataclass(frozen=True)
class Rule:
    """What a room may not import: at all, and at the top of a file."""

    never: frozenset[str]
    not_at_top: frozenset[str] = frozenset()


_NO_ROS_NO_TORCH = ROS | TORCH | RUNTIMES | TORCH_ROOMS | ROS_ROOM | CLI
ROOMS: dict[str, Rule] = {
    "": Rule(_NO_ROS_NO_TORCH),
    "thermal": Rule(_NO_ROS_NO_TORCH),
    "calibration": Rule(_NO_ROS_NO_TORCH),
    "registration": Rule(_NO_ROS_NO_TORCH),
    "objects": Rule(_NO_ROS_NO_TORCH),
    # The accuracy gate runs in the node, which draws no streets.
    "engines": Rule(_NO_ROS_NO_TORCH | {"segmif_ros.rig"}),
    "datasets": Rule(_NO_ROS_NO_TORCH),
    "evaluation": Rule(_NO_ROS_NO_TORCH),
    "images": Rule(_NO_ROS_NO_TORCH),
    "metrics": Rule(_NO_ROS_NO_TORCH),
    "recordings": Rule(_NO_ROS_NO_TORCH),
    "report": Rule(_NO_ROS_NO_TORCH),
    "doctor": Rule(ROS | RUNTIMES, not_at_top=TORCH | TORCH_ROOMS | ROS_ROOM),
    "rig": Rule(_NO_ROS_NO_TORCH),
    "sync": Rule(_NO_ROS_NO_TORCH),
    "view": Rule(_NO_ROS_NO_TORCH),
    "ros": Rule(TORCH | RUNTIMES | TORCH_ROOMS | CLI),
    "network": Rule(ROS | RUNTIMES | ROS_ROOM | CLI | {"segmif_ros.training"}),
    "training": Rule(ROS | RUNTIMES | ROS_ROOM | CLI),
    "export": Rule(ROS | RUNTIMES | ROS_ROOM | CLI),
    "cli": Rule(ROS | RUNTIMES, not_at_top=TORCH | TORCH_ROOMS | ROS_ROOM),
}

EXCEPTIONS: dict[str, frozenset[str]] = {
    "engines/onnxruntime.py": frozenset({"onnxruntime"}),
    "engines/openvino.py": frozenset({"openvino"}),
    "engines/tensorrt/api.py": frozenset({"tensorrt", "tensorrt_rtx"}),
    "engines/tensorrt/buffers.py": frozenset({"pycuda"}),
    # An export is compared with the network before it becomes a bundle that an engine could open.
    "export/export.py": frozenset({"onnxruntime"}),
    # Its quantisation tools, which need no session of the network that an engine could open.
    "export/precision.py": frozenset({"onnxruntime"}),
}


def within(name: str, modules: frozenset[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def violations(path: str, source: str) -> list[str]:
    """What a file of the package imports against the rule of its room.

    Args:
        path: relative to the package, for example "ros/node/node.py".
        source: text of the file.
    """
    room = path.rpartition("/")[0].split("/")[0]
    rule, allowed = ROOMS[room], EXCEPTIONS.get(path, frozenset())
    package = ".".join(["segmif_ros", *path.split("/")[:-1]])
    found = []
    for each in rooms.imports(ast.parse(source), package):
        forbidden = within(each.name, rule.never - allowed)
        if forbidden or (each.at_top and within(each.name, rule.not_at_top)):
            found.append(f"{path}:{each.line} imports {each.name}")
    return found


FILES = rooms.files()

ABOVE_ENGINES = frozenset({"api", "perceiver", "parameters"})
"""Top-level modules that stand on rooms; all others are nouns that import none."""

UPWARD = {
    "ros.node.node -> ros/diagnostics",
}
"""Arrows against the order that still exist. This list only gets shorter."""

CIRCLES: set[frozenset[str]] = set()
"""Import circles between files that still exist. This list only gets shorter."""


def test_rooms_import_only_rooms_before_them() -> None:
    upward = {
        f"{module} -> {rooms.room_of(target)}"
        for module, targets in rooms.arrows().items()
        for target in targets
        if rooms.ORDER.index(rooms.room_of(module)) < rooms.ORDER.index(rooms.room_of(target))
        and module not in ABOVE_ENGINES
    }
    assert upward == UPWARD


def test_no_two_files_import_each_other_in_a_circle() -> None:
    graph = rooms.arrows()

    def reach(start: str) -> set[str]:
        seen: set[str] = set()
        todo = [start]
        while todo:
            for target in graph[todo.pop()] - seen:
                seen.add(target)
                todo.append(target)
        return seen

    reached = {module: reach(module) for module in graph}
    circles = {
        frozenset(other for other in reached[module] if module in reached[other])
        for module in graph
        if module in reached[module]
    }
    assert circles == CIRCLES


def test_the_rooms_of_the_rig_have_an_order_too() -> None:
    order = ["scene", "cameras", "draw"]
    for module, targets in rooms.arrows().items():
        if module.startswith("rig.") and module.split(".")[1] in order:
            later = order[order.index(module.split(".")[1]) + 1 :]
            assert not [t for t in targets if t.startswith(tuple(f"rig.{r}." for r in later))]


@pytest.mark.parametrize("path", FILES)
def test_every_file_keeps_the_rule_of_its_room(path: str) -> None:
    assert violations(path, (rooms.PACKAGE / path).read_text(encoding="utf-8")) == []


def test_every_room_has_a_rule() -> None:
    folders = {
        path.parent.relative_to(rooms.PACKAGE).parts[:1] for path in rooms.PACKAGE.rglob("*.py")
    }
    assert {parts[0] if parts else "" for parts in folders} == set(ROOMS)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("bundle.py", "import rclpy"),
        ("bundle.py", "import torch.nn as nn"),
        ("bundle.py", "def f():\n    from rclpy.node import Node"),
        ("bundle.py", "try:\n    from sensor_msgs.msg import Image\nexcept ImportError:\n    pass"),
        ("bundle.py", "import onnxruntime"),
        ("bundle.py", "from segmif_ros.ros import node"),
        ("bundle.py", "from .network import segmif"),
        ("bundle.py", "from importlib import import_module\nimport_module('torch')"),
        ("bundle.py", "if TYPE_CHECKING:\n    import torch"),
        ("engines/openvino.py", "def f():\n    import onnxruntime"),
        ("engines/openvino.py", "from ..ros import node"),
        ("engines/base.py", "import tensorrt"),
        ("rig/scene/scene.py", "from torch import Tensor"),
        ("rig/scene/scene.py", "from segmif_ros import ros"),
        ("ros/node/node.py", "def f():\n    import torch"),
        ("ros/node/node.py", "from segmif_ros.training import loop"),
        ("ros/node/node.py", "import openvino"),
        ("training/loop.py", "import rclpy"),
        ("cli/demo.py", "from segmif_ros.ros.tools.player import play"),
        ("cli/demo.py", "def f():\n    import rclpy"),
        ("cli/train.py", "import torch"),
        ("cli/train.py", "class A:\n    import torch"),
    ],
)
def test_the_check_finds_what_breaks_the_rule(path: str, source: str) -> None:
    assert len(violations(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("bundle.py", "import json, numpy\nfrom segmif_ros.frames import Image8"),
        ("bundle.py", "def f():\n    import onnx"),
        ("bundle.py", "import torchmetrics_lookalike"),
        ("engines/__init__.py", "from segmif_ros.engines.openvino import OpenVinoEngine"),
        ("engines/openvino.py", "def f():\n    import openvino as ov"),
        ("ros/node/node.py", "import rclpy\nfrom segmif_ros.rig.scene.scene import Scene"),
        ("training/loop.py", "import torch\nfrom segmif_ros.network.segmif import SegMiF"),
        ("cli/demo.py", "def f():\n    from segmif_ros.ros.tools.player import play"),
        ("cli/train.py", "def f():\n    import torch"),
        (
            "cli/demo.py",
            "if TYPE_CHECKING:\n    from segmif_ros.ros.tools.recorder import Recorder",
        ),
    ],
)
def test_the_check_leaves_the_rest_alone(path: str, source: str) -> None:
    assert violations(path, source) == []


def test_the_core_rooms_really_load_without_ros_torch_or_a_runtime() -> None:
    """The same promise at run time: what a module imports indirectly counts too."""
    rooms = ("", "calibration", "datasets", "engines", "rig", "evaluation", "view")
    modules = [
        ".".join(["segmif_ros", *Path(path).with_suffix("").parts]).removesuffix(".__init__")
        for path in FILES
        if (path.split("/")[0] if "/" in path else "") in rooms
    ]
    code = (
        "import importlib, sys\n"
        f"for name in {modules!r}:\n    importlib.import_module(name)\n"
        f"print(sorted(set({sorted(ROS | TORCH | RUNTIMES)!r}).intersection(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
