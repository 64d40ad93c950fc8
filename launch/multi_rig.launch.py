# SPDX-License-Identifier: Apache-2.0
"""Start one node for each of several camera pairs, every node a process of its own.

ros2 launch segmif_ros multi_rig.launch.py count:=4 rgb_topic:=/cam{i}/rgb thermal_topic:=/cam{i}/ir

The nodes are /rig0/segmif, /rig1/segmif and so on; {i} is that number. virtual:=true starts a
virtual rig for each: a measurement of what one machine carries needs no camera. The arguments of
segmif.launch.py that are not named here work here too, for all nodes alike.
"""

import os
from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    OpaqueFunction,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.logging import launch_config
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription
from segmif_ros.launch_arguments import SWITCH, Argument, is_on, number, numbered, whole_number
from segmif_ros.rig.cameras.calibration import write_calibration
from segmif_ros.rig.cameras.cameras import Rig

MOST_RIGS = 16
PATTERNS = {
    "rgb_topic": Argument("/rig{i}/rgb/image_raw", "visible camera; {i} is the rig's number"),
    "thermal_topic": Argument("/rig{i}/thermal/image_raw", "thermal camera; {i} as above"),
    "rgb_info_topic": Argument("", "CameraInfo with {i}; empty: camera_info beside rgb_topic"),
    "thermal_info_topic": Argument("", "likewise of the thermal camera"),
    "calibration_file": Argument("", "calibration YAML with {i}; empty: as in params_file"),
    "params_file": Argument("", "parameter YAML, one for all or with {i}; empty: the defaults"),
}
ARGUMENTS = {
    "count": Argument("2", "number of rigs", tuple(str(n) for n in range(1, MOST_RIGS + 1))),
    **PATTERNS,
    "engine_threads": Argument("", "threads of each engine; empty: the cores divided by count"),
    "virtual": Argument("false", "start a virtual rig for each node", SWITCH),
    "rate": Argument("15", "with virtual: images a second of both cameras"),
    "prerender": Argument("60", "with virtual: pairs rendered ahead, 2 MB each"),
}
SHARED_BY_RIGS = ("params_file",)


def virtual_rig(context: LaunchContext, index: int):
    """Return the process, and the calibration file that it needs."""
    given = {name: LaunchConfiguration(name).perform(context) for name in ("rate", "prerender")}
    number("rate", given["rate"], minimum=0.1)
    whole_number("prerender", given["prerender"])
    seed = index + 1
    calibration = Path(launch_config.log_dir) / f"rig{index}.yaml"
    write_calibration(calibration, Rig.default(), seed=seed)
    process = Node(
        package="segmif_ros",
        executable="segmif_rig",
        name="rig",
        namespace=f"/rig{index}",
        arguments=[
            *("--seed", str(seed), "--prerender", given["prerender"]),
            *("--rate", given["rate"], "--thermal-rate", given["rate"]),
        ],
        output="screen",
    )
    return process, str(calibration)


def start_rigs(context: LaunchContext):
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    count = int(given["count"])
    node = str(Path(__file__).with_name("segmif.launch.py"))
    threads = given["engine_threads"] or str(max(1, len(os.sched_getaffinity(0)) // count))
    groups = []
    for index in range(count):
        chosen = {
            name: given[name]
            if name in SHARED_BY_RIGS and "{i}" not in given[name]
            else numbered(name, given[name], index, count=count)
            for name in PATTERNS
        }
        processes = []
        if is_on(given["virtual"]):
            process, calibration = virtual_rig(context, index)
            processes = [process]
            chosen["calibration_file"] = chosen["calibration_file"] or calibration
        chosen |= {"namespace": f"rig{index}", "engine_threads": threads}
        include = IncludeLaunchDescription(
            PythonLaunchDescriptionSource(node), launch_arguments=chosen.items()
        )
        # A group keeps the arguments of one rig from the next.
        groups.append(GroupAction([include, *processes]))
    return groups


def generate_launch_description():
    return LaunchDescription(
        [
            *(DeclareLaunchArgument(name, **a._asdict()) for name, a in ARGUMENTS.items()),
            OpaqueFunction(function=start_rigs),
        ]
    )
