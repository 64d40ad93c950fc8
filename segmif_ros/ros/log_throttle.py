# SPDX-License-Identifier: Apache-2.0
"""How often one thing may go to the log: a bad driver sends thirty bad images a second."""

from __future__ import annotations


class LogThrottle:
    """Lets one line through, then none for a while. The log's own throttle costs 0.16 ms a call."""

    def __init__(self, every_s: float = 10.0) -> None:
        self._every_ns = round(every_s * 1e9)
        self._last_ns: int | None = None

    def ready(self, now_ns: int) -> bool:
        """Return whether to log now, and count it as logged if so.

        Args:
            now_ns: steady time.
        """
        if self._last_ns is not None and now_ns - self._last_ns < self._every_ns:
            return False
        self._last_ns = now_ns
        return True
