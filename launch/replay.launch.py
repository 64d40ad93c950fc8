# SPDX-License-Identifier: Apache-2.0
"""Play a bag, start the node on it, and record what comes out.

ros2 launch segmif_ros replay.launch.py bag:=drive_bag record:=result_bag

The player and the recorder are `segmif bag`, which is there in every installation; rosbag2 is not.
Ends by itself when the bag has been played.
"""

import sys
from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    Shutdown,
    TimerAction,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

from launch import LaunchContext, LaunchDescription
from segmif_ros.launch_arguments import SWITCH, Argument, is_on, number
from segmif_ros.recordings.bags import IMAGE, summarize

SEGMIF = (sys.executable, "-m", "segmif_ros.cli.main")
"""The interpreter that runs this file has the package; `segmif` itself may not be in PATH."""

OUTPUTS = "fused mask confidence labels"
ARGUMENTS = {
    "bag": Argument(None, "bag to play: a folder, or a single .mcap or .db3 file"),
    "rgb_topic": Argument("/rgb/image_raw", "visible camera's topic in the bag"),
    "thermal_topic": Argument("/thermal/image_raw", "thermal camera's topic in the bag"),
    "rate": Argument("1.0", "speed of playing"),
    "loop": Argument("false", "start again at the end, until interrupted", SWITCH),
    "record": Argument("", "bag to write; empty: record nothing"),
    "record_outputs": Argument(OUTPUTS, "outputs of the node to record, besides /diagnostics"),
    "use_sim_time": Argument("true", "the bag's time on /clock; false: as if now", SWITCH),
}
WAIT_S = "60"
"""How long the player waits for the node to subscribe: a model may have to be compiled."""
DRAIN_S = 3.0
"""Between the last image and the end of the node and the recorder."""


def check_topics(bag: str, *wanted: str):
    summary = summarize(Path(bag).expanduser())
    held = {topic.name for topic in summary.of_type(IMAGE)}
    for topic in wanted:
        if topic not in held:
            raise ValueError(
                f"no images on {topic!r} in {bag}; it holds {summary.listing()}; "
                "name the cameras with rgb_topic:= and thermal_topic:="
            )


def when_played(event, context: LaunchContext):
    del context
    if event.returncode:
        return [Shutdown(reason=f"the player ended with exit code {event.returncode}")]
    return [TimerAction(period=DRAIN_S, actions=[Shutdown(reason="the bag has been played")])]


def start_player(context: LaunchContext):
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    number("rate", given["rate"], minimum=0.01)
    cameras = (given["rgb_topic"], given["thermal_topic"])
    check_topics(given["bag"], *cameras)
    player = [
        *(*SEGMIF, "bag", "play", given["bag"], "--topics", *cameras, "--rate", given["rate"]),
        *("--wait-for-subscribers", WAIT_S),
        # The recorder finds the outputs a moment after the node has subscribed.
        *(("--start-delay", "2") if given["record"] else ()),
        "--clock" if is_on(given["use_sim_time"]) else "--restamp",
        *(("--loop",) if is_on(given["loop"]) else ()),
    ]
    return [ExecuteProcess(cmd=player, name="player", output="screen", on_exit=when_played)]


def start_recorder(context: LaunchContext):
    record, outputs, namespace = (
        LaunchConfiguration(name).perform(context)
        for name in ("record", "record_outputs", "namespace")
    )
    if not record:
        return []
    node = f"/{namespace.strip('/')}/segmif".replace("//", "/")
    topics = [f"{node}/output/{name}" for name in outputs.split()]
    command = [*SEGMIF, "bag", "record", record, "--topics", *topics, "/diagnostics"]
    return [ExecuteProcess(cmd=command, name="recorder", output="screen")]


def generate_launch_description():
    node = PythonLaunchDescriptionSource(str(Path(__file__).with_name("segmif.launch.py")))
    return LaunchDescription(
        [
            *(DeclareLaunchArgument(name, **a._asdict()) for name, a in ARGUMENTS.items()),
            IncludeLaunchDescription(node),
            OpaqueFunction(function=start_recorder),
            OpaqueFunction(function=start_player),
        ]
    )
