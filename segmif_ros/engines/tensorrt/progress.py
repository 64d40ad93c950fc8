# SPDX-License-Identifier: Apache-2.0
"""Reports the progress of the build or the check of an engine, which takes minutes."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Lock, Thread
from time import monotonic
from typing import Any

EVERY_S = 4.0
"""Time between two lines; at most 5 s."""


class BuildProgress:
    """Use as `with BuildProgress(...) as progress:` around the build.

    A separate thread and TensorRT's callbacks report the lines.
    """

    def __init__(
        self, on_progress: Callable[[str], None], what: str, *, every_s: float = EVERY_S
    ) -> None:
        """Set the callback.

        Args:
            on_progress: given each line, from any thread.
            what: prefix of each line.
            every_s: time between two lines, seconds.
        """
        self._tell, self._what, self._every_s = on_progress, what, every_s
        self._lock, self._stop, self._cancelled = Lock(), Event(), Event()
        self._started = self._told = monotonic()
        self._phases: dict[str, tuple[int, int]] = {}
        self._watcher = Thread(target=self._watch, name="segmif-build", daemon=True)

    def __enter__(self) -> BuildProgress:
        self._started = self._told = monotonic()
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._watcher.join()

    def cancel(self) -> None:
        """Stop TensorRT at its next callback."""
        self._cancelled.set()

    @property
    def seconds(self) -> float:
        """Seconds since the build began."""
        return monotonic() - self._started

    def done(self, phase: str, steps: int, of: int | None = None) -> bool:
        """Record the progress of a phase.

        Args:
            phase: its name.
            steps: that are done.
            of: steps in all, where that is new.

        Returns:
            Whether to continue.
        """
        with self._lock:
            self._phases[phase] = (steps, self._phases.get(phase, (0, 0))[1] if of is None else of)
        self._tick()
        return not self._cancelled.is_set()

    def end(self, phase: str) -> None:
        """Record the end of a phase."""
        with self._lock:
            self._phases.pop(phase, None)
        self._tick()

    def _watch(self) -> None:
        while not self._stop.wait(self._every_s / 4.0):
            self._tick()

    def _tick(self) -> None:
        """Report a line if one is due."""
        now = monotonic()
        with self._lock:
            if now - self._told < self._every_s:
                return
            self._told = now
            phases = [
                f"{name} ({done} of {steps})" if steps else name
                for name, (done, steps) in self._phases.items()
            ]
        where = f": {', '.join(phases)}" if phases else ""
        self._tell(f"{self._what}, {now - self._started:.0f} s so far{where}")


def monitor_of(trt: Any, progress: BuildProgress) -> Any:
    """Return a progress monitor for TensorRT, None if the version has none.

    Args:
        trt: the module `tensorrt`.
        progress: receives the phases.
    """
    if not hasattr(trt, "IProgressMonitor"):
        return None

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """TensorRT calls this from its own threads; an exception would end the process."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            """A phase begins, inside another one or not."""
            del parent_phase
            progress.done(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            """A step, counted from 0, is done; True continues the build."""
            return progress.done(phase_name, step + 1)

        def phase_finish(self, phase_name: str) -> None:
            """A phase has ended."""
            progress.end(phase_name)

    return Monitor()
