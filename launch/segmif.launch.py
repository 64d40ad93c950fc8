# SPDX-License-Identifier: Apache-2.0
"""Start segmif_node on two camera topics, and start it again if it dies.

ros2 launch segmif_ros segmif.launch.py rgb_topic:=/front/image thermal_topic:=/flir/image

The node configures and activates itself unless autostart:=false, so no lifecycle tool is needed and
a restarted node works again by itself. docs/launch.md has all arguments.
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription
from segmif_ros.engines import ENGINES
from segmif_ros.launch_arguments import (
    SWITCH,
    Argument,
    existing,
    is_on,
    model,
    number,
    whole_number,
)
from segmif_ros.ros.node.parameters import INPUT_TRANSPORTS as TRANSPORTS
from segmif_ros.ros.transport import transport_environment

ARGUMENTS = {
    "rgb_topic": Argument("/rgb/image_raw", "Image topic of the visible camera"),
    "rgb_info_topic": Argument("", "its CameraInfo; empty: camera_info beside rgb_topic"),
    "thermal_topic": Argument("/thermal/image_raw", "Image topic of the thermal camera"),
    "thermal_info_topic": Argument("", "its CameraInfo; empty: camera_info beside thermal_topic"),
    "input_transport": Argument(
        "", "raw, or which cameras come compressed; empty: as in params_file", ("", *TRANSPORTS)
    ),
    "model": Argument("", "model bundle: shipped name or folder; empty: as in params_file"),
    "engine": Argument("", "runtime of the model; empty: as in params_file", ("", *ENGINES)),
    "engine_threads": Argument("", "CPU threads, 0: all cores; empty: as in params_file"),
    "params_file": Argument("", "parameter YAML, see config/segmif.yaml; empty: the defaults"),
    "calibration_file": Argument("", "calibration YAML; empty: as in params_file"),
    "namespace": Argument("", "namespace of the node"),
    "use_sim_time": Argument("false", "take the time from /clock", SWITCH),
    "autostart": Argument(
        "",
        "false: a lifecycle manager configures and activates; empty: as in params_file",
        ("", *SWITCH),
    ),
    "respawn": Argument("true", "start the node again when it has ended", SWITCH),
    "respawn_delay": Argument("2.0", "seconds between the end and the next start"),
}


def start_node(context: LaunchContext):
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    parameters = {"use_sim_time": is_on(given["use_sim_time"])}
    if given["model"]:
        parameters["model"] = model("model", given["model"])
    for name in ("engine", "input_transport"):
        if given[name]:
            parameters[name] = given[name]
    if given["engine_threads"]:
        parameters["engine_threads"] = whole_number("engine_threads", given["engine_threads"])
    if given["calibration_file"]:
        parameters["calibration_file"] = existing("calibration_file", given["calibration_file"])
    if given["autostart"]:
        parameters["autostart"] = is_on(given["autostart"])
    files = [existing("params_file", given["params_file"])] if given["params_file"] else []
    return [
        Node(
            package="segmif_ros",
            executable="segmif_node",
            name="segmif",
            namespace=given["namespace"],
            parameters=[*files, parameters],
            remappings=[
                ("~/input/rgb", given["rgb_topic"]),
                ("~/input/thermal", given["thermal_topic"]),
                *(
                    (f"~/input/{camera}/camera_info", given[f"{camera}_info_topic"])
                    for camera in ("rgb", "thermal")
                    if given[f"{camera}_info_topic"]
                ),
            ],
            respawn=is_on(given["respawn"]),
            respawn_delay=number("respawn_delay", given["respawn_delay"]),
            output="screen",
        )
    ]


def generate_launch_description():
    environment = transport_environment()
    return LaunchDescription(
        [
            *(DeclareLaunchArgument(name, **a._asdict()) for name, a in ARGUMENTS.items()),
            *(SetEnvironmentVariable(name, value) for name, value in environment.items()),
            OpaqueFunction(function=start_node),
        ]
    )
