# SPDX-License-Identifier: Apache-2.0
"""Which cameras the node works with now, and why: pure decisions, no ROS and no clock.

The node works in `Mode.FUSED` as long as usable pairs come. When none has come for a set time, one
camera may continue alone, if the parameters allow it; else the node stops. A camera is lost when it
is silent, sends nothing usable, or repeats one picture; or when both deliver and no pair fits.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from statistics import median

from segmif_ros.pairing import JUMP_NS, MILLISECOND, Stream
from segmif_ros.parameters import MAY_GO_ON, ModePolicy


class Mode(Enum):
    """What the outputs are made of."""

    WAITING = "waiting"
    """Active, and nothing usable has come yet."""
    FUSED = "fused"
    """Pairs of both cameras."""
    RGB_ONLY = "rgb_only"
    """RGB images alone; the network's thermal input is black."""
    THERMAL_ONLY = "thermal_only"
    """Thermal images alone; the network's RGB input is black."""
    STOPPED = "stopped"
    """Nothing is published."""


ALONE = {Stream.RGB: Mode.RGB_ONLY, Stream.THERMAL: Mode.THERMAL_ONLY}
"""The mode in which one camera continues alone."""

RECOVERY_PAIRS = 5
"""So many consecutive pairs end a mode of one camera, so that a bad cable cannot make it flap."""

NO_PAIRS = "both cameras deliver, but their stamps do not make pairs"

_GAPS = 5
"""Gaps whose median is the period: one outage or one burst does not bend it."""
_PERIODS = 2.5
_UNKNOWN_PERIOD_NS = 1_200 * MILLISECOND
"""Assumed after the first of its kind, so that a camera at 1 Hz is not lost before the second."""
_LONGEST_NS = 10_000 * MILLISECOND

_STALL_NS = 500 * MILLISECOND
"""`decide` runs 25 times a second; a gap this long is our own, not the cameras'."""


class Problem(Enum):
    """What is wrong with a camera; `{}` is its name."""

    UNSEEN = "no {} image yet"
    SILENT = "no {} image any more"
    UNUSABLE = "no usable {} image (refused, or its stamp is)"
    FROZEN = "the {} camera repeats one picture"


@dataclass(frozen=True, slots=True)
class ModeStatus:
    """The mode in force.

    Attributes:
        mode: the mode.
        reason: one line for people.
    """

    mode: Mode
    reason: str


class _Beat:
    """Whether something periodic still arrives."""

    __slots__ = ("_gaps", "_last_ns")

    def __init__(self) -> None:
        self._last_ns: int | None = None
        self._gaps: deque[int] = deque(maxlen=_GAPS)

    @property
    def ever(self) -> bool:
        """Whether it has come at all."""
        return self._last_ns is not None

    def add(self, now_ns: int) -> None:
        """Take note that it came."""
        if self._last_ns is not None:
            self._gaps.append(now_ns - self._last_ns)
        self._last_ns = now_ns

    def forget(self) -> None:
        """What came so far counts for nothing."""
        self._last_ns = None

    def shift(self, by_ns: int, now_ns: int) -> None:
        """Leave out a time in which `decide` did not run."""
        if self._last_ns is not None:
            self._last_ns = min(now_ns, self._last_ns + by_ns)

    def lasts(self, after_ns: int, now_ns: int) -> bool:
        """Return whether the last arrival is recent enough.

        That is `after_ns`, or a few of its own periods where it is slower than that.
        """
        if self._last_ns is None or now_ns - self._last_ns <= after_ns:
            return self._last_ns is not None
        period_ns = median(self._gaps) if self._gaps else _UNKNOWN_PERIOD_NS
        allowed_ns = max(after_ns, min(_PERIODS * period_ns, _LONGEST_NS))
        return now_ns - self._last_ns <= allowed_ns


class _Camera:
    """What is known about one camera."""

    __slots__ = ("problem", "problem_ns", "usable")

    def __init__(self) -> None:
        self.usable = _Beat()
        self.problem: Problem | None = None
        self.problem_ns = 0

    def explain(self, after_ns: int, now_ns: int) -> Problem:
        """Say why the camera is lost."""
        if self.problem is not None and now_ns - self.problem_ns <= after_ns:
            return self.problem
        never = not self.usable.ever and self.problem is None
        return Problem.UNSEEN if never else Problem.SILENT


