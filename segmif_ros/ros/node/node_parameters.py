# SPDX-License-Identifier: Apache-2.0
"""The table of parameters on a running node: declared, guarded and read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)

from segmif_ros.pairing import Stream
from segmif_ros.parameters import (
    PARAMETERS,
    SPECS,
    Change,
    ParameterError,
    ParameterSpec,
    Settings,
)
from segmif_ros.ros.node.camera_infos import camera_info_topic
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
from segmif_ros.ros.rclpy_private import given_parameters

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.parameter import Parameter

QOS_PREFIX = "qos_overrides."
_QOS_OF_RCLPY = tuple(f"{QOS_PREFIX}{t}." for t in ("/clock", "/parameter_events", "/rosout"))


def descriptor(spec: ParameterSpec) -> ParameterDescriptor:
    """Return the ROS descriptor: what `ros2 param describe` shows."""
    out = ParameterDescriptor(name=spec.name, description=spec.text)
    notes = [f"unit: {spec.unit}"] if spec.unit else []
    if spec.choices:
        notes.append(f"one of: {spec.allowed}")
    out.additional_constraints = "; ".join([*notes, f"change: {spec.change.value}"])
    out.read_only = spec.change is Change.START
    # `check` checks the type: rclpy's own message is "expected '2' got '4'".
    out.dynamic_typing = True
    if spec.limits is not None:
        low, high = spec.limits
        if isinstance(spec.default, float):
            span = FloatingPointRange(from_value=float(low), to_value=float(high))
            out.floating_point_range = [span]
        else:
            out.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=1)]
    return out


class NodeParameters:
    """The table on a node: declares it, vetoes bad changes, and gives the values as `Settings`.

    A bad value given at start does not end the process: it is kept in `problems` and `settings`
    refuses until a valid one is set.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.configured = False
        """Whether a model is loaded: `Change.UNCONFIGURED` parameters are then refused."""
        self.problems: dict[str, str] = {}
        self._cached: Settings | None = None
        for spec in PARAMETERS:
            self._declare(spec)
        self._check_qos_overrides()
        self._warn_of_unknown()
        node.add_on_set_parameters_callback(self._veto)

    def settings(self) -> Settings:
        """Return the values in force; from any thread.

        Raises:
            ParameterError: a value given at start is bad.
        """
        if self._cached is None:
            if self.problems:
                raise ParameterError("; ".join(self.problems.values()))
            self._cached = Settings.from_values(self._values())
        return self._cached

    def _declare(self, spec: ParameterSpec) -> None:
        given = given_parameters(self._node).get(spec.name)
        # Checked here: rclpy's message for a value out of range names neither range nor unit.
        problem = None if given is None else spec.check(given.value)
        if problem:
            self.problems[spec.name] = f"parameter {problem}"
        self._node.declare_parameter(
            spec.name, spec.default, descriptor(spec), ignore_override=bool(problem)
        )

    def _check_qos_overrides(self) -> None:
        """Refuse values that would make rclpy end the process, and name unknown topics."""
        overrides = given_parameters(self._node)
        topics, useless = topics_of(self._node), list[str]()
        for name in sorted(overrides):
            if not name.startswith(QOS_PREFIX) or name.startswith(_QOS_OF_RCLPY):
                continue
            problem = qos_override_problem(name, overrides[name].value, topics)
            if problem is None:
                continue
            if problem.fatal:
                self.problems[name] = problem.text
                del overrides[name]
            else:
                useless.append(problem.text)
        more = f" ({len(useless) - 1} more of {QOS_PREFIX}... likewise)" if len(useless) > 1 else ""
        if useless:
            # One line: a parameter dump of a node with other topic names holds dozens.
            self._node.get_logger().warning(useless[0] + more)

    def _warn_of_unknown(self) -> None:
        """Name given parameters that are not declared: ROS would ignore a misspelt one silently."""
        for name in sorted(given_parameters(self._node)):
            if self._node.has_parameter(name) or name.startswith(QOS_PREFIX):
                continue
            near = get_close_matches(name, SPECS, n=1)
            self._node.get_logger().warning(
                f"parameter {name!r} is not known to this node and has no effect"
                + (f"; did you mean {near[0]!r}?" if near else "")
            )

    def _values(self) -> dict[str, Any]:
        return {spec.name: self._node.get_parameter(spec.name).value for spec in PARAMETERS}

    def _veto(self, changes: list[Parameter]) -> SetParametersResult:
        proposed = {p.name: p.value for p in changes if p.name in SPECS}
        reason = self._objection(proposed)
        if reason is not None:
            return SetParametersResult(successful=False, reason=reason)
        for name in proposed:
            self.problems.pop(name, None)
        if not self.problems:
            # Not read back on request: a thread that reads before rclpy has stored the new
            # values would keep the old ones.
            self._cached = Settings.from_values({**self._values(), **proposed})
        return SetParametersResult(successful=True)

    def _objection(self, proposed: Mapping[str, Any]) -> str | None:
        for name, value in proposed.items():
            problem = SPECS[name].check(value)
            if problem:
                return problem
            if self.configured and SPECS[name].change is Change.UNCONFIGURED:
                return (
                    f"{name} can change only while the node is unconfigured: call its "
                    f"transitions deactivate and cleanup, or restart it with -p {name}:={value}"
                )
        try:
            Settings.from_values({**self._values(), **proposed})
        except ParameterError as err:
            return str(err)
        return None


POLICIES: dict[str, tuple[str, ...]] = {
    "history": ("keep_last", "keep_all"),
    "reliability": ("reliable", "best_effort"),
    "depth": (),
}
"""Policies that can be overridden, and the words for them; depth is a whole number."""

_NAME = re.compile(r"qos_overrides\.(/.+)\.(publisher|subscription)\.(\w+)")

_MEND = "; correct it and start the node again"


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
    inputs += [camera_info_topic(node, stream) for stream in Stream]
    inputs += [str(node.resolve_topic_name(topic)) for topic in (POINTS_INPUT, DEPTH_INPUT)]
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
