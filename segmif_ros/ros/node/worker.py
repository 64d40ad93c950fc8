# SPDX-License-Identifier: Apache-2.0
"""The worker thread with the model on it, from loading to freeing: a pair becomes published images.

A runtime that loads or computes cannot be interrupted. Therefore every wait for
it has a timeout and also ends when the process is to end; the thread ends by itself.
"""

from __future__ import annotations

import traceback
from threading import Event
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from segmif_ros.bundle import Bundle, Manifest
from segmif_ros.engines import open_engine
from segmif_ros.engines.base import EngineError
from segmif_ros.error_codes import LogThrottle, code_of
from segmif_ros.frames import Frame, Pair, Result
from segmif_ros.pairing import MILLISECOND, Stream
from segmif_ros.parameters import ParameterError, Settings
from segmif_ros.perceiver import Perceiver
from segmif_ros.registration import Geometry, Registration, RegistrationError
from segmif_ros.ros.node.alignment import AlignmentCheck, Measured
from segmif_ros.ros.node.latest_worker import LatestWorker
from segmif_ros.ros.node.outputs import Outputs
from segmif_ros.ros.node.statistics import Statistics
from segmif_ros.ros.qos import DERIVED_TOPICS
from segmif_ros.ros.transport import return_memory
from segmif_ros.scheduling import SchedulingError, bind_thread, raise_priority
from segmif_ros.share import resolve_model
from segmif_ros.thermal import ThermalError, ThermalNormaliser

if TYPE_CHECKING:
    from segmif_ros.objects.labeller import PointLabeller
    from segmif_ros.objects.regions import DetectedObject
    from segmif_ros.registration.calibration import Mounting
    from segmif_ros.ros.node.derived import Derived
    from segmif_ros.ros.node.static_frames import StaticFrames

PAIR_ERRORS = (EngineError, RegistrationError, ThermalError)
"""What a pair can cause: counted, and the next pair is tried."""

PATIENCE_S = 10.0
"""Longest wait for a pair that is being worked on."""
LAST_PATIENCE_S = 0.7
"""The same while the process ends."""

_PROGRESS_S = 3.0
_USUAL_OF = 8
"""What a pair usually takes follows the newest one by an eighth."""
_REST_PERCENT = 75
"""The rest of that time is left to take the images of the next pair."""


class GivenUpError(RuntimeError):
    """The runtime was still busy when waiting for it had to end; the message says with what."""


