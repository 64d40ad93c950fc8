# SPDX-License-Identifier: Apache-2.0
"""The worker thread with the model on it, from loading to freeing.

A runtime that loads or computes cannot be interrupted. So nobody waits for it without end: whoever
waits gives up when the process is to end or after a patience, and the thread ends by itself.
"""

from __future__ import annotations

import traceback
from threading import Event
from time import monotonic_ns
from typing import Any

from segmif_ros.bundle import Bundle, Manifest
from segmif_ros.engines.base import EngineError
from segmif_ros.registration import Geometry, RegistrationError
from segmif_ros.ros.log_throttle import Seldom
from segmif_ros.ros.node.alignment import AlignmentCheck, Measured
from segmif_ros.ros.node.outputs import Publishers
from segmif_ros.ros.node.parameters import Settings
from segmif_ros.ros.node.processing import Job, Processor
from segmif_ros.ros.node.statistics import Statistics
from segmif_ros.ros.node.worker import LatestWorker
from segmif_ros.ros.transport import return_memory
from segmif_ros.share import resolve_model
from segmif_ros.thermal import ThermalError

PAIR_ERRORS = (EngineError, RegistrationError, ThermalError)
"""What a pair can cause: counted, and the next pair is tried."""

PATIENCE_S = 10.0
"""Longest wait for a pair that is being worked on."""
LAST_PATIENCE_S = 0.7
"""The same while the process ends: supervisors and people do not wait long."""

_PROGRESS_S = 3.0


class GivenUpError(RuntimeError):
    """The runtime was still busy when waiting for it had to end; the message says with what."""


class Pipeline:
    """Loads one model, runs jobs on it, and frees it; all of that on one thread of its own."""

    def __init__(self, statistics: Statistics, *, clock: Any, logger: Any, stop: Event) -> None:
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
        self._processor: Processor | None = None
        self._publishers: Publishers | None = None
        self._abandoned = False
        self._logged = Seldom()
        self._alignment = AlignmentCheck(logger.error)
        self._worker = LatestWorker(self._process)

    def load(self, settings: Settings) -> Manifest:
        """Load and warm up the model, say every few seconds that it lasts, and describe it.

        Raises:
            BundleError, EngineError, RegistrationError, FileNotFoundError: it cannot be used.
            GivenUpError: the process is to end.
        """
        told_s = 0.0

        def load() -> Manifest:
            bundle = Bundle.load(resolve_model(settings.model))
            log = self._logger
            self._processor = Processor(bundle, settings, log.warning, self._alignment, log.info)
            return bundle.manifest

        def tell(seconds: float) -> None:
            nonlocal told_s
            if self._stop.is_set():
                self._abandoned = True
                raise GivenUpError(f"the process ends while model {settings.model!r} is loading")
            if seconds - told_s >= _PROGRESS_S:
                told_s = seconds
                self._logger.info(
                    f"loading model {settings.model!r} on engine {settings.engine!r}: "
                    f"{seconds:.0f} s so far"
                )

        return self._worker.call(load, meanwhile=tell)

    def open(self, publishers: Publishers) -> None:
        """Say where the results go, before the first `offer`."""
        self._publishers = publishers

    def describe(self) -> dict[str, str]:
        """Return what executes the model, empty while none is loaded."""
        processor = self._processor
        return {} if processor is None else processor.describe()

    @property
    def calibration(self) -> Geometry | None:
        """Thermal -> RGB geometry in use, None without one or while nothing is loaded."""
        processor = self._processor
        return None if processor is None else processor.calibration

    @property
    def measured(self) -> Measured:
        """What the alignment watch knows."""
        return self._alignment.measured

    def offer(self, job: Job) -> None:
        """Take a job; it replaces one that still waits."""
        if self._worker.offer(job) is not None:
            self._statistics.replaced += 1

    def drain(self) -> None:
        """Drop the job that waits and let the one at hand be finished.

        Raises:
            GivenUpError: it lasts too long.
        """
        if self._worker.withdraw() is not None:
            self._statistics.withdrawn += 1

        def tell(seconds: float) -> None:
            if seconds > (LAST_PATIENCE_S if self._stop.is_set() else PATIENCE_S):
                self._abandoned = True
                raise GivenUpError(f"the engine has been busy with one pair for {seconds:.1f} s")

        self._worker.call(lambda: None, meanwhile=tell)
        self._alignment.forget()

    def close(self) -> bool:
        """Free the model and end the thread.

        Returns:
            Whether that is done. If not, the runtime is still busy: the thread frees the model when
            it comes back, and what it computed is dropped.
        """
        patience_s = LAST_PATIENCE_S if self._stop.is_set() else PATIENCE_S
        ended = self._worker.close(last=self._free, patience_s=0 if self._abandoned else patience_s)
        self._alignment.close()
        self._abandoned = not ended
        return ended

    def _free(self) -> None:
        """Worker thread, at its end."""
        processor, self._processor = self._processor, None
        if processor is not None:
            processor.close()
            del processor
            return_memory()

    def _process(self, job: Job) -> None:
        """Worker thread: one job. Nothing may escape from here, it would vanish unseen."""
        processor, publishers = self._processor, self._publishers
        assert processor is not None
        assert publishers is not None
        self._statistics.working_since_ns = monotonic_ns()
        try:
            processor.process(job, publishers, self._statistics, self._clock)
        except PAIR_ERRORS as err:
            self._failed(str(err), "")
        except Exception as err:
            self._failed(repr(err), "\n" + traceback.format_exc())
        finally:
            self._statistics.working_since_ns = None

    def _failed(self, text: str, details: str) -> None:
        if self._abandoned:
            return  # the topics are gone already, and so is everybody who counts
        self._statistics.failures += 1
        self._statistics.last_failure = text
        if self._logged.due(monotonic_ns()):
            self._logger.error(f"pair failed ({self._statistics.failures} so far): {text}{details}")
