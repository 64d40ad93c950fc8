# SPDX-License-Identifier: Apache-2.0
"""The worker's side: a pair of checked messages, or one alone, becomes published images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic_ns
from typing import Any

import numpy as np

from segmif_ros.buffers import Buffers
from segmif_ros.bundle import Bundle
from segmif_ros.engines import open_engine
from segmif_ros.engines.base import EngineError
from segmif_ros.frames import FramePair, Image8, PictureState
from segmif_ros.images.raw import ImageView
from segmif_ros.pairing import MILLISECOND
from segmif_ros.perceiver import Perceiver
from segmif_ros.registration import Geometry, Registration, RegistrationError, load_calibration
from segmif_ros.ros.node.alignment import AlignmentCheck
from segmif_ros.ros.node.camera_infos import output_camera_info
from segmif_ros.ros.node.outputs import Publishers
from segmif_ros.ros.node.parameters import ParameterError, Settings
from segmif_ros.ros.node.scheduling import SchedulingError, bind_thread, raise_priority
from segmif_ros.ros.node.statistics import Statistics
from segmif_ros.thermal import ThermalNormaliser

_SECOND_WARM_UP_BELOW_MS = 2_000.0


@dataclass(frozen=True, slots=True, eq=False)
class Received:
    """One checked image message.

    Attributes:
        view: its pixels.
        header: std_msgs/Header.
        received_ns: steady time of the callback.
        picture: whether the camera repeats it.
    """

    view: ImageView
    header: Any
    received_ns: int
    picture: PictureState = PictureState.FRESH

    @property
    def frozen(self) -> bool:
        """Whether the camera has repeated this picture for too long."""
        return self.picture is PictureState.FROZEN


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A pair, or in a degraded mode one image alone, that waits for the worker.

    Attributes:
        rgb: the RGB message, None when the thermal camera goes on alone.
        thermal: the thermal message, None when the RGB camera goes on alone.
        header: std_msgs/Header of the results.
        stamp_ns: stamp of the results: of the RGB message, or of the thermal one alone.
        thermal_stamp_ns: stamp of the thermal message, 0 without one.
        decided_ns: steady time when the pair was made.
        settings: parameter values in force when the pair was made.
        rgb_size: (height, width) of the RGB image, without one of the newest, None before that.
        camera_info: newest sensor_msgs/CameraInfo of the RGB camera, None before the first.
    """

    rgb: Received | None
    thermal: Received | None
    header: Any
    stamp_ns: int
    thermal_stamp_ns: int
    decided_ns: int
    settings: Settings
    rgb_size: tuple[int, int] | None = None
    camera_info: Any = None

    @property
    def received_ns(self) -> int:
        """Steady time of the callback of the message that gives the results their stamp."""
        message = self.thermal if self.rgb is None else self.rgb
        assert message is not None
        return message.received_ns


