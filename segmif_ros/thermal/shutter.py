# SPDX-License-Identifier: Apache-2.0
"""Sees the shutter of an uncooled thermal camera: the picture freezes, then it jumps.

Such a camera closes a shutter every few minutes to measure its own offsets (flat-field correction,
FFC). It repeats its last frame for 1 to 3 seconds; afterwards all values are a little different.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmif_ros.frames import ThermalImage

CLOSED_AFTER_NS = 250_000_000
"""Equal frames for so long are a closed shutter. A 9 Hz sensor behind a 30 Hz video interface
repeats each frame for 0.11 s, which is none."""
STALLED_AFTER_NS = 5_000_000_000
"""Longer than any shutter: the camera hangs, or somebody publishes a still picture."""
SETTLING_NS = 1_000_000_000
"""Time after a shutter in which the values may have jumped."""

_STRIDE = 8


class ShutterState(Enum):
    """What the camera is doing."""

    OPEN = "open"
    CLOSED = "closed"
    SETTLING = "settling"
    STALLED = "stalled"


class ShutterWatch:
    """Tells the states apart by comparing a grid of pixels with the frame before.

    Attributes:
        state: what the newest frame says.
        closures: freezes that ended as a shutter opens; a camera that hung is none.
        last_freeze_ns: how long the newest freeze lasted, nanoseconds; grows while it lasts.
        last_jump: median after minus median before the newest freeze, in the frame's unit.
    """

    def __init__(self) -> None:
        self.state = ShutterState.OPEN
        self.closures = 0
        self.last_freeze_ns = 0
        self.last_jump = 0.0
        self._grid: NDArray[Any] | None = None
        self._stamp_ns = 0
        self._changed_ns = 0
        self._settled_ns = 0

    def observe(self, image: ThermalImage, stamp_ns: int) -> ShutterState:
        """Look at one frame.

        Args:
            image: HxW of any type the camera delivers.
            stamp_ns: acquisition time, nanoseconds. The same time again changes nothing, an
                earlier one starts anew.

        Returns:
            The state that includes this frame.
        """
        known = self._grid
        if known is not None and stamp_ns == self._stamp_ns:
            return self.state
        grid = np.array(image[::_STRIDE, ::_STRIDE])
        if known is None or stamp_ns < self._stamp_ns or known.shape != grid.shape:
            self.state = ShutterState.OPEN
            self._changed_ns = self._settled_ns = stamp_ns
        elif np.array_equal(known, grid, equal_nan=grid.dtype.kind == "f"):
            self._frozen_for(stamp_ns - self._changed_ns)
        else:
            if self.state is ShutterState.CLOSED or self.state is ShutterState.STALLED:
                self.closures += self.state is ShutterState.CLOSED
                self.last_jump = _median(grid) - _median(known)
                self._settled_ns = stamp_ns + SETTLING_NS
            self._changed_ns = stamp_ns
            settling = stamp_ns < self._settled_ns
            self.state = ShutterState.SETTLING if settling else ShutterState.OPEN
        self._grid, self._stamp_ns = grid, stamp_ns
        return self.state

    def facts(self) -> dict[str, str]:
        """Return the state for diagnostics."""
        return {
            "shutter": self.state.value,
            "shutter.closures": str(self.closures),
            "shutter.last_freeze_ms": f"{self.last_freeze_ns / 1e6:.0f}",
            "shutter.last_jump": f"{self.last_jump:g}",
        }

    def _frozen_for(self, duration_ns: int) -> None:
        if duration_ns < CLOSED_AFTER_NS:
            return
        self.last_freeze_ns = duration_ns
        stalled = duration_ns > STALLED_AFTER_NS
        self.state = ShutterState.STALLED if stalled else ShutterState.CLOSED


def _median(grid: NDArray[Any]) -> float:
    finite = grid[np.isfinite(grid)]
    return float(np.median(finite)) if finite.size else 0.0
