# SPDX-License-Identifier: Apache-2.0
"""The executor's side: image messages are checked, counted and paired, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic_ns

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import Image

from segmif_ros.pairing import MILLISECOND, Decisions, Pair, Stream, StreamPairer
from segmif_ros.ros.images import VIEWS, ImageRefused
from segmif_ros.ros.node_parameters import NodeParameters
from segmif_ros.ros.processing import Job, Received
from segmif_ros.ros.qos import INPUT_TOPICS, overridable, sensor_input
from segmif_ros.ros.statistics import NANOSECONDS, Statistics

_TICK_S = 0.04
_LOG_EVERY_NS = 10 * NANOSECONDS


class Inputs:
    """Two subscriptions, the pairer between them, and the timer that ends its waiting.

    Exists while the node is active.
    """

    def __init__(
        self,
        node: LifecycleNode,
        parameters: NodeParameters,
        statistics: Statistics,
        offer: Callable[[Job], None],
    ) -> None:
        """Subscribe.

        Args:
            node: owner of the subscriptions.
            parameters: read at every pair, so that live changes take effect.
            statistics: the counters.
            offer: takes a finished pair; must return at once.
        """
        self._node = node
        self._parameters = parameters
        self._statistics = statistics
        self._offer = offer
        self._pairer: StreamPairer[Received] = StreamPairer(parameters.settings().pairing)
        self._logged_ns: dict[Stream, int] = {}
        self._subscriptions = {
            stream: node.create_subscription(
                Image,
                topic,
                partial(self._on_image, stream),
                sensor_input(),
                qos_overriding_options=overridable(),
            )
            for stream, topic in INPUT_TOPICS.items()
        }
        self._topics = {s: str(sub.topic_name) for s, sub in self._subscriptions.items()}
        self._timer = node.create_timer(_TICK_S, self._on_tick)

    @property
    def pairer(self) -> StreamPairer[Received]:
        """The pairer, for diagnostics."""
        return self._pairer

    def topic(self, stream: Stream) -> str:
        """Return the full topic name of an input after remapping."""
        return self._topics[stream]

    def publisher_count(self, stream: Stream) -> int:
        """Return how many publishers the topic of an input has."""
        return int(self._node.count_publishers(self.topic(stream)))

    def close(self) -> None:
        """Unsubscribe; frames that were held are counted as dropped."""
        self._node.destroy_timer(self._timer)
        for subscription in self._subscriptions.values():
            self._node.destroy_subscription(subscription)
        self._take(self._pairer.reset())

    def _on_image(self, stream: Stream, message: Image) -> None:
        received_ns = monotonic_ns()
        now_ns = self._node.get_clock().now().nanoseconds
        counts = self._statistics.streams[stream]
        counts.received += 1
        counts.last_arrival_ns = received_ns
        counts.rate.add(received_ns)
        counts.format = f"{message.width}x{message.height} {message.encoding}"
        try:
            view = VIEWS[stream.value](message)
        except ImageRefused as refusal:
            counts.refused[refusal.reason] += 1
            counts.last_refusal = str(refusal)
            self._log_refusal(stream, received_ns)
            return
        self._follow_settings()
        stamp = message.header.stamp
        stamp_ns = stamp.sec * NANOSECONDS + stamp.nanosec
        if stamp_ns > 0:
            self._statistics.add_transport(stream, (now_ns - stamp_ns) / MILLISECOND)
        received = Received(view, message.header, received_ns)
        self._take(self._pairer.push(stream, stamp_ns, received, arrival_ns=now_ns))

    def _on_tick(self) -> None:
        if any(self._pairer.held(stream) for stream in Stream):
            self._follow_settings()
            self._take(self._pairer.tick(self._node.get_clock().now().nanoseconds))

    def _follow_settings(self) -> None:
        wanted = self._parameters.settings().pairing
        if wanted != self._pairer.config:
            self._take(self._pairer.reset(wanted))

    def _take(self, decisions: Decisions[Received]) -> None:
        for drop in decisions.drops:
            self._statistics.streams[drop.stream].dropped[drop.reason] += 1
        self._statistics.clock_jumps = self._pairer.clock_jumps
        for pair in decisions.pairs:
            self._hand_over(pair)

    def _hand_over(self, pair: Pair[Received]) -> None:
        self._statistics.pairs += 1
        self._statistics.dt_ms.add(abs(pair.dt_ns) / MILLISECOND)
        self._offer(
            Job(
                rgb=pair.rgb.payload,
                thermal=pair.thermal.payload,
                stamp_ns=pair.rgb.stamp_ns,
                thermal_stamp_ns=pair.thermal.stamp_ns,
                decided_ns=monotonic_ns(),
                settings=self._parameters.settings(),
            )
        )

    def _log_refusal(self, stream: Stream, now_ns: int) -> None:
        """Say it once in ten seconds: a bad driver sends thirty of them a second."""
        if now_ns - self._logged_ns.get(stream, -_LOG_EVERY_NS) < _LOG_EVERY_NS:
            return
        self._logged_ns[stream] = now_ns
        counts = self._statistics.streams[stream]
        self._node.get_logger().warning(
            f"{self.topic(stream)}: image refused ({counts.refused_total()} so far): "
            f"{counts.last_refusal}"
        )
