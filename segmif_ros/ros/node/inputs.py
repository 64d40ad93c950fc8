# SPDX-License-Identifier: Apache-2.0
"""The intake's side: image messages are checked, counted and paired, and nothing else.

Every result passes one place, `_hand_over`: it lets through what the mode in force calls for, and
no stamp twice. So a change of mode can tear no pair and mix none with a single image.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from time import monotonic_ns
from typing import Any

from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Header

from segmif_ros.frames import PictureState
from segmif_ros.images.raw import ImageRefused, ImageView, Refusal
from segmif_ros.images.suitability import objection
from segmif_ros.pairing import (
    MILLISECOND,
    Decisions,
    Drop,
    DropReason,
    Pair,
    Stream,
    StreamPairer,
)
from segmif_ros.registration import Geometry
from segmif_ros.ros.log_throttle import Seldom
from segmif_ros.ros.node.camera_info_input import CameraInfoInput
from segmif_ros.ros.node.image_input import Arrival, ImageInput
from segmif_ros.ros.node.image_receiver import IntakeGroup
from segmif_ros.ros.node.modes import (
    ALONE,
    NO_PAIRS,
    Mode,
    ModeTracker,
    Problem,
    StampGate,
    Standing,
)
from segmif_ros.ros.node.node_parameters import NodeParameters
from segmif_ros.ros.node.processing import Job, Received
from segmif_ros.ros.node.statistics import NANOSECONDS, Statistics
from segmif_ros.thermal import FreezeLimits, FreezeWatch

TICK_S = 0.04
"""How often the owner calls `Inputs.tick`."""

_UNUSABLE = (DropReason.ZERO_STAMP, DropReason.DUPLICATE, DropReason.REORDERED)
"""Frames with such a stamp are of no use alone either."""


class Inputs:
    """Two cameras, the pairer between them, and the mode that follows from what they bring.

    Exists while the node is active; `tick` ends the pairer's waiting and notices silence.
    Compressed images arrive on the threads that decode them, so one lock guards all that an
    arrival changes.
    """

    def __init__(
        self,
        node: LifecycleNode,
        parameters: NodeParameters,
        statistics: Statistics,
        offer: Callable[[Job], None],
        announce: Callable[[Standing], None],
        *,
        calibration: Geometry | None = None,
    ) -> None:
        """Subscribe.

        Args:
            node: owner of the subscriptions.
            parameters: read at every pair, so that live changes take effect.
            statistics: the counters.
            offer: takes a finished pair, or one image alone; must return at once.
            announce: told of every change of the mode or its reason, and of the first.
            calibration: what the worker registers with; images of another size are refused.
        """
        self._node = node
        self._parameters = parameters
        self._statistics = statistics
        self._offer = offer
        self._pairer: StreamPairer[Received] = StreamPairer(parameters.settings().pairing)
        self._refusals = {stream: Seldom() for stream in Stream}
        self._announce = announce
        self._calibration = calibration
        self._jumps = 0
        self._clocks: int | None = None
        self._modes = ModeTracker(monotonic_ns())
        self._gate = StampGate()
        self._content = {stream: FreezeWatch(FreezeLimits.of(stream)) for stream in Stream}
        self._rgb_size: tuple[int, int] | None = None
        self._rgb_frame_id = ""
        self._lock = Lock()
        self._closed = False
        compressed = parameters.settings().compressed_inputs
        self._cameras = {
            stream: ImageInput(
                node,
                stream,
                self._on_arrival,
                compressed=stream in compressed,
                callback_group=IntakeGroup(),
            )
            for stream in Stream
        }
        self._camera_infos = {stream: CameraInfoInput(node, stream) for stream in Stream}
        announce(self._modes.standing)

    @property
    def standing(self) -> Standing:
        """The mode in force and its reason."""
        return self._modes.standing

    @property
    def pairer(self) -> StreamPairer[Received]:
        """The pairer, for diagnostics."""
        return self._pairer

    @property
    def subscriptions(self) -> tuple[Any, ...]:
        """What an `Intake` takes the messages of."""
        return tuple(camera.subscription for camera in self._cameras.values())

    def topic(self, stream: Stream) -> str:
        """Return the full topic name of an input after remapping."""
        return self._cameras[stream].topic

    def type_name(self, stream: Stream) -> str:
        """Return the ROS type that an input hears."""
        return self._cameras[stream].type_name

    def qos(self, stream: Stream) -> Any:
        """Return the QoS profile that an input asks for, overrides included."""
        return self._cameras[stream].qos

    def content(self, stream: Stream) -> FreezeWatch:
        """Return whether a camera repeats its picture."""
        return self._content[stream]

    def camera_info(self, stream: Stream) -> CameraInfoInput:
        """Return what is known of a camera's camera_info."""
        return self._camera_infos[stream]

    def close(self) -> None:
        """Unsubscribe; frames that were held are counted as dropped."""
        for camera in self._cameras.values():
            camera.close()
        for info in self._camera_infos.values():
            info.close()
        with self._lock:
            self._closed = True
            self._take(self._pairer.reset())

    def tick(self) -> None:
        """End what has waited long enough, and notice a camera that is silent."""
        now_ns = monotonic_ns()
        self._statistics.ticked_ns = now_ns
        with self._lock:
            self._follow_settings()
            if any(self._pairer.held(stream) for stream in Stream):
                self._take(self._pairer.tick(self._node.get_clock().now().nanoseconds))
            self._compare_clocks()
            self._decide()
        for info in self._camera_infos.values():
            info.look(now_ns)

    def _on_arrival(self, arrival: Arrival) -> None:
        with self._lock:
            if self._closed:
                return
            counts = self._statistics.streams[arrival.stream]
            counts.received += 1
            counts.last_arrival_ns = arrival.received_ns
            counts.rate.add(arrival.received_ns)
            counts.format = arrival.format
            outcome = arrival.outcome
            if isinstance(outcome, ImageView):
                outcome = self._objection(arrival.stream, outcome) or outcome
            if isinstance(outcome, ImageRefused):
                self._refuse(arrival, outcome)
            else:
                self._accept(arrival, outcome)

    def _objection(self, stream: Stream, view: ImageView) -> ImageRefused | None:
        mode = self._parameters.settings().thermal.mode
        return objection(stream, view, thermal_mode=mode, calibration=self._calibration)

    def _refuse(self, arrival: Arrival, refusal: ImageRefused) -> None:
        counts = self._statistics.streams[arrival.stream]
        counts.refused[refusal.reason] += 1
        counts.last_refusal = str(refusal)
        if refusal.reason is not Refusal.BUSY:  # the camera is well, this machine is slow
            self._modes.trouble(arrival.stream, Problem.UNUSABLE, arrival.received_ns)
        self._decide()
        self._log_refusal(arrival.stream, arrival.received_ns)

    def _accept(self, arrival: Arrival, view: ImageView) -> None:
        stream, received_ns, now_ns = arrival.stream, arrival.received_ns, arrival.now_ns
        counts = self._statistics.streams[stream]
        self._follow_settings()
        stamp = arrival.header.stamp
        stamp_ns = stamp.sec * NANOSECONDS + stamp.nanosec
        counts.stamps.observe(stamp_ns, now_ns, received_ns)
        if stamp_ns > 0:
            self._statistics.add_transport(stream, (now_ns - stamp_ns) / MILLISECOND)
        picture = self._content[stream].observe(view.pixels, received_ns)
        frozen = picture is PictureState.FROZEN
        received = Received(view, arrival.header, received_ns, picture)
        if stream is Stream.RGB:
            self._rgb_size = (int(view.pixels.shape[0]), int(view.pixels.shape[1]))
            self._rgb_frame_id = arrival.header.frame_id
        # Now, not at its arrival: while it was decoded, the other camera's may have overtaken it.
        pushed_ns = self._node.get_clock().now().nanoseconds
        decisions = self._pairer.push(stream, stamp_ns, received, arrival_ns=pushed_ns)
        usable = not any(Drop(stream, stamp_ns, reason) in decisions.drops for reason in _UNUSABLE)
        if frozen or not usable:
            problem = Problem.FROZEN if frozen else Problem.UNUSABLE
            self._modes.trouble(stream, problem, received_ns)
        else:
            self._modes.image(stream, received_ns)
        self._take(decisions)
        if usable and not frozen and self.standing.mode is ALONE[stream]:
            self._hand_over_alone(stream, stamp_ns, received)

    def _follow_settings(self) -> None:
        settings = self._parameters.settings()
        if settings.pairing != self._pairer.config:
            self._take(self._pairer.reset(settings.pairing))
        for stream, watch in self._content.items():
            watch.limits = FreezeLimits.of(stream, detect=settings.freeze_detection)

    def _take(self, decisions: Decisions[Received]) -> None:
        for drop in decisions.drops:
            self._statistics.streams[drop.stream].dropped[drop.reason] += 1
        jumps = self._pairer.clock_jumps - self._jumps
        if jumps:
            # Added up: the pairer begins anew with every activation, the statistics do not.
            self._jumps += jumps
            self._statistics.clock_jumps += jumps
            self._gate.reset()
        now_ns = monotonic_ns()
        for pair in decisions.pairs:
            self._statistics.pairs += 1
            self._statistics.dt_ms.add(abs(pair.dt_ns) / MILLISECOND)
            self._statistics.pair_rate.add(now_ns)
            if not (pair.rgb.payload.frozen or pair.thermal.payload.frozen):
                self._modes.pair(now_ns)
        self._decide()
        for pair in decisions.pairs:
            self._hand_over_pair(pair)

    def _compare_clocks(self) -> None:
        """Name two clocks as the reason while nothing pairs; one that jitters is said once."""
        if self.standing.mode is Mode.FUSED:
            return
        config, found = self._pairer.config, self._statistics.clock_difference()
        if found is None or not found.matters(config.thermal_offset_ns - config.rgb_offset_ns):
            self._modes.no_pairs_reason, self._clocks = NO_PAIRS, None
        elif self._clocks is None or abs(found.thermal_ahead_ns - self._clocks) > NANOSECONDS // 2:
            self._modes.no_pairs_reason = found.text()
            self._clocks = found.thermal_ahead_ns

    def _decide(self) -> None:
        if self._modes.decide(self._parameters.settings().modes, monotonic_ns()):
            self._announce(self.standing)

    def _hand_over_pair(self, pair: Pair[Received]) -> None:
        if self.standing.mode is not Mode.FUSED or not self._gate.passes(pair.rgb.stamp_ns):
            self._statistics.withheld += 1
            return
        self._offer(
            Job(
                rgb=pair.rgb.payload,
                thermal=pair.thermal.payload,
                header=pair.rgb.payload.header,
                stamp_ns=pair.rgb.stamp_ns,
                thermal_stamp_ns=pair.thermal.stamp_ns,
                decided_ns=monotonic_ns(),
                settings=self._parameters.settings(),
                rgb_size=pair.rgb.payload.view.pixels.shape[:2],
                camera_info=self._camera_infos[Stream.RGB].newest,
            )
        )

    def _hand_over_alone(self, stream: Stream, stamp_ns: int, image: Received) -> None:
        if not self._gate.passes(stamp_ns):
            return
        self._statistics.singles += 1
        thermal = stream is Stream.THERMAL
        header = image.header
        if thermal and self._rgb_size is not None:
            header = Header(stamp=image.header.stamp, frame_id=self._rgb_frame_id)
        self._offer(
            Job(
                rgb=None if thermal else image,
                thermal=image if thermal else None,
                header=header,
                stamp_ns=stamp_ns,
                thermal_stamp_ns=stamp_ns if thermal else 0,
                decided_ns=monotonic_ns(),
                settings=self._parameters.settings(),
                rgb_size=self._rgb_size,
                camera_info=self._camera_infos[Stream.RGB].newest,
            )
        )

    def _log_refusal(self, stream: Stream, now_ns: int) -> None:
        if not self._refusals[stream].due(now_ns):
            return
        counts = self._statistics.streams[stream]
        self._node.get_logger().warning(
            f"{self.topic(stream)}: image refused ({counts.refused_total()} so far): "
            f"{counts.last_refusal}"
        )
