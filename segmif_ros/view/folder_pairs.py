# SPDX-License-Identifier: Apache-2.0
"""The pairs of a folder with visible/ and infrared/, for the viewer."""

from __future__ import annotations

from pathlib import Path

from segmif_ros.frames import Pair
from segmif_ros.recordings.clips import FolderPairs

_RATE_HZ = 10.0
"""Pictures have no stamps; so many a second are shown."""


class FolderReader:
    """A `PairReader` over files of the same name."""

    def __init__(self, folder: Path) -> None:
        """Match the files.

        Raises:
            ClipError: a folder is missing, or nothing matches.
        """
        self._pairs = FolderPairs(folder, rate_hz=_RATE_HZ)
        self.notes = self._pairs.notes
        self.title = folder.resolve().name

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self._pairs.names)

    def time_s(self, index: int) -> float:
        """Return the pretended time."""
        return index / _RATE_HZ

    def caption(self, index: int) -> str:
        """Return the file's name."""
        return self._pairs.names[index]

    def read(self, index: int) -> Pair:
        """Read both pictures.

        Raises:
            ClipError: one cannot be read.
        """
        rgb, thermal = self._pairs.pair(index)
        stamp_ns = round(1e9 * (1.0 + self.time_s(index)))
        return Pair(rgb, thermal, stamp_ns, stamp_ns)

    def close(self) -> None:
        """Nothing is open."""
