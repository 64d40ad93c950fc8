# SPDX-License-Identifier: Apache-2.0
"""How thermal values become grey levels: the settings and what is wrong with them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

ThermalMode = Literal["auto", "passthrough", "percentile", "range", "plateau"]
THERMAL_MODES: tuple[str, ...] = get_args(ThermalMode)


class ThermalError(ValueError):
    """A thermal frame or a setting cannot be used; the message names the value."""


@dataclass(frozen=True, slots=True)
class ThermalSettings:
    """How to render thermal values in 8 bits.

    Attributes:
        mode: "passthrough" needs 8-bit frames and leaves them alone; "percentile" stretches between
            smoothed percentiles; "range" maps [low, high] to [0, 255]; "plateau" equalises a
            clipped histogram between the percentiles; "auto" is passthrough for 8-bit and
            percentile for everything else.
        low_percentile: percentile that becomes black.
        high_percentile: percentile that becomes white.
        smoothing: weight of the newest frame in the running limits, (0, 1]; small = steady picture.
            Below 1 a grey level moves by less than one a frame as long as the picture is usable;
            1 renders every frame by itself.
        low: black level of "range", in the unit of `scale` and `offset`.
        high: white level of "range", in the same unit.
        scale: for "range", value = pixel * scale + offset; 0.01 and -273.15 make degrees Celsius
            of centi-kelvin.
        offset: see `scale`.
        minimum_span: smallest width of the percentile window, in the frame's unit; keeps a flat
            scene from turning noise into structure. 0 chooses by type: 100 for counts and
            centi-kelvin, 2 for float32 frames, which are in degrees.
        plateau: "plateau" gives a value at most so many times the contrast it has in an even
            stretch (and at most one more from the share that is cut off); 1 is nearly even.
        clahe: clip limit of the local contrast (CLAHE, 8x8 tiles) on top of any mode, 0 = off.
    """

    mode: ThermalMode = "auto"
    low_percentile: float = 1.0
    high_percentile: float = 99.7
    smoothing: float = 0.1
    low: float = 0.0
    high: float = 65535.0
    scale: float = 1.0
    offset: float = 0.0
    minimum_span: float = 0.0
    plateau: float = 3.0
    clahe: float = 0.0

    def __post_init__(self) -> None:
        if self.mode not in THERMAL_MODES:
            raise ThermalError(f"thermal mode {self.mode!r}, expected one of {THERMAL_MODES}")
        if not 0.0 <= self.low_percentile < self.high_percentile <= 100.0:
            raise ThermalError(
                f"thermal percentiles {self.low_percentile} and {self.high_percentile}, expected "
                "0 <= low < high <= 100"
            )
        if not 0.0 < self.smoothing <= 1.0:
            raise ThermalError(f"thermal smoothing {self.smoothing}, expected above 0 up to 1")
        if not 0.0 <= self.minimum_span < math.inf:
            raise ThermalError(f"thermal minimum_span {self.minimum_span}, expected 0 or more")
        if not 0.0 < self.scale < math.inf:
            raise ThermalError(f"thermal scale {self.scale}, expected above 0")
        if not -math.inf < self.offset < math.inf:
            raise ThermalError(f"thermal offset {self.offset}, expected a finite number")
        if not 1.0 <= self.plateau < math.inf:
            raise ThermalError(f"thermal plateau {self.plateau}, expected 1 or more")
        if not 0.0 <= self.clahe < math.inf:
            raise ThermalError(f"thermal clahe {self.clahe}, expected 0 or more")
        if self.mode == "range" and not -math.inf < self.low < self.high < math.inf:
            raise ThermalError(f"thermal range {self.low}..{self.high}, expected low < high")

    def unit(self, kind: Any) -> str:
        """Return what `scale` and `offset` make of pixels of this dtype: "C" or "counts".

        Counts are degrees once a scale or an offset says how; float32 images already are.
        """
        scaled = (self.scale, self.offset) != (1.0, 0.0)
        return "C" if scaled or np.dtype(kind).kind == "f" else "counts"

    def to_unit(self, values: NDArray[np.float32]) -> None:
        """Turn pixel values into the unit of `scale` and `offset`, in place."""
        if (self.scale, self.offset) != (1.0, 0.0):
            values *= np.float32(self.scale)
            values += np.float32(self.offset)

    @property
    def pixel_range(self) -> tuple[float, float]:
        """Pixel values that mode "range" maps to black and white."""
        return (self.low - self.offset) / self.scale, (self.high - self.offset) / self.scale
