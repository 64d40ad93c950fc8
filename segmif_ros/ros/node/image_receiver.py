# SPDX-License-Identifier: Apache-2.0
"""Takes image messages on a thread of its own, past rclpy's executor.

For every message the executor gathers each service, timer and event of the node: more work, in
Python, than everything this node does with the message, and while it lasts the worker cannot run
Python. Here a thread waits for two subscriptions and nothing else. It takes messages the way
`rclpy.wait_for_message` does; measured in docs/performance.md.

While the engine is busy, images stay with the middleware: a newer one would only replace them.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from functools import partial
from threading import Event, Thread
from time import monotonic_ns, time_ns
from typing import Any, NamedTuple

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.subscription import Subscription

from segmif_ros.error_codes import LogThrottle
from segmif_ros.ros.node.statistics import NANOSECONDS
from segmif_ros.ros.rclpy_private import SubscriptionWait, take_message

THREAD_NAME = "segmif-intake"

_SHORTEST_REST_NS = 2_000_000
_MOST_LOST = 100
"""Numbers further apart are those of two publishers on one topic."""


class _Taken(NamedTuple):
    """A message, how long it lay with the middleware, and how many before it were overwritten."""

    message: Any
    waited_ns: int
    lost: int


class _Source:
    """A subscription and the number that its publisher gave the newest message."""

    def __init__(self, subscription: Any) -> None:
        self.subscription = subscription
        self.depth: int = subscription.qos_profile.depth
        self._number = 0

    def take(self) -> _Taken | None:
        """Return the next message, None if there is none."""
        taken = take_message(self.subscription)
        if taken is None:
            return None
        message, info = taken
        before, self._number = self._number, info.get("publication_sequence_number") or 0
        lost = self._number - before - 1 if before else 0
        waited_ns = time_ns() - (info.get("received_timestamp") or 0)
        return _Taken(
            message,
            waited_ns if 0 < waited_ns < NANOSECONDS else 0,
            lost if 0 < lost < _MOST_LOST else 0,
        )


class ReceiverGroup(ReentrantCallbackGroup):
    """Callback group of subscriptions that an `ImageReceiver` serves: the executor passes them by.

    Events of such a subscription stay with the executor and must be off: it would run at
    every message.
    """

    def can_execute(self, entity: Any) -> bool:
        """Keep the executor from taking from the subscription."""
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
        rest_ns: Callable[[], int] = lambda: 0,
        unread: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Start the thread.

        Args:
            subscriptions: made with `callback_group=ReceiverGroup()`; must outlive this object.
                Callbacks take a message, and after a rest also how long it lay there, nanoseconds.
            context: rclpy context of their node.
            log: called with what a callback raises, at most once in ten seconds.
            tick: called every `tick_s`, whether messages come or not.
            tick_s: seconds.
            rest_ns: for how long a message may be left unread; a caller that returns more than 0
                uses only the newest of each subscription.
            unread: called with the number of messages of each subscription that were left out.
        """
        self._sources = [_Source(subscription) for subscription in subscriptions]
        self._rest_ns, self._unread = rest_ns, unread
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
        """False when waiting itself failed: no message is taken."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Finish the current callback and end the thread; no callback runs afterwards."""
        self._stop.set()
        self._messages.wake()
        self._thread.join()
        self._messages.destroy()

    def _run(self) -> None:
        due_ns = monotonic_ns() + self._period_ns
        while not self._stop.is_set():
            try:
                timeout_ns = max(0, due_ns - monotonic_ns())
                rest_ns = min(self._rest_ns(), timeout_ns)
                if rest_ns < _SHORTEST_REST_NS:
                    self._wait(timeout_ns)
                elif not self._stop.wait(rest_ns / NANOSECONDS):
                    self._guarded(self._catch_up)
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
        ready = self._messages.wait(timeout_ns)
        for source in self._sources:
            if source.subscription in ready and not self._stop.is_set():
                self._guarded(partial(self._take, source))

    def _take(self, source: _Source) -> None:
        taken = source.take()
        if taken is not None:
            source.subscription.callback(taken.message)

    def _catch_up(self) -> None:
        """Take what came during a rest, and leave out as many old messages of each as both have.

        What one has more of is kept: an older image may be the partner of the other's newest.
        """
        batches = [[*iter(source.take, None)] for source in self._sources]
        # Where there was room nothing was written over: two publishers, or lost on the way.
        overwritten = [
            sum(taken.lost for taken in batch) * (len(batch) >= source.depth)
            for source, batch in zip(self._sources, batches, strict=True)
        ]
        unread = min(map(len, batches)) and (
            min(len(batch) + lost for batch, lost in zip(batches, overwritten, strict=True)) - 1
        )
        if unread:
            self._unread(unread)
        for source, batch, lost in zip(self._sources, batches, overwritten, strict=True):
            for taken in batch[max(0, unread - lost) :]:
                if not self._stop.is_set():
                    deliver = source.subscription.callback
                    self._guarded(partial(deliver, taken.message, taken.waited_ns))

    def _guarded(self, action: Callable[[], None]) -> None:
        """Run something that must not end the thread: its end would go unnoticed."""
        try:
            action()
        except Exception as err:
            self._failures += 1
            if self._throttle.ready(monotonic_ns()):
                self._log(
                    f"taking an image failed ({self._failures} so far): {err!r}\n"
                    f"{traceback.format_exc()}"
                )