class Worker:
    """Loads a model, runs pairs through it, and frees it; all of that on one thread of its own."""

    def __init__(
        self,
        statistics: Statistics,
        *,
        clock: Any,
        logger: Any,
        stop: Event,
    ) -> None:
        """Start the thread.

        Args:
            statistics: the counters and times.
            clock: the node's clock.
            logger: the node's logger.
            stop: set when the process is to end.
        """
        self._statistics = statistics
        self._clock = clock
        self._logger = logger
        self._stop = stop
        self._perceiver: Perceiver | None = None
        self._outputs: Outputs | None = None
        self._manifest: Manifest | None = None
        self._derived: Derived | None = None
        self.mounting: Mounting | None = None
        self.points: PointLabeller | None = None
        self._frames: StaticFrames | None = None
        self._facts: dict[str, str] = {}
        self._abandoned = False
        self._usual_ns = 0
        self._throttle = LogThrottle()
        self._alignment = AlignmentCheck(logger.error)
        self._thread = LatestWorker(self._work)

    def load(self, settings: Settings) -> Manifest:
        """Load and warm up the model, say every few seconds that it lasts, and describe it.

        Raises:
            BundleError, EngineError, RegistrationError, FileNotFoundError: it cannot be used.
            ParameterError: the system refuses the cores or the priority.
            GivenUpError: the process is to end.
        """
        said_s = 0.0

        def on_wait(seconds: float) -> None:
            nonlocal said_s
            if self._stop.is_set():
                self._abandoned = True
                raise GivenUpError(f"the process ends while model {settings.model!r} is loading")
            if seconds - said_s >= _PROGRESS_S:
                said_s = seconds
                self._logger.info(
                    f"loading model {settings.model!r} on engine {settings.engine!r}: "
                    f"{seconds:.0f} s so far"
                )

        return self._thread.call(lambda: self._load(settings), meanwhile=on_wait)

    def open(self, outputs: Outputs, frames: StaticFrames | None = None) -> None:
        """Set where results go and what checks frame ids, before the first `offer`."""
        self._outputs, self._frames = outputs, frames

    def describe(self) -> dict[str, str]:
        """Return what executes the model, empty while none is loaded."""
        perceiver = self._perceiver
        return {} if perceiver is None else {**self._facts, **perceiver.engine.describe()}

    @property
    def calibration(self) -> Geometry | None:
        """Thermal -> RGB geometry in use, None without one or while nothing is loaded."""
        perceiver = self._perceiver
        return None if perceiver is None else perceiver.registration.calibration

    @property
    def measured(self) -> Measured:
        """State of the alignment watch."""
        return self._alignment.measured

    def offer(self, pair: Pair) -> None:
        """Take a pair; it replaces one that still waits."""
        if self._thread.offer(pair) is not None:
            self._statistics.replaced += 1

    def rest_ns(self) -> int:
        """Return how long the current pair will take at least: newer ones need not come before."""
        since_ns = self._statistics.working_since_ns
        if since_ns is None:
            return 0
        return max(0, since_ns + self._usual_ns * _REST_PERCENT // 100 - monotonic_ns())

    def drain(self) -> None:
        """Drop the waiting pair and let the current one finish.

        Raises:
            GivenUpError: it lasts too long.
        """
        if self._thread.withdraw() is not None:
            self._statistics.withdrawn += 1

        def on_wait(seconds: float) -> None:
            if seconds > (LAST_PATIENCE_S if self._stop.is_set() else PATIENCE_S):
                self._abandoned = True
                raise GivenUpError(f"the engine has been busy with one pair for {seconds:.1f} s")

        self._thread.call(lambda: None, meanwhile=on_wait)
        self._alignment.forget()

    def close(self) -> bool:
        """Free the model and end the thread.

        Returns:
            Whether that is done. If not, the runtime is still busy: the thread frees the model when
            it comes back, and what it computed is dropped.
        """
        patience_s = LAST_PATIENCE_S if self._stop.is_set() else PATIENCE_S
        ended = self._thread.close(last=self._free, patience_s=0 if self._abandoned else patience_s)
        self._alignment.close()
        self._abandoned = not ended
        # A runtime that hangs keeps a reference to this object; it must not keep the node.
        self._frames = self._derived = self.points = None
        return ended

    def _load(self, settings: Settings) -> Manifest:
        """Worker thread: open the engine there, whose threads take cores and priority from it."""
        bundle = Bundle.load(resolve_model(settings.model))
        try:
            bind_thread(settings.cpu_affinity)
            raise_priority(settings.realtime_priority)
        except SchedulingError as err:
            raise ParameterError(str(err)) from err
        calibration = None
        if settings.calibration_file:
            from segmif_ros.registration.calibration_file import load_calibration, load_mounting

            calibration = load_calibration(settings.calibration_file)
            self.mounting = load_mounting(settings.calibration_file)
        log = self._logger
        engine = open_engine(
            settings.engine,
            bundle,
            options=settings.engine_options,
            on_warning=log.warning,
            on_progress=log.info,
        )
        perceiver = Perceiver(
            engine,
            ThermalNormaliser(settings.thermal),
            Registration(calibration),
            confidence_threshold=settings.confidence_threshold,
        )
        try:
            warmup_ms = perceiver.warm_up()
        except EngineError:
            perceiver.close()
            raise
        self._facts = _facts(bundle, perceiver, settings, warmup_ms)
        self._manifest, self._perceiver = bundle.manifest, perceiver
        return bundle.manifest

    def _free(self) -> None:
        """Worker thread, at its end."""
        perceiver, self._perceiver = self._perceiver, None
        if perceiver is not None:
            perceiver.close()
            del perceiver
            return_memory()

    def _work(self, pair: Pair) -> None:
        """Worker thread: one pair. Nothing may escape from here, it would vanish unseen."""
        statistics = self._statistics
        started_ns = statistics.working_since_ns = monotonic_ns()
        try:
            self._process(pair)
        except PAIR_ERRORS as err:
            self._failed(err, str(err), "")
        except Exception as err:
            self._failed(err, repr(err), "\n" + traceback.format_exc())
        finally:
            took_ns = monotonic_ns() - started_ns
            self._usual_ns += (took_ns - self._usual_ns) // _USUAL_OF
            statistics.working_since_ns = None

    def _process(self, pair: Pair) -> None:
        """Perceive and publish what has subscribers."""
        outputs, perceiver, statistics = self._outputs, self._perceiver, self._statistics
        assert outputs is not None
        assert perceiver is not None
        taken_ns = monotonic_ns()
        wanted = outputs.wanted()
        images = [name for name in wanted if name != "camera_info"]
        if not images:
            statistics.skipped += 1
            self._publish_camera_info(pair, wanted)
            return
        if self._frames is not None:
            self._frames.observe(pair)
        self._follow(pair.settings)
        result = perceiver.perceive(pair)
        perceived_ns = monotonic_ns()
        self._publish_camera_info(pair, wanted)
        marked = [n for n in images if n == "overlay" and pair.settings.overlay_boxes]
        outputs.publish(result, pair, [name for name in images if name not in marked])
        for name in images:
            statistics.published_by_output[name] += name not in DERIVED_TOPICS
        if marked or not DERIVED_TOPICS.keys().isdisjoint(images):
            derived = [name for name in images if name in DERIVED_TOPICS]
            found = self._publish_derived(result, pair, [*derived, *marked])
            outputs.publish(result, pair, marked, [each.mark for each in found])
        published_ns = monotonic_ns()
        stages = dict(result.timings_ms)
        stages["wait"] = (pair.decided_ns - pair.received_ns) / MILLISECOND
        stages["queue"] = (taken_ns - pair.decided_ns) / MILLISECOND
        stages["publish"] = (published_ns - perceived_ns) / MILLISECOND
        stages["node"] = (published_ns - pair.received_ns) / MILLISECOND
        total_ms = (self._clock.now().nanoseconds - pair.stamp_ns) / MILLISECOND
        statistics.streams[Stream.THERMAL].rendering_hint = perceiver.normaliser.hint
        statistics.add_published(published_ns, stages, total_ms)
        self._check_alignment(pair, result)

    def _publish_derived(
        self, result: Result, pair: Pair, wanted: list[str]
    ) -> list[DetectedObject]:
        """Publish what is made of the masks: loaded for the first reader, most nodes have none."""
        outputs, perceiver, manifest = self._outputs, self._perceiver, self._manifest
        assert outputs is not None
        assert perceiver is not None
        assert manifest is not None
        if self._derived is None:
            from segmif_ros.ros.node.derived import Derived

            self._derived = Derived(manifest, perceiver.registration)

        def send(name: str, message: Any) -> None:
            outputs.send(name, message)
            self._statistics.published_by_output[name] += 1

        return self._derived.publish(result, pair, wanted, send, self.points)

    def _publish_camera_info(self, pair: Pair, wanted: tuple[str, ...]) -> None:
        """Publish where the results lie, if there is a subscriber and that is known."""
        if "camera_info" not in wanted or pair.rgb_size is None:
            return
        assert self._outputs is not None
        problem = self._outputs.publish_camera_info(pair)
        self._statistics.camera_info_problem = problem
        self._statistics.published_by_output["camera_info"] += not problem

    def _follow(self, settings: Settings) -> None:
        """Take over parameters that were changed since the last pair."""
        perceiver = self._perceiver
        assert perceiver is not None
        if perceiver.normaliser.settings != settings.thermal:
            perceiver.normaliser = ThermalNormaliser(settings.thermal)
        perceiver.confidence_threshold = settings.confidence_threshold

    def _check_alignment(self, pair: Pair, result: Result) -> None:
        """Pass a pair on if it is due and both pictures show the same moment."""
        now_ns, settings = monotonic_ns(), pair.settings
        if result.rgb is None or not isinstance(pair.rgb, Frame):
            return
        if not (isinstance(pair.thermal, Frame) and pair.thermal.picture.is_settled):
            return
        if pair.rgb.is_frozen or not self._alignment.due(settings.alignment_check_s, now_ns):
            return
        assert self._perceiver is not None
        registration, valid = self._perceiver.registration, None
        if registration.calibration is not None:
            size = registration.calibration.thermal_size
            valid = registration.valid_area(size, result.thermal.shape)
        self._alignment.offer(
            result.rgb, result.thermal, valid, warn_px=settings.alignment_warn_px, now_ns=now_ns
        )

    def _failed(self, err: Exception, text: str, details: str) -> None:
        if self._abandoned:
            return  # the topics are gone already, and so are the counters
        statistics = self._statistics
        statistics.add_failure(text)
        if self._throttle.ready(monotonic_ns()):
            count = f"pair failed ({statistics.failures} so far)"
            self._logger.error(f"{code_of(err)} {count}: {text}{details}")


def _facts(
    bundle: Bundle, perceiver: Perceiver, settings: Settings, warmup_ms: float
) -> dict[str, str]:
    """Return what diagnostics say of the engine, as far as it stays the same."""
    chosen = bundle.manifest.files.get(settings.engine_options.precision)
    gate = str(chosen.made.get("gate", "")) if chosen else ""
    height, width = perceiver.engine.size
    return {
        "name": perceiver.engine.name,
        "model": bundle.manifest.name,
        "size": f"{width}x{height}",
        **({"gate": f"when the file was made: {gate}"} if gate else {}),
        "registration": perceiver.registration.describe(),
        "warmup_ms": f"{warmup_ms:.1f}",
    }
