# SPDX-License-Identifier: Apache-2.0
"""What is learnt from report to report: a camera's usual rate, growing memory, missed deadlines."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from statistics import median

from segmif_ros.ros.node.statistics import NANOSECONDS, Samples

_LEARN_NS = 60 * NANOSECONDS
_RATES_NEEDED = 5
_RATE_EVERY_NS = 900_000_000
_SETTLE_NS = 10 * NANOSECONDS
_MIB = 1024 * 1024


class UsualRate:
    """Learns the rate of one camera: the median of the last minute, one value a second.

    So a loss of frames is seen for half a minute; then it is the new usual rate. Give the rate as a
    parameter to be reported for as long as it lasts.
    """

    def __init__(self) -> None:
        self._rates: deque[tuple[int, float]] = deque()

    def observe(self, hz: float, now_ns: int) -> None:
        """Take the present rate; 0 says nothing about the usual one."""
        if hz <= 0.0 or (self._rates and now_ns - self._rates[-1][0] < _RATE_EVERY_NS):
            return
        self._rates.append((now_ns, hz))
        while now_ns - self._rates[0][0] > _LEARN_NS:
            self._rates.popleft()

    def hz(self) -> float | None:
        """Return the usual rate, None until five seconds are known."""
        if len(self._rates) < _RATES_NEEDED:
            return None
        return float(median(hz for _, hz in self._rates))


class Memory:
    """Memory of this process, and what it gained since it settled after activation.

    Attributes:
        resident_mib: resident memory, MiB; None where /proc does not tell.
        growth_mib: gained since 10 s after activation, MiB; 0 before.
    """

    def __init__(self) -> None:
        self.resident_mib: float | None = None
        self.growth_mib = 0.0
        self._settled: tuple[int, float] | None = None

    def observe(self, active_since_ns: int | None, now_ns: int) -> None:
        """Measure once.

        Args:
            active_since_ns: steady time of the activation, None while inactive.
            now_ns: steady time.
        """
        self.resident_mib = resident_mib()
        if active_since_ns is None or self.resident_mib is None:
            self._settled, self.growth_mib = None, 0.0
            return
        if self._settled is None or self._settled[0] != active_since_ns:
            self.growth_mib = 0.0
            if now_ns - active_since_ns < _SETTLE_NS:
                return
            self._settled = (active_since_ns, self.resident_mib)
        self.growth_mib = self.resident_mib - self._settled[1]


def resident_mib() -> float | None:
    """Return the resident memory of this process in MiB, None where /proc does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    kib = next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), None)
    return None if kib is None else kib * 1024 / _MIB


class Deadline:
    """Counts the samples above a limit, from report to report and not in the way of a frame.

    Attributes:
        missed: how many there were.
    """

    def __init__(self) -> None:
        self.missed = 0
        self._samples: Samples | None = None
        self._seen = 0

    def observe(self, samples: Samples, limit_ms: float) -> None:
        """Look at what is new.

        Args:
            samples: the times to judge; another object starts where it stands.
            limit_ms: largest good value; 0 counts nothing.
        """
        if self._samples is not samples:
            self._seen = 0 if self._samples is None else samples.count
            self._samples = samples
        new = samples.count - self._seen
        self._seen += new
        if limit_ms > 0:
            self.missed += sum(value > limit_ms for value in samples.newest(new))
