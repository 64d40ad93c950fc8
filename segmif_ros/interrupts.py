# SPDX-License-Identifier: Apache-2.0
"""Signals that end a process: caught from its start, and handed to the code that stops it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a supervisor, and a terminal that is closed."""

_early = Event()


def catch_early() -> None:
    """Keep a signal for `stopping`; call it before anything slow is imported."""
    _handle(lambda *_: _early.set())


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
            signal.signal(number, handler)


@contextmanager
def stopping(stop: Event) -> Iterator[Event]:
    """Set an event at a signal, also one that `catch_early` has seen; undone at the end.

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
