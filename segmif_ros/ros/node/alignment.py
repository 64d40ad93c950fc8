# SPDX-License-Identifier: Apache-2.0
"""The alignment watch beside the worker: a copy of one pair now and then, on a thread of its own.

The worker pays for the copy alone. A pair that comes while another is being measured is not taken.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Lock
from time import monotonic_ns, thread_time_ns
from typing import TYPE_CHECKING, Any

import numpy as np

from segmif_ros.error_codes import LogThrottle
from segmif_ros.frames import Buffers, Image8
from segmif_ros.ros.node.latest_worker import LatestWorker
from segmif_ros.ros.node.statistics import NANOSECONDS
from segmif_ros.scheduling import lower_priority

if TYPE_CHECKING:
    from segmif_ros.calibration.alignment_watch import Alignment, AlignmentWatch

CLOSING_S = 0.5
"""Longest wait for the current measurement; it takes a tenth of that."""
_LOG_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class Measured:
    """State of the watch.

    Attributes:
        alignment: result of the newest measurement, None before the first.
        measured_ns: steady time of it.
        confirmed_ns: steady time of the newest conclusive one, None before the first.
        count: measurements since the node was activated.
        cpu_ms: processor time of the newest one.
        unsure_since_ns: steady time of the first measurement after which thermal was not known to
            lie on RGB; None while it is, and before the first.
    """

    alignment: Alignment | None = None
    measured_ns: int | None = None
    confirmed_ns: int | None = None
    count: int = 0
    cpu_ms: float = 0.0
    unsure_since_ns: int | None = None

    @property
    def is_aligned(self) -> bool:
        """Whether the pictures show that thermal lies on RGB."""
        return self.alignment is not None and self.alignment.state.value == "aligned"


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    rgb: Image8
    thermal: Image8
    valid: Image8 | None
    warn_px: float
    generation: int


class AlignmentCheck:
    """Takes pairs from the worker and measures them elsewhere."""

    def __init__(self, log: Callable[[str], None]) -> None:
        """Start the thread; not on the worker, whose cores and priority it would have.

        Args:
            log: called when a measurement failed, once a minute at most.
        """
        self._log = log
        self._watch: AlignmentWatch | None = None
        self._buffers = Buffers()
        self._lock = Lock()
        self._busy = False
        self._closed = False
        self._generation = 0
        self._offered_ns: int | None = None
        self._throttle = LogThrottle(_LOG_EVERY_S)
        self.measured = Measured()
        """Newest result; replaced as a whole, so any thread may read it."""
        self._worker: LatestWorker[_Task] = LatestWorker(self._measure, name="segmif-alignment")
        self._worker.call(lower_priority)

    def due(self, check_s: float, now_ns: int) -> bool:
        """Return whether to measure a pair now.

        Args:
            check_s: time between two measurements, 0 for never.
            now_ns: steady time.
        """
        if check_s <= 0.0 or self._busy or self._closed:
            return False
        last_ns = self._offered_ns
        return last_ns is None or now_ns - last_ns >= check_s * NANOSECONDS

    def offer(
        self, rgb: Image8, thermal: Image8, valid: Image8 | None, *, warn_px: float, now_ns: int
    ) -> None:
        """Copy a pair and measure it. Call it when `due` returns true, from one thread.

        Pictures of a few pixels are passed over: they hold nothing to compare.

        Args:
            rgb: HxWx3.
            thermal: HxW, registered.
            valid: HxW, 0 where `thermal` has no data; not copied. None if it has data everywhere.
            warn_px: a larger shift is a moved camera, pixels of a picture 640 wide.
            now_ns: steady time.
        """
        self._offered_ns = now_ns
        task = _Task(
            self._copy("rgb", rgb), self._copy("thermal", thermal), valid, warn_px, self._generation
        )
        self._busy = True
        self._worker.offer(task)

    def forget(self) -> None:
        """Reset: the node was deactivated, and the mounting may change meanwhile."""
        with self._lock:
            self._generation += 1
            self._offered_ns = None
            self.measured = Measured()

    def close(self) -> None:
        """End the thread, waiting half a second at most. Safe to call twice."""
        self._closed = True
        self.forget()
        self._worker.close(patience_s=CLOSING_S)

    def _copy(self, name: str, image: Image8) -> Image8:
        out = self._buffers.take(name, image.shape)
        np.copyto(out, image)
        return out

    def _measure(self, task: _Task) -> None:
        """One measurement, on the thread; nothing may escape from here, it would vanish unseen."""
        try:
            self._take_in(task)
        except Exception as err:
            if self._throttle.ready(monotonic_ns()):
                self._log(f"alignment check failed: {err!r}\n{traceback.format_exc()}")
        finally:
            self._busy = False

    def _take_in(self, task: _Task) -> None:
        # Here, on this thread: nothing waits for it, and a node without thermal never needs it.
        from segmif_ros.calibration.alignment_watch import AlignmentWatch
        from segmif_ros.calibration.edge_shift import large_enough

        if not large_enough((task.rgb.shape[0], task.rgb.shape[1])):
            return
        self._watch = self._watch or AlignmentWatch()
        before = self.measured
        if before.count == 0:
            self._watch.reset()
        started = thread_time_ns()
        found = self._watch.measure(task.rgb, task.thermal, task.valid, warn_px=task.warn_px)
        cpu_ms = (thread_time_ns() - started) / 1e6
        now_ns = monotonic_ns()
        confirmed = found.last_confirmed
        known = before.alignment and before.alignment.last_confirmed
        same = confirmed is None or confirmed is known
        confirmed_ns = before.confirmed_ns if same else now_ns
        measured = Measured(found, now_ns, confirmed_ns, before.count + 1, cpu_ms)
        if not measured.is_aligned:
            since = now_ns if before.unsure_since_ns is None else before.unsure_since_ns
            measured = replace(measured, unsure_since_ns=since)
        with self._lock:
            if task.generation == self._generation:
                self.measured = measured


def alignment_values(measured: Measured, now_ns: int) -> dict[str, str]:
    """Return the key-values of the diagnostics.

    Args:
        measured: state of the watch.
        now_ns: steady time.
    """
    found = measured.alignment
    values: dict[str, Any] = {"measurements": measured.count}
    if found is None or measured.measured_ns is None:
        return {key: str(value) for key, value in values.items()}
    values |= {
        "agreement": f"{found.shift.agreement:.2f}",
        "prominence": f"{found.shift.prominence:.1f}",
        "measured_s_ago": f"{(now_ns - measured.measured_ns) / NANOSECONDS:.1f}",
        "cpu_ms": f"{measured.cpu_ms:.1f}",
    }
    if found.last_confirmed is not None and measured.confirmed_ns is not None:
        values |= {
            "shift_px": f"{found.last_confirmed.rms_px:.1f}",
            "shift_right_px": f"{found.last_confirmed.dx:.1f}",
            "shift_down_px": f"{found.last_confirmed.dy:.1f}",
            "roll_deg": f"{found.last_confirmed.roll_deg:.1f}",
            "told_s_ago": f"{(now_ns - measured.confirmed_ns) / NANOSECONDS:.1f}",
        }
    return {key: str(value) for key, value in values.items()}
