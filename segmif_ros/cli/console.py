# SPDX-License-Identifier: Apache-2.0
"""What the verbs show in a terminal, or write into a log."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm


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
    """Return a progress bar that goes away at its end and does not flood a log file."""
    return tqdm(leave=False, mininterval=0.2 if sys.stderr.isatty() else 5.0, **options)
