# SPDX-License-Identifier: Apache-2.0
"""Play a bag, start the node on it, and record what comes out.

ros2 launch segmif_ros replay.launch.py bag:=drive_bag record:=result_bag

The player and the recorder are `segmif bag`, which is there in every installation; rosbag2 is not.
Ends by itself when the bag has been played.
"""

import os
from pathlib import Path

from launch.actions import OpaqueFunction, Shutdown, TimerAction

from launch import LaunchContext, LaunchDescription
from segmif_ros.recordings.bags import summarize
from segmif_ros.recordings.topics import camera_of, camera_topics, input_transport
from segmif_ros.recordings.writer import check_output
from segmif_ros.ros import qos
from segmif_ros.ros.tools import launching
from segmif_ros.ros.tools.launching import SWITCH, Argument

ARGUMENTS = {
    "bag": Argument(None, "bag to play: a folder, or a single .mcap or .db3 file"),
    "rgb_topic": Argument("", "visible camera's topic in the bag; empty: chosen by name"),
    "thermal_topic": Argument("", "thermal camera's topic in the bag; empty: likewise"),
    "rate": Argument("1.0", "speed of playing"),
    "loop": Argument("false", "start again at the end, until interrupted", SWITCH),
    "record": Argument("", "bag to write; empty: record nothing"),
    "record_outputs": Argument(
        "fused mask confidence labels", "outputs of the node to record, besides /diagnostics"
    ),
    "use_sim_time": Argument("true", "the bag's time on /clock; false: as if now", SWITCH),
    "calibration_file": launching.CAMERAS["calibration_file"],
    **launching.NODE,
}
OUTPUTS = [
    topic.removeprefix("~/output/")
    for topic in (
        *(topic for topic, _ in qos.IMAGE_TOPICS.values()),
        *(qos.COMPRESSED_TOPIC, qos.CAMERA_INFO_TOPIC, *qos.DERIVED_TOPICS.values()),
        *(qos.LABELS_TOPIC, qos.LABEL_INFO_TOPIC, qos.MODE_TOPIC),
    )
]
WAIT_S = "60"
"""How long the player waits for the node to subscribe: a model may have to be compiled."""
DRAIN_S = 3.0
"""Between the last image and the end of the node and the recorder."""


def cameras(given: dict[str, str]):
    """Return the path of the bag, its cameras' topics, and the node's arguments for them."""
    path = launching.absolute(given["bag"])
    rgb, thermal = camera_topics(
        summarize(path), given["rgb_topic"] or None, given["thermal_topic"] or None
    )
    told = {
        "rgb_topic": camera_of(rgb.name),
        "thermal_topic": camera_of(thermal.name),
        "input_transport": input_transport(rgb, thermal),
    }
    return path, [rgb.name, thermal.name], told


def player(given: dict[str, str], bag: Path, topics: list[str]):
    launching.number("rate", given["rate"], minimum=0.01)
    drained = TimerAction(period=DRAIN_S, actions=[Shutdown(reason="the bag has been played")])
    return launching.segmif(
        *("bag", "play", str(bag), "--topics", *topics, "--speed", given["rate"]),
        *("--wait-for-subscribers", WAIT_S),
        # The recorder finds the outputs a moment after the node has subscribed.
        *(("--start-delay", "2") if given["record"] else ()),
        "--clock" if launching.is_on(given["use_sim_time"]) else "--restamp",
        *(("--loop",) if launching.is_on(given["loop"]) else ()),
        name="player",
        then=[drained],
    )


def recorder(given: dict[str, str]):
    out = launching.absolute(given["record"])
    launching.checked(
        "record",
        str(out),
        lambda _: check_output(out, replace=False, advice="give another name"),
    )
    folder = next(each for each in out.parents if each.exists())
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise ValueError(
            f"launch argument record is {given['record']!r}, and nothing can be written in "
            f"{folder}; give another path"
        )
    wanted = given["record_outputs"].split()
    if unknown := [name for name in wanted if name not in OUTPUTS]:
        raise ValueError(
            f"launch argument record_outputs names {unknown[0]!r}; expected some of "
            f"{', '.join(OUTPUTS)}, with blanks between them"
        )
    node = launching.node_name(given["namespace"])
    topics = [f"{node}/output/{name}" for name in wanted]
    return launching.segmif(
        "bag", "record", "--out", str(out), "--topics", *topics, "/diagnostics", name="recorder"
    )


def start(context: LaunchContext):
    given = launching.values(ARGUMENTS, context)
    bag, topics, told = cameras(given)
    node = launching.node(given | told)
    processes = [recorder(given)] if given["record"] else []
    return [node, *processes, player(given, bag, topics)]


def generate_launch_description():
    return LaunchDescription([*launching.declared(ARGUMENTS), OpaqueFunction(function=start)])
