# SPDX-License-Identifier: Apache-2.0
"""How the processes of `python -m benchmarks.dds` follow the program that started them.

A process says a word on a line of its own in its log; the program answers with SIGUSR1.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path
from threading import Event
from typing import Any

from benchmarks.dds.protocol import WORD


class Cues:
    """Counts SIGUSR1, and ends at SIGINT or SIGTERM. Made in the main thread."""

    def __init__(self) -> None:
        self.taken = 0
        self.stop = Event()
        self._given = 0
        signal.signal(signal.SIGUSR1, self._cue)

    def end_on_interrupt(self) -> None:
        """Let SIGINT and SIGTERM set `stop`."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self.stop.set())

    def next(self) -> bool:
        """Return whether a cue came that was not taken yet, and take it."""
        if self.taken == self._given:
            return False
        self.taken += 1
        return True

    def wait(self) -> bool:
        """Wait for the next cue; false when the process is to end instead."""
        while not self.stop.wait(0.002):
            if self.next():
                return True
        return False

    def _cue(self, *_: Any) -> None:
        self._given += 1


class Settled:
    """Decides when counters have not moved for a while: what was under way has arrived."""

    def __init__(self, seconds: float = 0.3, *, patience_s: float = 10.0) -> None:
        """Keep the times.

        Args:
            seconds: without a change.
            patience_s: from the first look on; counters that still move then are taken as they are.
        """
        self._seconds, self._patience_s = seconds, patience_s
        self._first_s: float | None = None
        self._changed_s = 0.0
        self._last: Any = None

    def look(self, counters: Any, now_s: float, *, idle: bool = True) -> bool:
        """Take the counters of now; true when they can be read, and the next look starts again.

        Args:
            counters: anything that can be compared.
            now_s: steady time, seconds.
            idle: false while work is known to be under way.
        """
        if self._first_s is None:
            self._first_s = now_s
        if counters != self._last or not idle:
            self._last, self._changed_s = counters, now_s
        if min(now_s - self._changed_s, now_s - self._first_s) < self._seconds:
            return now_s - self._first_s > self._patience_s and self._forget()
        return self._forget()

    def _forget(self) -> bool:
        self._first_s = None
        return True


def announce(word: str) -> None:
    """Say a word to the program that started this process."""
    print(f"{WORD}{word}", flush=True)


def write_result(path: Path, content: dict[str, Any]) -> None:
    """Write figures as JSON; a half-written file is never seen."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(content), encoding="utf-8")
    part.replace(path)


def boot_id() -> str:
    """Return an identifier of this boot of this machine: ages need one clock."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
