# SPDX-License-Identifier: Apache-2.0
"""Start segmif_node on two camera topics, and restart it after a crash.

ros2 launch segmif_ros segmif.launch.py rgb_topic:=/front/image thermal_topic:=/flir/image

The node configures and activates itself unless autostart:=false, so no lifecycle tool is needed and
a restarted node configures itself. docs/launch.md has all arguments.
"""

from launch.actions import OpaqueFunction

from launch import LaunchContext, LaunchDescription
from segmif_ros.ros.tools import launching

ARGUMENTS = {**launching.CAMERAS, **launching.NODE}


def start(context: LaunchContext):
    return [launching.node(launching.values(ARGUMENTS, context))]


def generate_launch_description():
    return LaunchDescription([*launching.declared(ARGUMENTS), OpaqueFunction(function=start)])
