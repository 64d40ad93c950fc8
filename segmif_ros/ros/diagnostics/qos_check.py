# SPDX-License-Identifier: Apache-2.0
"""Why a publisher and a subscription do not talk: the policy at fault, and what to set.

DDS compares what a writer offers with what a reader requests. If one policy is weaker than
requested nothing is delivered, and neither end gets an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rclpy.qos import DurabilityPolicy, LivelinessPolicy, ReliabilityPolicy

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
