# SPDX-License-Identifier: Apache-2.0
"""Measures the clock difference of two cameras from arrival times, with the offset to set.

TAI is 37 s ahead of Unix time and GPS time 18 s, time zones are hours, and a driver that stamps
with the time since boot differs by decades. Then no images pair.
"""

from __future__ import annotations

from dataclasses import dataclass

from segmif_ros.pairing import LONGEST_OFFSET_MS, MILLISECOND

SMALLEST_S = 1.0
"""Smaller differences may be caused by unequal transport times."""
_WHOLE_SECONDS_WITHIN_MS = 250.0


@dataclass(frozen=True, slots=True)
class ClockDifference:
    """Clock difference of two cameras, from the arrival times of their images.

    Attributes:
        thermal_ahead_ns: thermal stamps minus RGB stamps of images that arrive together, as the
            drivers wrote them; its error is the difference of the transport times.
    """

    thermal_ahead_ns: int

    @property
    def thermal_offset_ms(self) -> float | None:
        """Value of the parameter that corrects it; None when that is beyond its range.

        Rounded to whole seconds if close, because time scales differ by whole seconds.
        """
        offset_ms = -self.thermal_ahead_ns / MILLISECOND
        seconds = 1e3 * round(offset_ms / 1e3)
        near = seconds != 0 and abs(offset_ms - seconds) < _WHOLE_SECONDS_WITHIN_MS
        offset_ms = seconds if near else 10.0 * round(offset_ms / 10.0)
        return offset_ms if abs(offset_ms) <= LONGEST_OFFSET_MS else None

    def seconds(self, offset_ns: int = 0) -> float:
        """Return the absolute remaining difference, seconds.

        Args:
            offset_ns: thermal offset minus RGB offset that are set already.
        """
        return abs(self.thermal_ahead_ns + offset_ns) / 1e9

    def matters(self, offset_ns: int = 0) -> bool:
        """Return whether it is larger than the longest plausible latency of an image."""
        return self.seconds(offset_ns) > SMALLEST_S

    def text(self) -> str:
        """Return the difference and the remedy in one line."""
        ahead = "ahead of" if self.thermal_ahead_ns > 0 else "behind"
        line = (
            f"the cameras' clocks differ: thermal stamps are {_duration(self)} {ahead} RGB stamps"
        )
        if self.thermal_offset_ms is None:
            return f"{line}; let both drivers stamp with the system's clock, not since boot"
        return (
            f"{line}; set thermal_offset_ms to {self.thermal_offset_ms:.8g}, or let both drivers "
            "stamp with one clock"
        )


def _duration(difference: ClockDifference) -> str:
    offset_ms = difference.thermal_offset_ms
    seconds = abs(difference.thermal_ahead_ns / 1e9 if offset_ms is None else offset_ms / 1e3)
    if seconds < 7200.0:
        return f"{seconds:.1f} s"
    return f"{seconds / 3600.0:.1f} h" if seconds < 48 * 3600.0 else f"{seconds / 86400.0:.0f} days"
