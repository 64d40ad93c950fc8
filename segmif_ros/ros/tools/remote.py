# SPDX-License-Identifier: Apache-2.0
"""A running node as seen by another process: mode, diagnostics, rates and parameters."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import GetParameters, SetParametersAtomically
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.task import Future
from std_msgs.msg import String

from segmif_ros.parameters import Value
from segmif_ros.ros.qos import DIAGNOSTICS_TOPIC, MODE_TOPIC, check_topic_name, latched
from segmif_ros.ros.session import RosError
from segmif_ros.ros.tools.participant import participant

_MODE_S = 0.5
"""The mode is latched, and may come a moment after the first report."""
LEVELS = ("OK", "WARN", "ERROR", "STALE")


@contextmanager
def remote(name: str) -> Iterator[Remote]:
    """Join the ROS graph and listen to a node.

    Args:
        name: full name of the node, for example "/segmif".

    Raises:
        RosError: the graph cannot be joined, or that is no name.
    """
    try:
        check_topic_name(name)
    except ValueError as err:
        raise RosError(f"--node: {err}") from err
    with participant("segmif_status") as (node, executor):
        yield Remote(name, node, executor)


class Remote:
    """What a node has said so far."""

    def __init__(self, name: str, node: Node, executor: SingleThreadedExecutor) -> None:
        """Subscribe; messages come while `next_report` runs."""
        self._reports = 0
        self._name, self._node, self._executor = name, node, executor
        self._statuses: dict[str, Any] = {}
        self._mode: dict[str, Any] = {}
        mode = MODE_TOPIC.replace("~", name)
        node.create_subscription(DiagnosticArray, DIAGNOSTICS_TOPIC, self._hear_report, 10)
        node.create_subscription(String, mode, self._hear_mode, latched())

    def next_report(self, seconds: float) -> bool:
        """Listen until the node reports again; False if it does not in time."""
        before = self._reports
        heard = self._wait(lambda: self._reports > before, seconds)
        if heard and not self._mode:
            self._wait(lambda: bool(self._mode), _MODE_S)
        return heard

    def _wait(self, until: Callable[[], bool], seconds: float) -> bool:
        """Listen until something holds; False if it does not in time."""
        deadline = monotonic() + seconds
        while not until():
            left = deadline - monotonic()
            if left <= 0:
                return False
            self._executor.spin_once(timeout_sec=min(left, 0.1))
        return True

    def snapshot(self) -> dict[str, Any]:
        """Return mode, rates in Hz and diagnostics, for people and as JSON."""
        rates = {
            name: float(status["values"]["rate_hz"])
            for name, status in self._statuses.items()
            if "rate_hz" in status["values"]
        }
        return {
            "node": self._name,
            "mode": self._mode or None,
            "rates_hz": rates,
            "diagnostics": self._statuses,
        }

    def parameters(self, names: Sequence[str], seconds: float) -> dict[str, Value]:
        """Read parameters of the node.

        Raises:
            RosError: no answer.
        """
        answer = self._ask(GetParameters, GetParameters.Request(names=list(names)), seconds)
        return dict(zip(names, map(parameter_value_to_python, answer.values), strict=True))

    def change(self, values: Mapping[str, Value], seconds: float) -> str:
        """Set parameters, all or none.

        Returns:
            Why the node refuses, empty if it did not.

        Raises:
            RosError: no answer.
        """
        changes = [
            Parameter(name, value=value).to_parameter_msg() for name, value in values.items()
        ]
        request = SetParametersAtomically.Request(parameters=changes)
        result = self._ask(SetParametersAtomically, request, seconds).result
        return "" if result.successful else result.reason or "refused without a reason"

    def _ask(self, kind: Any, request: Any, seconds: float) -> Any:
        service = "get_parameters" if kind is GetParameters else "set_parameters_atomically"
        client = self._node.create_client(kind, f"{self._name}/{service}")
        if not self._wait(client.service_is_ready, seconds):
            raise RosError(
                f"no node {self._name} answers within {seconds:g} s; is it running, on this "
                "ROS_DOMAIN_ID, under another name (--node)?"
            )
        answer: Future[Any] = client.call_async(request)
        if not self._wait(answer.done, seconds):
            raise RosError(f"{self._name} does not answer within {seconds:g} s")
        return answer.result()

    def _hear_report(self, message: DiagnosticArray) -> None:
        prefix = f"{self._name.lstrip('/')}: "
        own = [status for status in message.status if status.name.startswith(prefix)]
        for status in own:
            self._statuses[status.name.removeprefix(prefix)] = {
                "level": LEVELS[status.level[0]],
                "message": status.message,
                "values": {pair.key: pair.value for pair in status.values},
            }
        self._reports += bool(own)

    def _hear_mode(self, message: String) -> None:
        try:
            heard = json.loads(message.data)
        except ValueError:
            return
        self._mode = heard if isinstance(heard, dict) else {}
