# SPDX-License-Identifier: Apache-2.0
"""Start the virtual rig, the node, and RViz where it is installed.

ros2 launch segmif_ros demo.launch.py lighting:=night

All arguments of segmif.launch.py that have to do with the node work here too.
"""

import os
import shutil
from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    SetLaunchConfiguration,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.logging import launch_config
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription
from segmif_ros.launch_arguments import Argument, number, whole_number
from segmif_ros.rig.cameras.calibration import write_calibration
from segmif_ros.rig.cameras.cameras import Rig
from segmif_ros.rig.cameras.footage import TOUR
from segmif_ros.share import share_path

LIGHTINGS = (*(lighting.value for lighting in TOUR), "tour")
ARGUMENTS = {
    "seed": Argument("1", "street of the virtual rig"),
    "lighting": Argument("day", "light of the street; tour goes through all", LIGHTINGS),
    "rate": Argument("15", "images a second of both cameras"),
    "prerender": Argument("60", "pairs rendered ahead and shown to and fro, 2 MB each"),
    "rviz": Argument("auto", "auto: where there are RViz and a screen", ("auto", "on", "off")),
}


def start_rig(context: LaunchContext):
    seed, lighting, rate, prerender = (
        LaunchConfiguration(name).perform(context)
        for name in ("seed", "lighting", "rate", "prerender")
    )
    number("rate", rate, minimum=0.1)
    whole_number("prerender", prerender)
    calibration = Path(launch_config.log_dir) / "rig.yaml"
    write_calibration(calibration, Rig.default(), seed=whole_number("seed", seed))
    return [
        SetLaunchConfiguration("calibration_file", str(calibration)),
        Node(
            package="segmif_ros",
            executable="segmif_rig",
            name="rig",
            # Its topics are then those that segmif.launch.py and segmif.rviz have as defaults.
            namespace="/",
            arguments=[
                *("--seed", seed, "--lighting", lighting, "--prerender", prerender),
                *("--rate", rate, "--thermal-rate", rate),
            ],
            output="screen",
        ),
    ]


def start_rviz(context: LaunchContext):
    wanted = LaunchConfiguration("rviz").perform(context)
    if wanted == "off":
        return []
    program = shutil.which("rviz2")
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if program is None or (wanted == "auto" and not screen):
        why = "rviz2 is not installed" if program is None else "there is no screen"
        return [LogInfo(msg=f"no RViz: {why}; look at /segmif/output/overlay in another viewer")]
    config = str(share_path("config", "segmif.rviz"))
    return [Node(executable=program, arguments=["-d", config], output="log")]


def generate_launch_description():
    node = PythonLaunchDescriptionSource(str(Path(__file__).with_name("segmif.launch.py")))
    return LaunchDescription(
        [
            *(DeclareLaunchArgument(name, **a._asdict()) for name, a in ARGUMENTS.items()),
            OpaqueFunction(function=start_rig),
            IncludeLaunchDescription(node),
            OpaqueFunction(function=start_rviz),
        ]
    )
