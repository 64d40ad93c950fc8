# SPDX-License-Identifier: Apache-2.0
"""What registration asks of a calibration, and what it refuses."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""(N, 2) pixels (x, y); (0, 0) is the centre of the upper left one."""


class RegistrationError(ValueError):
    """A calibration cannot be read, or does not fit the frames; the message names the value."""


class Geometry(Protocol):
    """Input of the remap table."""

    @property
    def rgb_size(self) -> tuple[int, int]:
        """RGB image (height, width)."""

    @property
    def thermal_size(self) -> tuple[int, int]:
        """Thermal image (height, width)."""

    @property
    def source(self) -> str:
        """Where it came from, one line for people."""

    def to_thermal(self, rgb_pixels: Points) -> tuple[Points, NDArray[np.bool_]]:
        """Return where RGB pixels (N, 2) lie in the thermal image, and which it can see at all."""

    def describe(self) -> str:
        """Return one line for diagnostics."""
