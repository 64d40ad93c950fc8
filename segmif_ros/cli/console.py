# SPDX-License-Identifier: Apache-2.0
"""What the verbs show in a terminal, or write into a log."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

_LOG_S = 5.0


def say(text: str) -> None:
    """Write a line or block for people, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Write a line that is no result, at once."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def next_step(command: str) -> None:
    """Say which command usually follows; on stderr, because it is no result."""
    note(f"next: {command}")


def progress_bar(**options: Any) -> tqdm[Any]:
    """Return a progress bar: one that goes away on a terminal, a line every 5 s in a log file."""
    if sys.stderr.isatty():
        return tqdm(leave=False, mininterval=0.2, **options)
    log: Any = _Lines()
    return tqdm(leave=False, mininterval=_LOG_S, delay=_LOG_S, file=log, **options)


class _Lines:
    """A stream for tqdm that writes lines instead of returning to the start of one."""

    def write(self, text: str) -> None:
        if line := text.strip():
            sys.stderr.write(f"{line}\n")

    def flush(self) -> None:
        sys.stderr.flush()
