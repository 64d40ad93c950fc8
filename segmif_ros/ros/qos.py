# SPDX-License-Identifier: Apache-2.0
"""Topic names and quality of service in one place; every policy can be overridden by parameters."""

from __future__ import annotations

import re

from rclpy.exceptions import NameValidationException
from rclpy.expand_topic_name import expand_topic_name
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.validate_full_topic_name import validate_full_topic_name
from rclpy.validate_namespace import validate_namespace

from segmif_ros.pairing import Stream

INPUT_TOPICS = {Stream.RGB: "~/input/rgb", Stream.THERMAL: "~/input/thermal"}
CAMERA_INFO_INPUTS = {stream: f"{topic}/camera_info" for stream, topic in INPUT_TOPICS.items()}
IMAGE_TOPICS = {
    "fused": ("~/output/fused", "rgb8"),
    "mask": ("~/output/mask", "mono8"),
    "confidence": ("~/output/confidence", "mono8"),
    "overlay": ("~/output/overlay", "rgb8"),
}
"""Output name -> topic and encoding."""
COMPRESSED_TOPIC = "~/output/fused/compressed"
CAMERA_INFO_TOPIC = "~/output/camera_info"
DERIVED_TOPICS = {
    name: f"~/output/{name}" for name in ("objects", "detections", "points", "temperature")
}
"""What is made of a result beside its images; `detections` only where vision_msgs is installed."""
POINTS_INPUT, DEPTH_INPUT = "~/input/points", "~/input/depth"
OUTPUTS = (
    *("camera_info", "mask", "confidence", *DERIVED_TOPICS),
    *("fused", "compressed", "overlay"),
)
"""Names of all outputs that come with every result, in the order of publishing: what others wait
for first."""

LABELS_TOPIC = "~/output/labels"
LABEL_INFO_TOPIC = "~/output/label_info"
MODE_TOPIC = "~/output/mode"
DIAGNOSTICS_TOPIC = "/diagnostics"


def _profile(
    reliability: ReliabilityPolicy, depth: int, durability: DurabilityPolicy
) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=durability
    )


def sensor_input() -> QoSProfile:
    """Best effort, depth 5: compatible with every camera driver, reliable or not."""
    return _profile(ReliabilityPolicy.BEST_EFFORT, 5, DurabilityPolicy.VOLATILE)


def image_output() -> QoSProfile:
    """Reliable, depth 2: as RViz requests; compatible with best-effort readers too."""
    return _profile(ReliabilityPolicy.RELIABLE, 2, DurabilityPolicy.VOLATILE)


def camera_info_input() -> QoSProfile:
    """Best effort, depth 1: only the newest counts."""
    return _profile(ReliabilityPolicy.BEST_EFFORT, 1, DurabilityPolicy.VOLATILE)


def latched() -> QoSProfile:
    """Reliable and kept for readers that come later."""
    return _profile(ReliabilityPolicy.RELIABLE, 1, DurabilityPolicy.TRANSIENT_LOCAL)


def overridable() -> QoSOverridingOptions:
    """Let `qos_overrides.<topic>...` change history, depth and reliability."""
    return QoSOverridingOptions.with_default_policies()


def check_topic_name(topic: str) -> None:
    """Refuse what cannot be a topic, before rclpy does it with a traceback.

    Raises:
        ValueError: one line with the name and what is wrong with it.
    """
    try:
        validate_full_topic_name(expand_topic_name(topic, "node", "/"))
    except (ValueError, NameValidationException) as err:
        raise ValueError(
            f"{topic!r} is no topic name: {_reason(err)}; give it as `ros2 topic list` prints it"
        ) from err


def check_namespace(namespace: str) -> None:
    """Refuse what cannot be the namespace of a node; empty, `veh`, `/veh` and `/a/b` can.

    Raises:
        ValueError: one line with the name and what is wrong with it.
    """
    try:
        validate_namespace("/" + namespace.removeprefix("/"))
    except NameValidationException as err:
        raise ValueError(
            f"{namespace!r} is no namespace: {_reason(err)}; expected a name such as veh or /a/b"
        ) from err


def _reason(err: Exception) -> str:
    """Return what rcl says, without the name, the source line and the picture below it."""
    line = str(err).splitlines()[0].rstrip(":")
    return re.sub(r"^(Invalid .*?|topic name .*? is invalid): |, at \S+$", "", line)
