# SPDX-License-Identifier: Apache-2.0
"""Signals that end a process: caught from its start, and handed to the code that stops it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from typing import NoReturn

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a supervisor, and a terminal that is closed."""

_early = Event()
_ending: type[BaseException] = SystemExit


def catch_early(ending: type[BaseException]) -> None:
    """Let a signal end the process until `stopping` begins; call it before anything slow.

    Args:
        ending: raised by the signal: SystemExit for code 0, or KeyboardInterrupt.
    """
    global _ending  # noqa: PLW0603 - handlers of signals belong to the process
    _ending = ending
    _handle(_end)


def _end(*_: object) -> NoReturn:
    _early.set()  # Python drops what is raised within a destructor
    raise _ending


@contextmanager
def handling(action: Callable[..., object]) -> Iterator[None]:
    """Call `action` at each signal of `STOP_SIGNALS` within the block; undone at its end.

    Args:
        action: takes the number of the signal and the frame, as `signal.signal` has it.
    """
    previous = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    _handle(action)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_IGN if handler is _end else handler)


@contextmanager
def stopping(stop: Event) -> Iterator[Event]:
    """Set an event at a signal, also one that came before; undone at the end.

    After `catch_early` signals are ignored from the end on: the process is ending.

    Args:
        stop: the event; the block receives it.
    """
    with handling(lambda *_: stop.set()):
        if _early.is_set():
            _early.clear()
            stop.set()
        yield stop


def ignore() -> None:
    """Ignore further signals during the end: a second Ctrl-C, or launch's signal to all."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _handle(action: Callable[..., object]) -> None:
    for number in STOP_SIGNALS:
        # nohup has it ignored, and means it.
        if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
            continue
        signal.signal(number, action)
