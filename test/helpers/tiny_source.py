# SPDX-License-Identifier: Apache-2.0
"""A source of image pairs that is small enough to write hundreds of bags."""

from collections.abc import Iterator

import numpy as np

from segmif_ros.recordings.clips import StampedImage


class Pairs:
    """A small source with values that identify the frame."""

    notes = ()

    def __init__(self, count: int = 4, depth=np.uint8) -> None:
        self.count, self.depth = count, depth

    @property
    def frames(self) -> int:
        return 2 * self.count

    def __iter__(self) -> Iterator[StampedImage]:
        for index in range(self.count):
            time_ns = index * 100_000_000
            thermal = np.full((6, 8), 100 + index, self.depth)
            if self.depth == np.uint16:
                thermal += np.arange(8, dtype=np.uint16) * 256
            yield StampedImage("thermal", time_ns, thermal)
            yield StampedImage("rgb", time_ns, np.full((6, 10, 3), (index, 50, 250), np.uint8))
