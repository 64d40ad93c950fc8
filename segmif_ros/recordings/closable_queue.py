# SPDX-License-Identifier: Apache-2.0
"""A bounded queue between two threads that either of them can close."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from queue import Empty, Full, Queue
from threading import Event
from typing import Generic, TypeVar

_PATIENCE_S = 0.2

Item = TypeVar("Item")


class ClosableQueue(Generic[Item]):
    """A bounded queue between two threads; closing it ends both."""

    def __init__(self, size: int) -> None:
        self._queue: Queue[Item | None] = Queue(size)
        self._closed = Event()

    def put(self, item: Item | None) -> bool:
        """Add an item, waiting for room; False if the reader has closed the queue."""
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=_PATIENCE_S)
            except Full:
                continue
            return True
        return False

    def offer(self, item: Item) -> bool:
        """Add an item without waiting; False when there is no room, or no reader."""
        with suppress(Full):
            self._queue.put_nowait(item)
            return not self._closed.is_set()
        return False

    def __iter__(self) -> Iterator[Item]:
        """Yield items until None comes, or the channel is closed."""
        while True:
            try:
                item = self._queue.get(timeout=_PATIENCE_S)
            except Empty:
                if self._closed.is_set():
                    return
                continue
            if item is None:
                return
            yield item

    def close(self) -> None:
        """Close the queue from the reader's side."""
        self._closed.set()
