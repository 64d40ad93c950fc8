# SPDX-License-Identifier: Apache-2.0
"""A source for the viewer whose pixels are known."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from made_report import SIZE, confidence, mask
from tiny_model import fmb_classes

from segmif_ros.bundle import LabelClass
from segmif_ros.view.frames import Heat, ViewError, ViewFrame, ViewImages, encoded
from segmif_ros.view.server import ViewServer


def view_images(index: int, heat: Heat | None = None) -> ViewImages:
    """Visible red, thermal grey, fused blue; the grey level identifies the frame."""
    return ViewImages(
        0.1 * index,
        f"frame number {index}",
        np.full((*SIZE, 3), (200, 30, 30), np.uint8),
        np.full(SIZE, (40 + 10 * index) % 256, np.uint8),
        np.full((*SIZE, 3), (30, 30, 200), np.uint8),
        mask(),
        confidence(),
        heat=heat,
    )


class MadeSource:
    """A `RecordedSource` that counts what it computes; frame `bad` cannot be shown."""

    def __init__(
        self, count: int = 4, bad: int | None = None, title: str = "made", delay_s: float = 0.0,
        heat: Heat | None = None,
    ) -> None:  # fmt: skip
        self.title = title
        self.classes: tuple[LabelClass, ...] = fmb_classes()
        self.computed: list[int] = []
        self._count, self._bad, self._delay_s, self._heat = count, bad, delay_s, heat

    def __len__(self) -> int:
        return self._count

    def frame(self, index: int) -> ViewFrame:
        self.computed.append(index)
        threading.Event().wait(self._delay_s)  # an engine that takes its time
        if index == self._bad:
            raise ViewError("the image is malformed: <b>bold</b>")
        return encoded(view_images(index, self._heat))

    def close(self) -> None:
        pass


class MadeLive:
    """A `LiveSource` that gives what a test puts into it."""

    def __init__(self) -> None:
        self.title = "live: /made"
        self.classes: tuple[LabelClass, ...] = ()
        self._number = 0
        self._changed = threading.Condition()

    def put(self) -> None:
        with self._changed:
            self._number += 1
            self._changed.notify_all()

    def newest(self, after: int, timeout_s: float) -> tuple[int, ViewFrame | None, str]:
        with self._changed:
            self._changed.wait_for(lambda: self._number > after, min(timeout_s, 0.3))
            number = self._number
        if number <= after:
            return after, None, "waiting for /made/output/fused"
        return number, encoded(view_images(number)), ""

    def close(self) -> None:
        pass


@contextmanager
def serving(source: MadeSource | MadeLive) -> Iterator[ViewServer]:
    """A running server."""
    server = ViewServer(source)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.close()
