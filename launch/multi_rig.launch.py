# SPDX-License-Identifier: Apache-2.0
"""Start one node for each of several camera pairs, every node a process of its own.

ros2 launch segmif_ros multi_rig.launch.py count:=4 rgb_topic:=/cam{i}/rgb thermal_topic:=/cam{i}/ir

The nodes are /rig0/segmif, /rig1/segmif and so on; {i} is that number. virtual:=true starts a
virtual rig for each: a measurement of what one machine carries needs no camera.
"""

import os
from pathlib import Path

from launch.actions import OpaqueFunction
from launch.logging import launch_config

from launch import LaunchContext, LaunchDescription
from segmif_ros.ros.tools import launching
from segmif_ros.ros.tools.launching import SWITCH, Argument

MOST_RIGS = 16
PATTERNS = {
    "rgb_topic": Argument("/rig{i}/rgb/image_raw", "visible camera; {i} is the rig's number"),
    "thermal_topic": Argument("/rig{i}/thermal/image_raw", "thermal camera; {i} as above"),
    "rgb_info_topic": Argument("", "CameraInfo with {i}; empty: camera_info beside rgb_topic"),
    "thermal_info_topic": Argument("", "likewise of the thermal camera"),
    "points_topic": Argument("", "PointCloud2 of a LiDAR, with {i}"),
    "depth_topic": Argument("", "depth image beside the RGB camera, with {i}"),
    "calibration_file": Argument("", "calibration YAML with {i}; empty: as in params_file"),
    "params_file": Argument("", "parameter YAML, one for all or with {i}; empty: the defaults"),
}
SHARED_BY_RIGS = ("params_file",)
FOR_ALL = {**launching.CAMERAS, **launching.NODE}
ARGUMENTS = {
    "count": Argument("2", "number of rigs", tuple(str(n) for n in range(1, MOST_RIGS + 1))),
    **PATTERNS,
    "engine_threads": Argument("", "threads of each engine; empty: the cores divided by count"),
    "virtual": Argument("false", "start a virtual rig for each node", SWITCH),
    **launching.RIG,
    **{name: FOR_ALL[name] for name in FOR_ALL if name not in (*PATTERNS, "engine_threads")},
}
del ARGUMENTS["namespace"]


def start(context: LaunchContext):
    given = launching.values(ARGUMENTS, context)
    count = int(given["count"])
    threads = given["engine_threads"] or str(max(1, len(os.sched_getaffinity(0)) // count))
    processes = []
    for index in range(count):
        chosen = {
            name: given[name]
            if name in SHARED_BY_RIGS and "{i}" not in given[name]
            else launching.numbered(name, given[name], index, count=count)
            for name in PATTERNS
        }
        if launching.is_on(given["virtual"]):
            folder, namespace = Path(launch_config.log_dir), f"/rig{index}"
            rig, calibration = launching.rig(given, folder, namespace=namespace, seed=index + 1)
            processes.append(rig)
            chosen["calibration_file"] = chosen["calibration_file"] or calibration
        chosen |= {"namespace": f"rig{index}", "engine_threads": threads}
        processes.append(launching.node(given | chosen))
    return processes


def generate_launch_description():
    return LaunchDescription([*launching.declared(ARGUMENTS), OpaqueFunction(function=start)])