class ModeTracker:
    """Follows both cameras and their pairs. Times are steady nanoseconds; one caller at a time.

    Attributes:
        status: the mode in force and its reason.
        no_pairs_reason: why both deliver and nothing pairs; the caller may know more.
    """

    def __init__(self, now_ns: int) -> None:
        self.status = ModeStatus(Mode.WAITING, "no rgb image yet; no thermal image yet")
        self.no_pairs_reason = NO_PAIRS
        self._next_reason = ("", 0)
        self._cameras = {stream: _Camera() for stream in Stream}
        self._pairs = _Beat()
        self._pairs_in_a_row = 0
        self._heard_ns: int | None = None
        self._decided_ns = now_ns

    def image(self, stream: Stream, now_ns: int) -> None:
        """Take note of a usable image."""
        camera = self._cameras[stream]
        camera.usable.add(now_ns)
        camera.problem = None

    def trouble(self, stream: Stream, problem: Problem, now_ns: int) -> None:
        """Take note of an image that cannot be used."""
        camera = self._cameras[stream]
        camera.problem, camera.problem_ns = problem, now_ns
        if problem is Problem.FROZEN:
            camera.usable.forget()  # what came before was the same picture

    def pair(self, now_ns: int) -> None:
        """Take note of a pair of usable images."""
        self._pairs.add(now_ns)
        self._pairs_in_a_row += 1

    def decide(self, policy: ModePolicy, now_ns: int) -> bool:
        """Choose the mode; call it after every note and at least 25 times a second.

        Returns:
            Whether `status` changed: another mode, or the same one for another reason.
        """
        self._forgive_own_stall(now_ns)
        after_ns = policy.after_ns
        alive = {s for s in Stream if self._cameras[s].usable.lasts(after_ns, now_ns)}
        paired = self._pairs.lasts(after_ns, now_ns) and len(alive) == len(Stream)
        if not paired:
            self._pairs_in_a_row = 0
        if not alive:
            self._heard_ns = None
        elif self._heard_ns is None:
            self._heard_ns = now_ns
        mode = self._choose(policy, alive, paired, now_ns)
        reason = self._reason(mode, policy, alive, now_ns)
        if mode is self.status.mode and (paired or not self._is_new(reason, policy, now_ns)):
            return False
        self.status = ModeStatus(mode, reason)
        return True

    def _choose(self, policy: ModePolicy, alive: set[Stream], paired: bool, now_ns: int) -> Mode:
        current = self.status.mode
        goes_on = [s for s in Stream if s in alive and s in MAY_GO_ON[policy.degraded_mode]]
        alone = next((s for s in goes_on if ALONE[s] is current), None)
        if paired and (alone is None or self._pairs_in_a_row >= RECOVERY_PAIRS):
            return Mode.FUSED
        if alone is not None:
            return current
        if not alive:
            return Mode.WAITING if current is Mode.WAITING else Mode.STOPPED
        frozen = any(camera.problem is Problem.FROZEN for camera in self._cameras.values())
        patient = self._patient(policy, now_ns) or self._fading(policy, alive, now_ns)
        if current not in ALONE.values() and not frozen and patient:
            return current
        return ALONE[goes_on[0]] if goes_on else Mode.STOPPED

    def _patient(self, policy: ModePolicy, now_ns: int) -> bool:
        """Return whether the missing camera still has time to come."""
        return self._pairs.lasts(policy.after_ns, now_ns) or (
            self._heard_ns is not None and now_ns - self._heard_ns <= policy.after_ns
        )

    def _fading(self, policy: ModePolicy, alive: set[Stream], now_ns: int) -> bool:
        """Return whether a camera that still counts as delivering is about to be lost.

        Its last images may have been in no pair, so the pairs are missed before it is. Which camera
        can continue is known only when that one is lost.
        """
        half_ns = policy.after_ns // 2
        return len(alive) == len(Stream) and not all(
            camera.usable.lasts(half_ns, now_ns) for camera in self._cameras.values()
        )

    def _reason(self, mode: Mode, policy: ModePolicy, alive: set[Stream], now_ns: int) -> str:
        if mode is Mode.FUSED:
            return "both cameras deliver"
        lost = [
            self._cameras[s].explain(policy.after_ns, now_ns).value.format(s.value)
            for s in Stream
            if s not in alive
        ]
        reason = "; ".join(lost) or self.no_pairs_reason
        if mode is Mode.STOPPED and alive:
            reason += f"; degraded_mode is {policy.degraded_mode}"
        return reason

    def _is_new(self, reason: str, policy: ModePolicy, now_ns: int) -> bool:
        """Return whether a reason differs and has lasted; a returning camera causes brief ones."""
        if reason != self._next_reason[0]:
            self._next_reason = (reason, now_ns)
        lasted = now_ns - self._next_reason[1] > policy.after_ns
        return lasted and reason != self.status.reason

    def _forgive_own_stall(self, now_ns: int) -> None:
        """A pause of this process does not count as silence of the cameras."""
        gap_ns = now_ns - self._decided_ns
        self._decided_ns = now_ns
        if gap_ns <= _STALL_NS:
            return
        self._pairs.shift(gap_ns, now_ns)
        for camera in self._cameras.values():
            camera.usable.shift(gap_ns, now_ns)
            camera.problem_ns = min(now_ns, camera.problem_ns + gap_ns)
        if self._heard_ns is not None:
            self._heard_ns = min(now_ns, self._heard_ns + gap_ns)


class StampGate:
    """Lets every stamp through once and in order, whatever the mode was and is.

    It is what keeps a result of one camera and a pair with the same stamp from both coming out.
    """

    def __init__(self) -> None:
        self._last_ns: int | None = None

    def passes(self, stamp_ns: int) -> bool:
        """Return whether a result with this stamp may come out now; if so it is the newest.

        A stamp more than a second older than the newest is a clock that was set back.
        """
        last_ns = self._last_ns
        if last_ns is not None and last_ns - JUMP_NS <= stamp_ns <= last_ns:
            return False
        self._last_ns = stamp_ns
        return True

    def reset(self) -> None:
        """Begin a new time: the pairer saw a clock that was set back."""
        self._last_ns = None
