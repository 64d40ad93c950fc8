# SPDX-License-Identifier: Apache-2.0
"""Faults of a running rig: the parameter that switches them, and what they do to a message."""

from __future__ import annotations

from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image

from segmif_ros.rig.faults.requests import Damage, FaultRequest, parse_faults

PARAMETER = "faults"
_UNKNOWN_ENCODING = "64FC1"


class FaultSwitch:
    """The parameter `faults` of a node: every good value is passed on once.

    Args:
        node: gets the parameter.
        initial: its value at start, faults with spaces between them.

    Raises:
        ValueError: `initial` is malformed.
    """

    def __init__(self, node: Node, initial: str) -> None:
        self._new: list[FaultRequest] | None = None
        self.initial = parse_faults(initial)
        description = "Faults in force, with spaces between them; times count from the change."
        node.declare_parameter(
            PARAMETER, initial, ParameterDescriptor(description=description), ignore_override=True
        )
        node.add_on_set_parameters_callback(self._on_set)

    def changed(self) -> list[FaultRequest] | None:
        """Return the faults of a new value, None when nothing has changed since the last call."""
        new, self._new = self._new, None
        return new

    def _on_set(self, changes: list[Parameter]) -> SetParametersResult:
        for change in changes:
            if change.name == PARAMETER:
                try:
                    self._new = parse_faults(change.value)
                except ValueError as err:
                    return SetParametersResult(successful=False, reason=str(err))
        return SetParametersResult(successful=True)


def spoil(message: Image, damage: Damage) -> None:
    """Make a message malformed, in place; `Damage.SIZE` is for the pixels, not for the message."""
    if damage is Damage.ENCODING:
        message.encoding = _UNKNOWN_ENCODING
    elif damage is Damage.STEP:
        message.step //= 2
    elif damage is Damage.DATA:
        del message.data[-message.step :]
