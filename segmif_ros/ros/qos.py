# SPDX-License-Identifier: Apache-2.0
"""Topic names and quality of service, and why a publisher and a subscription do not connect.

Every policy can be overridden by parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rclpy.exceptions import NameValidationException
from rclpy.expand_topic_name import expand_topic_name
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    QoSProfile,
    ReliabilityPolicy,
)
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


# DDS compares what a writer offers with what a reader requests. If one policy is weaker than
# requested nothing is delivered, and neither end gets an error.
IMAGE_TYPE = "sensor_msgs/msg/Image"

_OVERRIDABLE = ("reliability",)
_STRENGTH: dict[str, tuple[Any, ...]] = {
    "reliability": (ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE),
    "durability": (DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL),
    "liveliness": (LivelinessPolicy.AUTOMATIC, LivelinessPolicy.MANUAL_BY_TOPIC),
}
"""Policy -> its values, weak to strong. Others (system default, unknown) cannot be compared."""
_DURATIONS = ("deadline", "liveliness_lease_duration")


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One publisher whose messages cannot be received.

    Attributes:
        publisher: full node name; empty until it is discovered.
        policy: "type", or the QoS policy at fault.
        offered: what the publisher has.
        wanted: profile of the subscription.
        remedy: what to set.
    """

    publisher: str
    policy: str
    offered: str
    wanted: str
    remedy: str

    def __str__(self) -> str:
        return (
            f"{self.publisher} offers {self.policy} {self.offered}, {self.wanted} is requested: "
            f"{self.remedy}"
        )


def full_name(publisher: Any) -> str:
    """Return the name of a publisher's node, if DDS has it."""
    if "_UNKNOWN_" in publisher.node_name:
        return "an unnamed publisher"
    return f"{publisher.node_namespace.rstrip('/')}/{publisher.node_name}"


def mismatches(
    topic: str, publishers: Iterable[Any], wanted: Any, *, wanted_type: str = IMAGE_TYPE
) -> list[Mismatch]:
    """Return for every incompatible publisher the first reason.

    Args:
        topic: full topic name.
        publishers: rclpy TopicEndpointInfo of each.
        wanted: rclpy QoSProfile of the subscription.
        wanted_type: its message type.
    """
    found = []
    for publisher in publishers:
        name = full_name(publisher)
        if publisher.topic_type != wanted_type:
            found.append(_type_mismatch(topic, name, publisher.topic_type, wanted_type))
            continue
        policy = weaker_policy(publisher.qos_profile, wanted)
        if policy:
            offered = _value(publisher.qos_profile, policy)
            remedy = _remedy(topic, policy, offered, _value(wanted, policy))
            found.append(Mismatch(name, policy, offered, _value(wanted, policy), remedy))
    return found


def weaker_policy(offered: Any, wanted: Any) -> str:
    """Return the first policy in which the offer is weaker than the request, empty for none.

    Args:
        offered: rclpy QoSProfile of the publisher.
        wanted: rclpy QoSProfile of the subscription.
    """
    for policy, order in _STRENGTH.items():
        have, need = getattr(offered, policy), getattr(wanted, policy)
        if have in order and need in order and order.index(have) < order.index(need):
            return policy
    for policy in _DURATIONS:
        # Zero means infinite: nothing is offered or requested.
        have_ns = getattr(offered, policy).nanoseconds
        need_ns = getattr(wanted, policy).nanoseconds
        if need_ns > 0 and (have_ns == 0 or have_ns > need_ns):
            return policy
    return ""


def _value(profile: Any, policy: str) -> str:
    value = getattr(profile, policy)
    if policy in _DURATIONS:
        return f"{value.nanoseconds / 1e6:g} ms" if value.nanoseconds else "infinite"
    return str(value.name).lower()


def _remedy(topic: str, policy: str, offered: str, wanted: str) -> str:
    other = f"have the publisher offer {policy} {wanted}"
    if policy in _OVERRIDABLE:
        return (
            f"set this node's parameter qos_overrides.{topic}.subscription.{policy} to {offered}, "
            f"or {other}"
        )
    return other


def _type_mismatch(topic: str, name: str, offered: str, wanted: str) -> Mismatch:
    remedy = "remap the input to a topic of that type"
    if offered == "sensor_msgs/msg/CompressedImage":
        remedy = (
            f"remap the input to {topic.removesuffix('/compressed')} and set the parameter "
            "input_transport to compressed, or run `ros2 run image_transport republish compressed "
            "raw`"
        )
    return Mismatch(name, "type", offered, wanted, remedy)
