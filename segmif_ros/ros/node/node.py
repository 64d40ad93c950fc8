# SPDX-License-Identifier: Apache-2.0
"""The lifecycle node `segmif`: two camera topics in, fused image and class mask out.

configure loads the model, activate subscribes, deactivate unsubscribes, cleanup frees the model.
The intake's thread only checks and pairs messages; one worker thread owns the engine; the executor
is left with transitions and parameters.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from threading import Event
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from segmif_ros.bundle import BundleError
from segmif_ros.engines.base import EngineError
from segmif_ros.error_codes import LogThrottle, code_of
from segmif_ros.pairing import Stream
from segmif_ros.parameters import ParameterError, Settings
from segmif_ros.registration import RegistrationError
from segmif_ros.ros.diagnostics.reporter import Reporter, Snapshot
from segmif_ros.ros.node.alignment import Measured
from segmif_ros.ros.node.image_receiver import ImageReceiver
from segmif_ros.ros.node.inputs import TICK_S, Inputs
from segmif_ros.ros.node.modes import Mode, ModeStatus
from segmif_ros.ros.node.node_parameters import NodeParameters
from segmif_ros.ros.node.outputs import Outputs
from segmif_ros.ros.node.statistics import NANOSECONDS, Statistics
from segmif_ros.ros.node.worker import GivenUpError, Worker
from segmif_ros.ros.qos import OUTPUTS
from segmif_ros.ros.rclpy_private import guard_services

if TYPE_CHECKING:
    from segmif_ros.ros.node.point_input import PointInput
    from segmif_ros.ros.node.static_frames import StaticFrames

SUCCESS = TransitionCallbackReturn.SUCCESS
FAILURE = TransitionCallbackReturn.FAILURE
ERROR = TransitionCallbackReturn.ERROR

CONFIGURE_ERRORS = (BundleError, EngineError, RegistrationError, ParameterError, FileNotFoundError)
"""What a user can cause and correct: one line in the log, and the transition fails."""

_INACTIVE = ModeStatus(Mode.STOPPED, "the node is not active")
_ASLEEP = ModeStatus(Mode.STOPPED, "asleep: no output has a subscriber, and lazy is set")
_LAST_REPORT_S = 0.5
_LOOK_S = 0.2
_ASLEEP_AFTER_NS = 2 * NANOSECONDS
"""Readers that restart, or whose discovery lags, do not cost a subscription to the cameras."""
_LIFECYCLE = {
    "configure": ("configuring", "inactive"),
    "activate": ("activating", "active"),
    "deactivate": ("deactivating", "inactive"),
    "cleanup": ("cleaning up", "unconfigured"),
    "shutdown": ("shutting down", "finalized"),
    "error": ("recovering", "unconfigured"),
}
"""Transition -> what diagnostics say during and after it."""


class SegmifNode(LifecycleNode):
    """See the module; topics, parameters and diagnostics are described in the README."""

    def __init__(self, stop: Event | None = None, **node_options: Any) -> None:
        """Declare the parameters; everything else waits for configure.

        Args:
            stop: set by the owner when the process is to end; waiting for a runtime then ends.
            node_options: for `LifecycleNode`.
        """
        super().__init__("segmif", **node_options)
        self._stop = stop or Event()
        self.parameters = NodeParameters(self)
        self.last_error = ""
        self._statistics = Statistics(OUTPUTS)
        self._worker: Worker | None = None
        self._left_behind = False
        self._outputs: Outputs | None = None
        self._frames: StaticFrames | None = None
        self._points: PointInput | None = None
        self._inputs: Inputs | None = None
        self._active_since_ns: int | None = None
        self._receiver: ImageReceiver | None = None
        self._readers_timer: Any = None
        self._readers_ns = 0
        self._throttle = LogThrottle()
        self._mode_status = _INACTIVE
        self._lifecycle = "unconfigured"
        self._reporter = Reporter(self, self.parameters, self._snapshot)
        guard_services(self, self.get_logger().warning)

    @property
    def statistics(self) -> Statistics:
        """Counters and times since the last configuration; they outlive the active state."""
        return self._statistics

    @property
    def engine_facts(self) -> dict[str, str]:
        """What executes the model, empty while none is loaded."""
        worker = self._worker
        return {} if worker is None else worker.describe()

    @property
    def left_behind(self) -> bool:
        """Whether a runtime was still busy when it was given up: the process cannot end cleanly."""
        return self._left_behind

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm up the model, create the output topics."""
        return self._transition("configure", state, self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the cameras."""
        return self._transition("activate", state, self._activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe, finish the current pair and report once more."""
        return self._transition("deactivate", state, self._deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model and the topics."""
        return self._transition("cleanup", state, self._release)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything from whatever state."""
        return self._transition("shutdown", state, self._shut_down)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything; the node is then unconfigured and can be configured again."""
        return self._transition("error", state, self._release)

    def autostart(self) -> bool:
        """Configure and activate; False when a transition failed (`last_error` says why).

        With `build_only` the process is to end after configure.
        """
        if self.trigger_configure() != SUCCESS:
            return self._stop.is_set()
        if self.parameters.settings().build_only:
            self.get_logger().info("the engine is ready, and build_only is set: ending")
            self._stop.set()
        return self._stop.is_set() or self.trigger_activate() == SUCCESS

    @property
    def is_deaf(self) -> bool:
        """Whether the thread that takes images ended by itself."""
        return self._receiver is not None and not self._receiver.is_alive

    def note_callback_failure(self, err: Exception) -> None:
        """Log what a callback raised, at a limited rate, and continue: the cameras still send."""
        if self._throttle.ready(monotonic_ns()):
            trace = "".join(traceback.format_exception(err))
            self.get_logger().error(f"{code_of(err)} a callback of rclpy failed: {err!r}\n{trace}")

    def close(self) -> None:
        """Leave the active state properly and free everything."""
        if self._readers_timer is not None:
            self.trigger_deactivate()
        self._release()
        self._reporter.close()

    def _transition(
        self, name: str, state: LifecycleState, action: Callable[[], None]
    ) -> TransitionCallbackReturn:
        """Run one transition; rclpy would swallow what it raises without a word."""
        self._lifecycle, after = _LIFECYCLE[name]
        try:
            if name == "activate":
                # First: what is published by an inactive lifecycle publisher is lost, and counted.
                super().on_activate(state)
            action()
        except (*CONFIGURE_ERRORS, GivenUpError) as err:
            self.last_error = f"{code_of(err)} {name} failed: {err}"
            if self._stop.is_set():
                self.get_logger().info(self.last_error)
            else:
                self.get_logger().error(self.last_error)
            self._release()
            self._lifecycle = "unconfigured"
            # After a failed activation the state would be inactive, with nothing configured in it.
            return FAILURE if name == "configure" else ERROR
        except Exception as err:
            self.last_error = f"{code_of(err)} {name} failed: {err!r}"
            self.get_logger().error(f"{self.last_error}\n{traceback.format_exc()}")
            return ERROR
        self._lifecycle = after
        return super().on_deactivate(state) if name == "deactivate" else SUCCESS

    def _configure(self) -> None:
        settings = self.parameters.settings()
        self._statistics = Statistics(OUTPUTS)
        self._worker = Worker(
            self._statistics,
            clock=self.get_clock(),
            logger=self.get_logger(),
            stop=self._stop,
        )
        manifest = self._worker.load(settings)
        self._outputs = Outputs(self, manifest)
        self._frames = self._static_frames(self._worker, settings)
        self._worker.open(self._outputs, self._frames)
        self._outputs.follow(settings.confidence_threshold)
        self._outputs.announce(self._mode_status)
        self.parameters.configured = True
        facts = self._worker.describe()
        self.get_logger().info(
            f"model {manifest.name} on {facts['name']}, {facts['size']}, "
            f"{facts['warmup_ms']} ms an inference; registration {facts['registration']}"
        )

    def _static_frames(self, worker: Worker, settings: Settings) -> StaticFrames | None:
        """Return what publishes and compares frames, None where nothing is known of them."""
        if worker.mounting is None and not (settings.rgb_frame or settings.thermal_frame):
            return None
        from segmif_ros.ros.node.static_frames import StaticFrames

        return StaticFrames(self, settings, worker.calibration, worker.mounting)

    def _activate(self) -> None:
        if self.parameters.settings().build_only:
            raise ParameterError("build_only is set: the node does not listen; set it to false")
        self._listen()
        self._readers_ns = monotonic_ns()
        self._readers_timer = self.create_timer(
            _LOOK_S, self._look_for_readers, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def _listen(self) -> None:
        """Subscribe to the cameras."""
        assert self._worker is not None
        self._inputs = Inputs(
            self,
            self.parameters,
            self._statistics,
            self._worker.offer,
            self._announce,
            calibration=self._worker.calibration,
        )
        inputs, worker = self._inputs, self._worker
        self._receiver = ImageReceiver(
            inputs.subscriptions,
            context=self.context,
            log=self.get_logger().error,
            tick=inputs.tick,
            tick_s=TICK_S,
            rest_ns=lambda: worker.rest_ns() if inputs.in_step else 0,
            unread=inputs.unread,
        )
        self._active_since_ns = monotonic_ns()
        rgb, thermal = (self._inputs.camera(stream).topic for stream in Stream)
        self.get_logger().info(f"active: listening to {rgb}, {thermal}")
        if rgb == thermal:
            self.get_logger().warning(
                f"both inputs are {rgb}: remap ~/input/rgb and ~/input/thermal to two cameras"
            )

    def _deactivate(self) -> None:
        assert self._worker is not None
        self._stop_looking()
        self._stop_listening()
        self._worker.drain()
        self._announce(_INACTIVE)
        self._reporter.report()
        # The process may end right after: let the last figures reach who listens.
        self._reporter.flush(_LAST_REPORT_S)
        self._inputs = None
        self._active_since_ns = None

    def _release(self) -> None:
        """Free what there is; safe in any state."""
        self._stop_looking()
        self._stop_listening()
        self._inputs = None
        self._active_since_ns = None
        self._mode_status = _INACTIVE
        if self._worker is not None:
            if not self._worker.close():
                self._left_behind = True
                self.get_logger().warning("the engine is still busy and is abandoned")
            self._worker = None
        if self._outputs is not None:
            self._outputs.close()
            self._outputs = None
        if self._frames is not None:
            self._frames.close()
            self._frames = None
        self._points = None
        self.parameters.configured = False

    def _shut_down(self) -> None:
        if self._readers_timer is not None:
            self._deactivate()
        self._release()

    def _look_for_readers(self) -> None:
        """With lazy, unsubscribe from the cameras while no output has a subscriber."""
        assert self._outputs is not None
        now_ns, wanted = monotonic_ns(), self._outputs.wanted()
        if "points" in wanted and self._points is None:
            self._points = self._point_input()
        if self._points is not None:
            self._points.listen("points" in wanted)
        if wanted or not self.parameters.settings().lazy:
            self._readers_ns = now_ns
            if self._inputs is None:
                self._listen()
        elif self._inputs is not None and now_ns - self._readers_ns >= _ASLEEP_AFTER_NS:
            self._stop_listening()
            self._inputs = None
            self._active_since_ns = None
            self._announce(_ASLEEP)

    def _point_input(self) -> PointInput:
        """Return the subscriptions to LiDAR and depth camera, which most rigs have not."""
        from segmif_ros.objects.labeller import PointLabeller
        from segmif_ros.ros.node.point_input import PointInput, tf_lookup

        worker, throttle, logger = self._worker, LogThrottle(), self.get_logger()
        assert worker is not None

        def tell(text: str) -> None:
            if throttle.ready(monotonic_ns()):
                logger.warning(text)

        worker.points = PointLabeller(worker.mounting, tell, tf_lookup(self))
        self._statistics.points = worker.points.counts
        return PointInput(self, worker.points)

    def _stop_looking(self) -> None:
        if self._readers_timer is not None:
            self.destroy_timer(self._readers_timer)
            self._readers_timer = None
        if self._points is not None:
            self._points.listen(False)

    def _stop_listening(self) -> None:
        """Take no more messages; safe in any state."""
        if self._receiver is not None:
            self._receiver.close()
            self._receiver = None
        if self._inputs is not None:
            self._inputs.close()

    def _announce(self, mode_status: ModeStatus) -> None:
        """Say it when the mode or its reason changed: on the mode topic, and in the log."""
        before, self._mode_status = self._mode_status, mode_status
        assert self._outputs is not None
        self._outputs.announce(mode_status)
        if mode_status.mode is before.mode:
            return
        text = f"mode {before.mode.value} -> {mode_status.mode.value}: {mode_status.reason}"
        lost = mode_status.mode not in (Mode.FUSED, Mode.WAITING)
        lost = lost and mode_status not in (_INACTIVE, _ASLEEP)
        # Two calls: rclpy refuses another severity from a place that has logged already.
        if lost:
            self.get_logger().warning(text)
        else:
            self.get_logger().info(text)

    def _snapshot(self) -> Snapshot:
        """Return the input of the diagnostics; called on their thread."""
        worker = self._worker  # read once: a transition may take it away meanwhile
        return Snapshot(
            lifecycle=self._lifecycle,
            statistics=self._statistics,
            inputs=self._inputs,
            active_since_ns=self._active_since_ns,
            engine={} if worker is None else worker.describe(),
            mode_status=self._mode_status,
            calibration=None if worker is None else worker.calibration,
            measured=Measured() if worker is None else worker.measured,
        )
