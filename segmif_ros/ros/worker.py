# SPDX-License-Identifier: Apache-2.0
"""One thread that owns the engine, fed through a slot that holds only the newest pair."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class LatestWorker(Generic[Item]):
    """Runs `process` on one thread for the newest item offered; older ones are replaced.

    `process` must not raise: it owns its errors.
    """

    def __init__(self, process: Callable[[Item], None], *, name: str = "segmif-worker") -> None:
        self._process = process
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._lock = Lock()
        self._slot: Item | None = None

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

    def call(self, task: Callable[[], Result]) -> Result:
        """Run a task on the thread after the work at hand, wait for it and return its result.

        Raises:
            Exception: whatever the task raised.
        """
        return self._pool.submit(task).result()

    def close(self) -> None:
        """Finish the work at hand and end the thread. Safe to call twice."""
        self.withdraw()
        self._pool.shutdown(wait=True)

    def _take(self) -> None:
        item = self.withdraw()
        if item is not None:
            self._process(item)
