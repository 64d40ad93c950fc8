# SPDX-License-Identifier: Apache-2.0
"""Which errors of the diagnostics also go to the log: each once, when it begins and when it ends.

Whoever starts the node in a terminal looks there first, and a node that waits for images in silence
looks broken.
"""

from __future__ import annotations

from collections.abc import Iterable

from segmif_ros.ros.diagnostics.levels import Finding, Level
from segmif_ros.ros.node.statistics import NANOSECONDS

QUIET_NS = 10 * NANOSECONDS
"""A status that comes and goes is told at most this often."""
_TOLD_ELSEWHERE = "mode"
"""Every change of the mode is in the log already."""
_INACTIVE = "inactive"


class ErrorLog:
    """Remembers what was told of each status."""

    def __init__(self) -> None:
        self._state: dict[str, str] = {}
        self._told_ns: dict[str, int] = {}

    def errors(self, findings: Iterable[Finding], now_ns: int) -> list[str]:
        """Return what is an error now and was not told yet.

        Args:
            findings: of one report.
            now_ns: steady time.
        """
        lines = []
        for finding in findings:
            concern = finding.concern
            if finding.level < Level.ERROR or concern == _TOLD_ELSEWHERE:
                continue
            quiet = now_ns - self._told_ns.get(concern, -QUIET_NS) < QUIET_NS
            if self._state.get(concern) == finding.state or quiet:
                continue
            self._state[concern], self._told_ns[concern] = finding.state, now_ns
            lines.append(f"{concern}: {finding.text}")
        return lines

    def recoveries(self, findings: Iterable[Finding]) -> list[str]:
        """Return what was told as an error and is none any more.

        Args:
            findings: of one report.
        """
        lines = []
        for finding in findings:
            if finding.level < Level.ERROR and finding.concern in self._state:
                del self._state[finding.concern]
                if finding.state == _INACTIVE:
                    continue  # nothing was mended, nobody looks any more
                but = ", still a warning" if finding.level > Level.OK else ""
                lines.append(f"{finding.concern}: no error any more{but}: {finding.text}")
        return lines
