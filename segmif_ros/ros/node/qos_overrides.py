# SPDX-License-Identifier: Apache-2.0
"""Judges `qos_overrides` given at start.

rclpy reads them when it makes a topic: a bad value ends the process with a traceback there, and one
for a topic that does not exist is ignored without a word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

from segmif_ros.pairing import Stream
from segmif_ros.ros.node.camera_info_input import camera_info_topic
from segmif_ros.ros.qos import (
    CAMERA_INFO_TOPIC,
    COMPRESSED_TOPIC,
    DEPTH_INPUT,
    DERIVED_TOPICS,
    DIAGNOSTICS_TOPIC,
    IMAGE_TOPICS,
    INPUT_TOPICS,
    LABEL_INFO_TOPIC,
    LABELS_TOPIC,
    MODE_TOPIC,
    POINTS_INPUT,
)

if TYPE_CHECKING:
    from rclpy.node import Node

QOS_PREFIX = "qos_overrides."
POLICIES: dict[str, tuple[str, ...]] = {
    "history": ("keep_last", "keep_all"),
    "reliability": ("reliable", "best_effort"),
    "depth": (),
}
"""Policies that can be overridden, and the words for them; depth is a whole number."""

_NAME = re.compile(r"qos_overrides\.(/.+)\.(publisher|subscription)\.(\w+)")

_MEND = "; mend it and start the node again"


class QosProblem(NamedTuple):
    """What is wrong with one override.

    Attributes:
        text: one line for people.
        fatal: the value cannot be used; otherwise it has no effect.
    """

    text: str
    fatal: bool


def topics_of(node: Node) -> dict[str, str]:
    """Return the topics whose QoS can be overridden: full name -> "publisher" or "subscription"."""
    inputs = [str(node.resolve_topic_name(topic)) for topic in INPUT_TOPICS.values()]
    inputs += [f"{topic}/compressed" for topic in inputs]
    inputs += [str(node.resolve_topic_name(topic)) for topic in (POINTS_INPUT, DEPTH_INPUT)]
    inputs += [camera_info_topic(node, stream) for stream in Stream]
    outputs = [topic for topic, _ in IMAGE_TOPICS.values()]
    outputs += [COMPRESSED_TOPIC, CAMERA_INFO_TOPIC, LABELS_TOPIC, LABEL_INFO_TOPIC]
    outputs += [*DERIVED_TOPICS.values(), MODE_TOPIC, DIAGNOSTICS_TOPIC]
    return dict.fromkeys(inputs, "subscription") | {
        str(node.resolve_topic_name(topic)): "publisher" for topic in outputs
    }


def qos_override_problem(name: str, value: object, topics: Mapping[str, str]) -> QosProblem | None:
    """Return what is wrong with one override, None if it is good.

    Args:
        name: parameter name, `qos_overrides.<topic>.<publisher or subscription>.<policy>`.
        value: parameter value.
        topics: from `topics_of`.
    """
    useless = _why_without_effect(name, topics)
    if useless is not None:
        return QosProblem(f"parameter {name!r} has no effect: {useless}", fatal=False)
    words = POLICIES[name.rpartition(".")[2]]
    if words and value not in words:
        expected = ", ".join(words)
        return QosProblem(f"parameter {name} is {value!r}, expected {expected}{_MEND}", fatal=True)
    if not words and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        return QosProblem(
            f"parameter {name} is {value!r}, expected a whole number above 0{_MEND}", fatal=True
        )
    return None


def _why_without_effect(name: str, topics: Mapping[str, str]) -> str | None:
    found = _NAME.fullmatch(name)
    if found is None:
        return f"expected {QOS_PREFIX}<full topic name>.<publisher or subscription>.<policy>"
    topic, side, policy = found.groups()
    if topics.get(topic) != side:
        near = get_close_matches(topic, [t for t, s in topics.items() if s == side], n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"this node has no {side} on {topic}{hint}"
    return None if policy in POLICIES else f"expected {', '.join(POLICIES)} at its end"
