# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM during a run: finish the step, save, then go."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from segmif_ros.interrupts import handling


class StopRequest:
    """Whether somebody asked the run to stop."""

    def __init__(self) -> None:
        self.asked = False


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Note the first SIGINT, SIGTERM or SIGHUP; the second one interrupts at once.

    Outside the main thread, where Python takes no signals, nobody is listened to.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(number: int, _: FrameType | None) -> None:
        if request.asked:
            raise KeyboardInterrupt
        request.asked = True
        name = signal.Signals(number).name
        print(f"\n{name}: saving after this step; once more stops at once", flush=True)

    with handling(note):
        yield request
