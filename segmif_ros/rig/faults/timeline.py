# SPDX-License-Identifier: Apache-2.0
"""Which message leaves when: endless camera schedules with faults that come and go."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from segmif_ros.rig.faults.requests import Event, FaultRequest, in_order

_CHUNK_NS = 1_000_000_000
_NEVER = 1 << 62


@dataclass(frozen=True, slots=True)
class _Camera:
    """A camera that runs freely; frame 0 is taken at `first_ns`."""

    name: str
    rate_hz: float
    first_ns: int

    def taken_ns(self, frame: int) -> int:
        return self.first_ns + round(frame / self.rate_hz * 1e9)

    def frame_at(self, time_ns: int) -> int:
        """First frame that is taken at or after a time."""
        frame = max(math.ceil((time_ns - self.first_ns) * self.rate_hz / 1e9 - 1e-6), 0)
        # The estimate is a float; the times that count are rounded to nanoseconds.
        while frame and self.taken_ns(frame - 1) >= time_ns:
            frame -= 1
        while self.taken_ns(frame) < time_ns:
            frame += 1
        return frame

    def between(self, start_ns: int, end_ns: int) -> list[Event]:
        frames = range(self.frame_at(start_ns), self.frame_at(end_ns))
        return [self.message(frame) for frame in frames]

    def message(self, frame: int) -> Event:
        return Event.clean(self.name, frame, self.taken_ns(frame))


class Timeline:
    """The messages of all cameras in order of arrival, planned a second at a time.

    Uses no clock: every call has the time.

    Args:
        rates_hz: camera name -> frames per second.
        start_ns: when the first camera takes its first frame.
        phase_s: how much later each further camera starts.
        faults: those in force from the start.
    """

    def __init__(
        self,
        rates_hz: Mapping[str, float],
        *,
        start_ns: int,
        phase_s: float = 0.0,
        faults: Sequence[FaultRequest] = (),
    ) -> None:
        self._cameras = {
            name: _Camera(name, rate, start_ns + round(index * phase_s * 1e9))
            for index, (name, rate) in enumerate(rates_hz.items())
        }
        self._waiting: list[Event] = []
        self._planned_ns = start_ns
        self._chunk = 0
        self._in_force = list(faults)
        self._since_ns = start_ns

    def switch(self, faults: Sequence[FaultRequest], now_ns: int) -> None:
        """Put other faults in force; messages that were under way are lost."""
        self._waiting = []
        self._planned_ns = now_ns
        self._in_force = list(faults)
        self._since_ns = now_ns

    def take(self, now_ns: int) -> list[Event]:
        """Return the messages that have arrived since the call before, in their order."""
        while self._planned_ns <= now_ns:
            self._plan_chunk()
        due = [event for event in self._waiting if event.arrival_ns <= now_ns]
        self._waiting = self._waiting[len(due) :]
        return due

    def next_ns(self) -> int:
        """Return when the next message arrives, or when to call again if none is planned."""
        if self._waiting:
            return min(self._waiting[0].arrival_ns, self._planned_ns)
        return self._planned_ns

    def _plan_chunk(self) -> None:
        start, end = self._planned_ns, self._planned_ns + _CHUNK_NS
        clean = [e for camera in self._cameras.values() for e in camera.between(start, end)]
        events = in_order(clean)
        for request in self._in_force:
            events = self._with_fault(events, request)
        self._waiting = in_order([*self._waiting, *events])
        self._planned_ns = end
        self._chunk += 1

    def _with_fault(self, events: list[Event], request: FaultRequest) -> list[Event]:
        """Apply a fault to the messages that would arrive in its time."""
        start = self._since_ns + round(request.start_s * 1e9)
        end = start + round(request.length_s * 1e9) if math.isfinite(request.length_s) else _NEVER
        camera = self._cameras[request.camera]
        shown = camera.message(camera.frame_at(start))
        inside = [e for e in events if start <= e.arrival_ns < end]
        outside = [e for e in events if not start <= e.arrival_ns < end]
        return in_order([*outside, *request.apply(inside, shown, seed=self._chunk)])