class Processor:
    """Owns the perceiver. Made, used and closed on the worker thread."""

    def __init__(
        self,
        bundle: Bundle,
        settings: Settings,
        warn: Callable[[str], None],
        alignment: AlignmentCheck | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Open the engine and run it once on zeros, so that the first pair is not the slow one.

        Args:
            bundle: a verified bundle.
            settings: parameter values.
            warn: told why engine "auto" passed over a runtime.
            alignment: given a pair now and then, none if None.
            tell: told what goes on while an engine is built.

        Raises:
            BundleError, EngineError, RegistrationError: the model or calibration cannot be used.
            ParameterError: the system refuses the cores or the priority.
        """
        try:
            bind_thread(settings.cpu_affinity)
            raise_priority(settings.realtime_priority)
        except SchedulingError as err:
            raise ParameterError(str(err)) from err
        self._model = bundle.manifest.name
        chosen = bundle.manifest.files.get(settings.engine_options.precision)
        self._gate = str(chosen.made.get("gate", "")) if chosen else ""
        self._alignment = alignment
        self._buffers = Buffers()
        calibration = None
        if settings.calibration_file:
            calibration = load_calibration(settings.calibration_file)
        self._perceiver = Perceiver(
            open_engine(
                settings.engine, bundle, options=settings.engine_options, warn=warn, tell=tell
            ),
            ThermalNormaliser(settings.thermal),
            Registration(calibration),
            confidence_threshold=settings.confidence_threshold,
            far_pass=settings.far_pass,
        )
        try:
            self.warmup_ms = self._warm_up()
        except EngineError:
            self.close()
            raise

    @property
    def calibration(self) -> Geometry | None:
        """Thermal -> RGB geometry in use, None without one."""
        return self._perceiver.registration.calibration

    def describe(self) -> dict[str, str]:
        """Return facts for diagnostics."""
        engine, registration = self._perceiver.engine, self._perceiver.registration
        height, width = engine.size
        return {
            "name": engine.name,
            "model": self._model,
            "size": f"{width}x{height}",
            **({"gate": f"when the file was made: {self._gate}"} if self._gate else {}),
            **engine.describe(),
            "registration": registration.describe(),
            "warmup_ms": f"{self.warmup_ms:.1f}",
        }

    def process(self, job: Job, publishers: Publishers, statistics: Statistics, clock: Any) -> None:
        """Perceive and publish one pair.

        Args:
            job: the pair.
            publishers: where the results go.
            statistics: the counters and times.
            clock: the node's clock, which stamps are compared with.

        Raises:
            EngineError, RegistrationError, ThermalError: the pair does not fit the set-up.
        """
        taken = monotonic_ns()
        wanted = publishers.wanted()
        images = [name for name in wanted if name != "camera_info"]
        if not images:
            statistics.skipped += 1
            if wanted:
                self._publish_camera_info(job, publishers, statistics)
            return
        self._follow(job.settings)
        rgb = None if job.rgb is None else job.rgb.view.to_rgb(self._buffers)
        thermal = None if job.thermal is None else job.thermal.view.to_thermal(self._buffers)
        converted = monotonic_ns()
        perception = self._perceiver.perceive(
            FramePair(
                rgb,
                thermal,
                job.stamp_ns,
                job.thermal_stamp_ns,
                frame_id=job.header.frame_id,
                rgb_size=job.rgb_size,
                picture=None if job.thermal is None else job.thermal.picture,
            )
        )
        perceived = monotonic_ns()
        if "camera_info" in wanted:
            self._publish_camera_info(job, publishers, statistics)
        publishers.publish(perception, job.header, images, job.settings)
        published = monotonic_ns()
        statistics.published += 1
        statistics.publish_rate.add(published)
        for name in images:
            statistics.published_by_output[name] += 1
        stages = statistics.stages_ms
        stages["wait"].add((job.decided_ns - job.received_ns) / MILLISECOND)
        stages["queue"].add((taken - job.decided_ns) / MILLISECOND)
        stages["conversion"].add((converted - taken) / MILLISECOND)
        for stage, milliseconds in perception.timings_ms.items():
            stages[stage].add(milliseconds)
        stages["publish"].add((published - perceived) / MILLISECOND)
        stages["node"].add((published - job.received_ns) / MILLISECOND)
        statistics.add_total((clock.now().nanoseconds - job.stamp_ns) / MILLISECOND)
        if rgb is not None and thermal is not None:
            self._check_alignment(job, rgb, thermal.shape, perception.thermal)

    def close(self) -> None:
        """Free the engine."""
        self._perceiver.close()

    @staticmethod
    def _publish_camera_info(job: Job, publishers: Publishers, statistics: Statistics) -> None:
        """Publish where the results lie, if that is known."""
        if job.rgb_size is None:
            return
        if job.camera_info is None:
            statistics.camera_info_problem = (
                "no camera_info has come, so none is published; remap ~/input/rgb/camera_info to "
                "the driver's"
            )
            return
        try:
            info = output_camera_info(job.camera_info, job.header, job.rgb_size)
        except RegistrationError as err:
            statistics.camera_info_problem = str(err)
            return
        statistics.camera_info_problem = ""
        statistics.published_by_output["camera_info"] += 1
        publishers.publish_camera_info(info)

    def _check_alignment(
        self, job: Job, rgb: Image8, thermal_size: tuple[int, ...], registered: Image8
    ) -> None:
        """Hand over a pair if it is time to and both pictures show the same moment."""
        alignment, now_ns = self._alignment, monotonic_ns()
        if alignment is None or not alignment.due(job.settings.alignment_check_s, now_ns):
            return
        assert job.rgb is not None
        assert job.thermal is not None
        if not (job.rgb.picture.is_settled and job.thermal.picture.is_settled):
            return
        registration, valid = self._perceiver.registration, None
        if registration.calibration is not None:
            height, width = thermal_size
            valid = registration.valid_area((height, width), registered.shape)
        alignment.offer(
            rgb, registered, valid, warn_px=job.settings.alignment_warn_px, now_ns=now_ns
        )

    def _follow(self, settings: Settings) -> None:
        """Take over parameters that were changed since the last pair."""
        if self._perceiver.normaliser.settings != settings.thermal:
            self._perceiver.normaliser = ThermalNormaliser(settings.thermal)
        self._perceiver.confidence_threshold = settings.confidence_threshold
        self._perceiver.far_pass = settings.far_pass

    def _warm_up(self) -> float:
        """Return the milliseconds of a warm inference; a slow model is only run once."""
        engine = self._perceiver.engine
        rgb = np.zeros((*engine.size, 3), np.uint8)
        thermal = np.zeros(engine.size, np.uint8)
        milliseconds = 0.0
        for _ in range(2):
            started = monotonic_ns()
            engine.infer(rgb, thermal)
            milliseconds = (monotonic_ns() - started) / MILLISECOND
            if milliseconds > _SECOND_WARM_UP_BELOW_MS:
                break
        return milliseconds
