# SPDX-License-Identifier: Apache-2.0
"""Clocks that cannot be right: stamps of one camera, and the clock of the node itself."""

from __future__ import annotations

from collections import deque
from enum import Enum
from statistics import median

from segmif_ros.pairing import JUMP_NS, MILLISECOND

_LEADS = 15

FUTURE_NS = 100 * MILLISECOND
"""A camera clock may be a little ahead, and /clock comes in steps; more than this is wrong."""


class StampWatch:
    """Counts the stamps of one camera that cannot be right. One thread calls `observe`.

    Attributes:
        zero: images whose stamp was not set.
        future: images stamped `FUTURE_NS` or more after the node's clock.
        jumps: stamps that went back, or ahead of the time that passed, by more than `JUMP_NS`.
        last_jump_ns: how far the newest jump went; negative is back.
        age_ns: the node's clock minus the newest stamp.
    """

    def __init__(self) -> None:
        self.zero = 0
        self.future = 0
        self.jumps = 0
        self.last_jump_ns = 0
        self.age_ns = 0
        self._leads_ns: deque[int] = deque(maxlen=_LEADS)
        self._stamp_ns = 0
        self._steady_ns = 0

    def observe(self, stamp_ns: int, now_ns: int, steady_ns: int) -> None:
        """Look at one image.

        Args:
            stamp_ns: its stamp.
            now_ns: the node's clock; 0 while simulated time has not begun.
            steady_ns: a clock that nobody sets.
        """
        if stamp_ns <= 0:
            self.zero += 1
            return
        self.age_ns = now_ns - stamp_ns
        if now_ns and stamp_ns - now_ns >= FUTURE_NS:
            self.future += 1
        if self._stamp_ns:
            step = stamp_ns - self._stamp_ns
            # Stamps that stay behind are a paused bag or a slow one, which is no jump.
            if step < -JUMP_NS or step - (steady_ns - self._steady_ns) > JUMP_NS:
                self.jumps += 1
                self.last_jump_ns = step
                self._leads_ns.clear()
        self._leads_ns.append(stamp_ns - steady_ns)
        self._stamp_ns, self._steady_ns = stamp_ns, steady_ns

    def lead_ns(self) -> int | None:
        """Return stamp minus steady time of arrival, the median of the newest; None before any.

        It says nothing alone; two cameras with one clock differ by what their ways here differ.
        """
        leads = tuple(self._leads_ns)
        return int(median(leads)) if leads else None


class ClockState(Enum):
    """What the node's clock is doing."""

    SYSTEM = "system"
    """No simulated time."""
    RUNNING = "simulated"
    """/clock arrives."""
    STOPPED = "stopped"
    """/clock has come, and does not go on: a paused or finished bag."""
    MISSING = "missing"
    """use_sim_time is set and /clock has never come."""


class ClockWatch:
    """Watches the node's own clock from report to report.

    Attributes:
        still_ns: steady time since the clock last moved.
        jump_ns: how far it jumped between the last two reports, 0 for not; negative is back.
    """

    def __init__(self) -> None:
        self.still_ns = 0
        self.jump_ns = 0
        self._now_ns: int | None = None
        self._steady_ns = 0
        self._moved_ns: int | None = None

    def observe(self, *, simulated: bool, now_ns: int, steady_ns: int) -> ClockState:
        """Look at the clock once.

        Args:
            simulated: parameter use_sim_time.
            now_ns: the node's clock.
            steady_ns: a clock that nobody sets.
        """
        before, passed = self._now_ns, steady_ns - self._steady_ns
        if now_ns != before or self._moved_ns is None:
            self._moved_ns = steady_ns
        self.still_ns = steady_ns - self._moved_ns
        self.jump_ns = 0
        # Simulated time begins anywhere, and at any speed; only going back is a jump there.
        if before:
            gained = now_ns - before - passed
            if now_ns - before < -JUMP_NS or (not simulated and abs(gained) > JUMP_NS):
                self.jump_ns = now_ns - before if simulated else gained
        self._now_ns, self._steady_ns = now_ns, steady_ns
        if not simulated:
            return ClockState.SYSTEM
        if now_ns == 0:
            return ClockState.MISSING
        return ClockState.STOPPED if self.still_ns > 0 else ClockState.RUNNING
