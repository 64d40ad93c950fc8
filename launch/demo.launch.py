# SPDX-License-Identifier: Apache-2.0
"""Start the virtual rig, the node, and RViz where it is installed.

ros2 launch segmif_ros demo.launch.py lighting:=night

The arguments of segmif.launch.py that have to do with the node work here too.
"""

import os
import shutil
from pathlib import Path

from launch.actions import LogInfo, OpaqueFunction
from launch.logging import launch_config
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription
from segmif_ros.rig.draw.footage import TOUR
from segmif_ros.ros.tools import launching
from segmif_ros.ros.tools.launching import Argument
from segmif_ros.share import share_path

LIGHTINGS = (*(lighting.value for lighting in TOUR), "tour")
ARGUMENTS = {
    "seed": Argument("1", "street of the virtual rig"),
    "lighting": Argument("day", "light of the street; tour goes through all", LIGHTINGS),
    **launching.RIG,
    "rviz": Argument("auto", "auto: where there are RViz and a screen", ("auto", "on", "off")),
    **launching.NODE,
}


def start(context: LaunchContext):
    given = launching.values(ARGUMENTS, context)
    rig, calibration = launching.rig(
        given,
        Path(launch_config.log_dir),
        # Its topics are then those that segmif.launch.py and segmif.rviz have as defaults.
        namespace="/",
        seed=launching.whole_number("seed", given["seed"]),
        lighting=given["lighting"],
    )
    node = launching.node(given | {"calibration_file": calibration})
    return [rig, node, *start_rviz(given["rviz"])]


def start_rviz(wanted: str):
    if wanted == "off":
        return []
    program = shutil.which("rviz2")
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if program is None or (wanted == "auto" and not screen):
        why = "rviz2 is not installed" if program is None else "there is no screen"
        return [LogInfo(msg=f"no RViz: {why}; open /segmif/output/overlay in another viewer")]
    config = str(share_path("config", "segmif.rviz"))
    return [Node(executable=program, arguments=["-d", config], output="log")]


def generate_launch_description():
    return LaunchDescription([*launching.declared(ARGUMENTS), OpaqueFunction(function=start)])
