# SPDX-License-Identifier: Apache-2.0
"""What this package needs of rclpy beyond its public API, in one place; checked at import.

Three things have no public way: taking messages past the executor, parameter values given at start
before they are declared, and a response where a service of rclpy itself raises.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.guard_condition import GuardCondition
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.service import Service
from rclpy.subscription import Subscription

_NEEDED: dict[str, bool] = {
    "rclpy.impl.implementation_singleton.rclpy_implementation.WaitSet": all(
        hasattr(getattr(rclpy_implementation, "WaitSet", None), name)
        for name in ("clear_entities", "add_subscription", "add_guard_condition", "wait")
    ),
    "rclpy_implementation.Subscription.take_message": hasattr(
        getattr(rclpy_implementation, "Subscription", None), "take_message"
    ),
    "rclpy.subscription.Subscription.handle": hasattr(Subscription, "handle"),
    "rclpy.node.Node._parameter_overrides": (
        "_parameter_overrides" in Node.__init__.__code__.co_names
    ),
    "rclpy.service.Service.callback": "callback" in Service.__init__.__code__.co_names,
}
_MISSING = [name for name, found in _NEEDED.items() if not found]
if _MISSING:
    raise ImportError(
        f"this rclpy has no {', '.join(_MISSING)}; segmif_ros is made for ROS 2 Humble to Kilted: "
        "install one of these, or a newer segmif_ros"
    )


def given_parameters(node: Node) -> dict[str, Any]:
    """Return the values given at start, declared or not: name -> rclpy Parameter.

    Deleting an entry before the parameter is declared removes it from rclpy.
    """
    given: dict[str, Any] = node._parameter_overrides
    return given


def take_message(subscription: Any) -> tuple[Any, dict[str, Any]] | None:
    """Return the next message of a subscription and what rmw knows of it, None if there is none."""
    with subscription.handle:
        taken: tuple[Any, dict[str, Any]] | None = subscription.handle.take_message(
            subscription.msg_type, subscription.raw
        )
    return taken


class SubscriptionWait:
    """Waits for messages of some subscriptions outside any executor."""

    def __init__(self, subscriptions: Sequence[Any], context: Any) -> None:
        self._subscriptions = tuple(subscriptions)
        self._wake = GuardCondition(None, None, context=context)
        self._wait_set = rclpy_implementation.WaitSet(
            len(self._subscriptions), 1, 0, 0, 0, 0, context.handle
        )

    def wait(self, timeout_ns: int) -> list[Any]:
        """Return the subscriptions that have a message; none after the timeout or `wake`."""
        self._wait_set.clear_entities()
        for subscription in self._subscriptions:
            self._wait_set.add_subscription(subscription.handle)
        self._wait_set.add_guard_condition(self._wake.handle)
        self._wait_set.wait(timeout_ns)
        ready = self._wait_set.get_ready_entities("subscription")
        return [s for s in self._subscriptions if s.handle.pointer in ready]

    def wake(self) -> None:
        """End a `wait`, from another thread."""
        self._wake.trigger()

    def destroy(self) -> None:
        """Free what belongs to rclpy; no thread may be waiting."""
        self._wake.destroy()


def guard_services(node: Node, log: Callable[[str], None]) -> None:
    """Make every service of a node respond, also where its callback raises.

    rclpy registers services for lifecycle and parameters by itself. What they raise at an illegal
    transition or a parameter of no known type passes through the executor and ends the process,
    and the caller waits for ever.

    Args:
        node: its services so far are guarded.
        log: called with what was raised.
    """
    for service in node.services:
        service.callback = _answering(service.callback, service.service_name, log)


def _answering(
    callback: Callable[[Any, Any], Any], name: str, log: Callable[[str], None]
) -> Callable[[Any, Any], Any]:
    def answer(request: Any, response: Any) -> Any:
        try:
            return callback(request, response)
        except Exception as err:
            expected = type(err).__name__ in ("RCLError", "RuntimeError", "ValueError", "TypeError")
            details = "" if expected else f"\n{traceback.format_exc()}"
            log(f"a call of {name} was refused: {_first_line(err)}{details}")
            return _refusal(request, response, _first_line(err))

    return answer


def _first_line(err: Exception) -> str:
    return (str(err).splitlines() or [repr(err)])[0]


def _refusal(request: Any, response: Any, reason: str) -> Any:
    """Return a response that says no, as far as its type can; the default is no or empty."""
    no = SetParametersResult(successful=False, reason=reason)
    if hasattr(response, "success"):
        response.success = False
    elif hasattr(response, "results"):
        done = len(response.results)
        response.results = [*response.results, *[no] * (len(request.parameters) - done)]
    elif isinstance(getattr(response, "result", None), SetParametersResult):
        response.result = no
    return response
