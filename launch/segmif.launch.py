# SPDX-License-Identifier: Apache-2.0
"""Start segmif_node on two camera topics.

ros2 launch segmif_ros segmif.launch.py rgb_topic:=/front/image thermal_topic:=/flir/image

The node configures and activates itself unless autostart:=false.
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription
from segmif_ros.ros.transport import transport_environment

ARGUMENTS = (
    ("rgb_topic", "/rgb/image_raw", "sensor_msgs/Image topic of the visible camera"),
    ("thermal_topic", "/thermal/image_raw", "sensor_msgs/Image topic of the thermal camera"),
    ("model", "", "model bundle: shipped name or folder; empty: as in params_file"),
    ("engine", "", "runtime, for example auto, openvino, onnxruntime; empty: as in params_file"),
    ("params_file", "", "parameter YAML; empty: the defaults (config/segmif.yaml lists them)"),
    ("calibration_file", "", "calibration YAML; empty: as in params_file"),
    ("namespace", "", "namespace of the node"),
    ("use_sim_time", "false", "take the time from /clock: true or false"),
    ("autostart", "", "false: a lifecycle manager drives the node; empty: as in params_file"),
)
OPTIONAL_PARAMETERS = ("model", "engine", "calibration_file")


def yes_or_no(name, text):
    if text.lower() not in ("true", "false"):
        raise ValueError(f"launch argument {name} is {text!r}, expected true or false")
    return text.lower() == "true"


def start_node(context: LaunchContext):
    given = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    overrides = {name: given[name] for name in OPTIONAL_PARAMETERS if given[name]}
    overrides["use_sim_time"] = yes_or_no("use_sim_time", given["use_sim_time"])
    if given["autostart"]:
        overrides["autostart"] = yes_or_no("autostart", given["autostart"])
    files = [given["params_file"]] if given["params_file"] else []
    return [
        Node(
            package="segmif_ros",
            executable="segmif_node",
            name="segmif",
            namespace=given["namespace"],
            parameters=[*files, overrides],
            remappings=[
                ("~/input/rgb", given["rgb_topic"]),
                ("~/input/thermal", given["thermal_topic"]),
            ],
            output="screen",
        )
    ]


def generate_launch_description():
    environment = transport_environment()
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, default, description in ARGUMENTS
            ),
            *(SetEnvironmentVariable(name, value) for name, value in environment.items()),
            OpaqueFunction(function=start_node),
        ]
    )
