# SPDX-License-Identifier: Apache-2.0
"""One thread that owns the engine; its input is a slot with the newest pair."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Lock
from time import monotonic
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_POLL_S = 0.1


class LatestWorker(Generic[Item]):
    """Runs `process` on one thread for the newest item offered; older ones are replaced.

    `process` must not raise: it owns its errors.
    """

    def __init__(self, process: Callable[[Item], None], *, name: str = "segmif-worker") -> None:
        self._process = process
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._lock = Lock()
        self._slot: Item | None = None
        self._closed = False
        self._last: Future[None] = Future()

    def offer(self, item: Item) -> Item | None:
        """Put an item into the slot and return the one it replaced, if any."""
        with self._lock:
            replaced, self._slot = self._slot, item
        if replaced is None:
            self._pool.submit(self._take)
        return replaced

    def withdraw(self) -> Item | None:
        """Empty the slot and return what was in it."""
        with self._lock:
            item, self._slot = self._slot, None
        return item

    def call(
        self, task: Callable[[], Result], *, meanwhile: Callable[[float], None] | None = None
    ) -> Result:
        """Run a task on the thread after the current work, wait for it and return its result.

        Args:
            task: what to run.
            meanwhile: called ten times a second with the seconds waited; what it raises ends the
                waiting, not the task.

        Raises:
            Exception: whatever the task, or `meanwhile`, raised.
        """
        future = self._pool.submit(task)
        started = monotonic()
        while meanwhile is not None and not future.done():
            wait((future,), timeout=_POLL_S)
            meanwhile(monotonic() - started)
        return future.result()

    def close(self, *, last: Callable[[], None] | None = None, patience_s: float = 10.0) -> bool:
        """End the thread after the current work. Safe to call twice.

        Args:
            last: run on the thread at its end, to free what belongs to it.
            patience_s: longest wait for the current work.

        Returns:
            Whether the thread has ended; if not it continues alone and ends after its work.
        """
        self.withdraw()
        if not self._closed:
            self._closed = True
            self._last = self._pool.submit(last or (lambda: None))
            self._pool.shutdown(wait=False)
        ended = not wait((self._last,), timeout=patience_s).not_done
        if ended:
            self._pool.shutdown(wait=True)
        return ended

    def _take(self) -> None:
        item = self.withdraw()
        if item is not None:
            self._process(item)
