# SPDX-License-Identifier: Apache-2.0
"""The receiving side: image messages are checked, counted and paired, and nothing else.

Every result passes one place, `_hand_over`: it lets through what the mode in force calls for, and
no stamp twice. So a change of mode can tear no pair and mix none with a single image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Lock
from time import monotonic_ns
from typing import Any

from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Header

from segmif_ros.error_codes import LogThrottle
from segmif_ros.frames import Frame, Pair, PictureState
from segmif_ros.images.raw import ImageRefused, Refusal, objection
from segmif_ros.pairing import MILLISECOND, Decisions, DropReason, Stream, StreamPairer, stamp_of
from segmif_ros.parameters import Settings
from segmif_ros.registration import Geometry
from segmif_ros.ros.node.camera_infos import CameraInfoInput
from segmif_ros.ros.node.image_input import ImageInput
from segmif_ros.ros.node.image_receiver import ReceiverGroup
from segmif_ros.ros.node.modes import (
    ALONE,
    NO_PAIRS,
    Mode,
    ModeStatus,
    ModeTracker,
    Problem,
    StampGate,
)
from segmif_ros.ros.node.node_parameters import NodeParameters
from segmif_ros.ros.node.statistics import NANOSECONDS, Statistics
from segmif_ros.thermal import FreezeLimits, FreezeWatch

TICK_S = 0.04
"""How often the owner calls `Inputs.tick`."""

FAILURES_IN_A_ROW = 5
"""After so many consecutive failures the mode is `stopped`. The
worker is still given every pair, so that one that succeeds ends it."""

_UNUSABLE = (DropReason.ZERO_STAMP, DropReason.DUPLICATE, DropReason.REORDERED)
"""Frames with such a stamp are unusable alone as well."""


class Inputs:
    """Two cameras, the pairer between them, and the mode that follows.

    Exists while the node is active; `tick` ends the pairer's waiting and notices silence.
    Compressed images arrive on the threads that decode them, so one lock guards all that an
    arrival changes.
    """

    def __init__(
        self,
        node: LifecycleNode,
        parameters: NodeParameters,
        statistics: Statistics,
        offer: Callable[[Pair], None],
        announce: Callable[[ModeStatus], None],
        *,
        calibration: Geometry | None = None,
    ) -> None:
        """Subscribe.

        Args:
            node: owner of the subscriptions.
            parameters: read at every pair, so that live changes take effect.
            statistics: the counters.
            offer: takes a finished pair, or one image alone; must return at once.
            announce: called with every change of the mode or its reason, and of the first.
            calibration: what the worker registers with. Thermal images of another size are refused,
                RGB images of another size continue alone.
        """
        self._node = node
        self._parameters = parameters
        self._statistics = statistics
        self._offer = offer
        self._announce = announce
        self._calibration = calibration
        self._pairer: StreamPairer[Frame] = StreamPairer(parameters.settings().pairing)
        self._refusals = {stream: LogThrottle() for stream in Stream}
        self._followed: Settings | None = None
        self._jumps = 0
        self._clocks: int | None = None
        self._modes = ModeTracker(monotonic_ns())
        self._gate = StampGate()
        self._freeze = {stream: FreezeWatch(FreezeLimits.of(stream)) for stream in Stream}
        self._rgb_size: tuple[int, int] | None = None
        self._rgb_frame_id = ""
        self._lock = Lock()
        self._closed = False
        statistics.failed_in_a_row = 0
        compressed = parameters.settings().compressed_inputs
        self._cameras = {
            stream: ImageInput(
                node,
                stream,
                self._on_image,
                compressed=stream in compressed,
                callback_group=ReceiverGroup(),
            )
            for stream in Stream
        }
        self._camera_infos = {stream: CameraInfoInput(node, stream) for stream in Stream}
        self._failing = False
        self._announced = self._modes.status
        announce(self._announced)

    @property
    def pairer(self) -> StreamPairer[Frame]:
        """The pairer, for diagnostics."""
        return self._pairer

    @property
    def subscriptions(self) -> tuple[Any, ...]:
        """What an `ImageReceiver` takes the messages of."""
        return tuple(camera.subscription for camera in self._cameras.values())

    def camera(self, stream: Stream) -> ImageInput:
        """Return the subscription of one camera."""
        return self._cameras[stream]

    def freeze(self, stream: Stream) -> FreezeWatch:
        """Return whether a camera repeats its picture."""
        return self._freeze[stream]

    def camera_info(self, stream: Stream) -> CameraInfoInput:
        """Return what is known of a camera's camera_info."""
        return self._camera_infos[stream]

    @property
    def in_step(self) -> bool:
        """Whether both cameras' newest images make the pairs: then older ones need not be read."""
        held = any(self._pairer.held(stream) for stream in Stream)
        return self._modes.status.mode is Mode.FUSED and not held

    def unread(self, pairs: int) -> None:
        """Count images of both cameras that gave way to newer ones before they were read."""
        now_ns, statistics = monotonic_ns(), self._statistics
        with self._lock:
            for _ in range(pairs):
                statistics.pair_rate.add(now_ns)
                for counts in statistics.streams.values():
                    counts.rate.add(now_ns)
            for counts in statistics.streams.values():
                counts.received += pairs
            statistics.pairs += pairs
            statistics.replaced += pairs

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
                self._take(self._pairer.tick(self._now_ns()))
            self._compare_clocks()
            self._decide()
        for info in self._camera_infos.values():
            info.look(now_ns)

    def _on_image(
        self,
        stream: Stream,
        outcome: Frame | ImageRefused,
        text: str,
        received_ns: int,
        now_ns: int,
    ) -> None:
        with self._lock:
            if self._closed:
                return
            counts = self._statistics.streams[stream]
            counts.received += 1
            counts.last_arrival_ns = received_ns
            counts.rate.add(received_ns)
            counts.format = text
            self._follow_settings()
            if isinstance(outcome, Frame):
                mode = self._parameters.settings().thermal.mode
                outcome = (
                    objection(
                        stream, outcome.view, thermal_mode=mode, calibration=self._calibration
                    )
                    or outcome
                )
            if isinstance(outcome, ImageRefused):
                self._refuse(stream, outcome, received_ns)
            else:
                self._accept(stream, outcome, now_ns)

    def _refuse(self, stream: Stream, refusal: ImageRefused, received_ns: int) -> None:
        counts = self._statistics.streams[stream]
        counts.refused[refusal.reason] += 1
        counts.last_refusal = str(refusal)
        if refusal.reason is not Refusal.BUSY:  # the camera is well, this machine is slow
            self._modes.trouble(stream, Problem.UNUSABLE, received_ns)
        self._decide()
        if self._refusals[stream].ready(received_ns):
            self._node.get_logger().warning(
                f"{self._cameras[stream].topic}: image refused ({counts.refused_total()} so far): "
                f"{counts.last_refusal}"
            )

    def _accept(self, stream: Stream, frame: Frame, now_ns: int) -> None:
        counts = self._statistics.streams[stream]
        counts.frame_ids.append(frame.header.frame_id)
        counts.stamps.observe(frame.stamp_ns, now_ns, frame.received_ns)
        if frame.stamp_ns > 0:
            self._statistics.add_transport(stream, (now_ns - frame.stamp_ns) / MILLISECOND)
        picture = self._freeze[stream].observe(frame.view.pixels, frame.received_ns)
        if picture is not PictureState.FRESH:
            frame = replace(frame, picture=picture)
        usable = frame.stamp_ns > 0
        if self._pairs_up(stream, frame):
            # Now, not at its arrival: while it was decoded, the other's may have overtaken it.
            decisions = self._pairer.push(stream, frame.stamp_ns, frame, arrival_ns=self._now_ns())
            usable = decisions.refused not in _UNUSABLE
        else:
            decisions = Decisions()
            counts.dropped[DropReason.OTHER_SIZE] += 1
        if frame.is_frozen or not usable:
            problem = Problem.FROZEN if frame.is_frozen else Problem.UNUSABLE
            self._modes.trouble(stream, problem, frame.received_ns)
        else:
            self._modes.image(stream, frame.received_ns)
        self._take(decisions)
        if usable and not frame.is_frozen and self._modes.status.mode is ALONE[stream]:
            self._hand_over_alone(stream, frame)

    def _pairs_up(self, stream: Stream, frame: Frame) -> bool:
        """Return whether the image fits the calibration; a thermal one that does not is refused."""
        if stream is Stream.THERMAL:
            return True
        expected = frame.size if self._calibration is None else self._calibration.rgb_size
        self._rgb_size, self._rgb_frame_id = expected, frame.header.frame_id
        if frame.size == expected:
            return True
        self._modes.no_pairs_reason = (
            f"rgb images of {frame.size[1]}x{frame.size[0]} pixels do not fit the calibration for "
            f"{expected[1]}x{expected[0]}; calibrate again at this resolution"
        )
        return False

    def _follow_settings(self) -> None:
        settings = self._parameters.settings()
        if settings is self._followed:
            return
        self._followed = settings
        if settings.pairing != self._pairer.config:
            self._take(self._pairer.reset(settings.pairing))
        for stream, watch in self._freeze.items():
            watch.limits = FreezeLimits.of(stream, detect=settings.freeze_detection)

    def _take(self, decisions: Decisions[Frame]) -> None:
        for drop in decisions.drops:
            self._statistics.streams[drop.stream].dropped[drop.reason] += 1
        jumps = self._pairer.clock_jumps - self._jumps
        if jumps:
            # Added up: every activation has a new pairer, and the same statistics.
            self._jumps += jumps
            self._statistics.clock_jumps += jumps
            self._gate.reset()
        now_ns = monotonic_ns()
        for match in decisions.pairs:
            self._statistics.pairs += 1
            self._statistics.dt_ms.add(abs(match.dt_ns) / MILLISECOND)
            self._statistics.pair_rate.add(now_ns)
            if not (match.rgb.payload.is_frozen or match.thermal.payload.is_frozen):
                self._modes.pair(now_ns)
        self._decide()
        for match in decisions.pairs:
            rgb, thermal = match.rgb.payload, match.thermal.payload
            if self._modes.status.mode is Mode.FUSED and self._gate.passes(rgb.stamp_ns):
                self._hand_over(rgb, thermal, rgb.header, rgb.size)
            else:
                self._statistics.withheld += 1

    def _compare_clocks(self) -> None:
        """Name two clocks as the reason while nothing pairs; logged once."""
        if self._modes.status.mode is Mode.FUSED:
            self._modes.no_pairs_reason = NO_PAIRS
            return
        config, found = self._pairer.config, self._statistics.clock_difference()
        if found is None or not found.matters(config.thermal_offset_ns - config.rgb_offset_ns):
            if self._clocks is not None:
                self._modes.no_pairs_reason, self._clocks = NO_PAIRS, None
        elif self._clocks is None or abs(found.thermal_ahead_ns - self._clocks) > NANOSECONDS // 2:
            self._modes.no_pairs_reason = found.text()
            self._clocks = found.thermal_ahead_ns

    def _decide(self) -> None:
        self._modes.decide(self._parameters.settings().modes, monotonic_ns())
        status, was_failing = self._modes.status, self._failing
        self._failing = self._statistics.failed_in_a_row >= FAILURES_IN_A_ROW
        if self._failing:
            if was_failing:
                return  # logged once, whatever the next one's text
            text = f"the engine fails at every pair: {self._statistics.last_failure}"
            status = ModeStatus(Mode.STOPPED, text)
        if status != self._announced:
            self._announced = status
            self._announce(status)

    def _hand_over_alone(self, stream: Stream, frame: Frame) -> None:
        if not self._gate.passes(frame.stamp_ns):
            return
        self._statistics.singles += 1
        if stream is Stream.RGB:
            self._hand_over(frame, None, frame.header, frame.size)
            return
        header = frame.header
        if self._rgb_size is not None:
            header = Header(stamp=header.stamp, frame_id=self._rgb_frame_id)
        self._hand_over(None, frame, header, self._rgb_size)

    def _hand_over(
        self,
        rgb: Frame | None,
        thermal: Frame | None,
        header: Header,
        rgb_size: tuple[int, int] | None,
    ) -> None:
        self._offer(
            Pair(
                rgb,
                thermal,
                stamp_ns=stamp_of(header),
                thermal_stamp_ns=0 if thermal is None else thermal.stamp_ns,
                frame_id=header.frame_id,
                rgb_size=rgb_size,
                header=header,
                settings=self._parameters.settings(),
                decided_ns=monotonic_ns(),
                camera_info=self._camera_infos[Stream.RGB].newest,
            )
        )

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)
