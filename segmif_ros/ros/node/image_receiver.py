# SPDX-License-Identifier: Apache-2.0
"""Takes image messages on a thread of its own, past rclpy's executor.

For every message the executor gathers each service, timer and event of the node anew: more work, in
Python, than everything this node does with the message, and while it lasts the worker cannot run
Python. Here a thread waits for two subscriptions and nothing else. It takes messages the way
`rclpy.wait_for_message` does; measured in docs/performance.md.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from functools import partial
from threading import Event, Thread
from time import monotonic_ns
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.subscription import Subscription

from segmif_ros.ros.log_throttle import LogThrottle
from segmif_ros.ros.node.statistics import NANOSECONDS
from segmif_ros.ros.rclpy_private import SubscriptionWait, take_message

THREAD_NAME = "segmif-intake"


class ReceiverGroup(ReentrantCallbackGroup):
    """Callback group of subscriptions that an `ImageReceiver` serves: the executor passes them by.

    Events of such a subscription stay with the executor; better have none, for they wake it at
    every message.
    """

    def can_execute(self, entity: Any) -> bool:
        """Tell the executor to leave the subscription itself alone."""
        return not isinstance(entity, Subscription)


class ImageReceiver:
    """Runs the callbacks of some subscriptions, and a tick, one after the other on one thread."""

    def __init__(
        self,
        subscriptions: Sequence[Any],
        *,
        context: Any,
        log: Callable[[str], None],
        tick: Callable[[], None],
        tick_s: float,
    ) -> None:
        """Start the thread.

        Args:
            subscriptions: made with `callback_group=ReceiverGroup()`; must outlive this object.
            context: rclpy context of their node.
            log: called with what a callback raises, at most once in ten seconds.
            tick: called every `tick_s`, whether messages come or not.
            tick_s: seconds.
        """
        self._log = log
        self._tick = tick
        self._period_ns = round(tick_s * NANOSECONDS)
        self._stop = Event()
        self._messages = SubscriptionWait(subscriptions, context)
        self._failures = 0
        self._throttle = LogThrottle()
        self._thread = Thread(target=self._run, name=THREAD_NAME, daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """False when waiting itself failed: no message is taken any more."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Finish the callback at hand and end the thread; no callback runs afterwards."""
        self._stop.set()
        self._messages.wake()
        self._thread.join()
        self._messages.destroy()

    def _run(self) -> None:
        due_ns = monotonic_ns() + self._period_ns
        while not self._stop.is_set():
            try:
                self._wait(max(0, due_ns - monotonic_ns()))
            except Exception as err:
                # The middleware refuses the wait itself; it would refuse the next one too.
                self._log(f"waiting for images failed: {err!r}\n{traceback.format_exc()}")
                return
            if self._stop.is_set():
                return
            now_ns = monotonic_ns()
            if now_ns >= due_ns:
                # Counted from now: after a stall one tick is enough.
                due_ns = now_ns + self._period_ns
                self._guarded(self._tick)

    def _wait(self, timeout_ns: int) -> None:
        """Wait for a message, and run the callbacks of those that have come."""
        for subscription in self._messages.wait(timeout_ns):
            if not self._stop.is_set():
                self._guarded(partial(_take, subscription))

    def _guarded(self, action: Callable[[], None]) -> None:
        """Run something that must not end the thread: nobody would see it end."""
        try:
            action()
        except Exception as err:
            self._failures += 1
            if self._throttle.ready(monotonic_ns()):
                self._log(
                    f"taking an image failed ({self._failures} so far): {err!r}\n"
                    f"{traceback.format_exc()}"
                )


def _take(subscription: Any) -> None:
    message = take_message(subscription)
    if message is not None:
        subscription.callback(message)
