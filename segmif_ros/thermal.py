# SPDX-License-Identifier: Apache-2.0
"""Thermal frames to the 8-bit image the network was trained on.

Training and node share this code, so that what the network sees on a vehicle is what it learnt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.frames import Image8, ThermalImage

ThermalMode = Literal["auto", "passthrough", "percentile", "range"]
THERMAL_MODES: tuple[str, ...] = get_args(ThermalMode)

_SUBSAMPLE = 4
"""Percentiles are taken on every 4th row and column: 1/16 of the work, same answer to a count."""


class ThermalError(ValueError):
    """A thermal frame or a setting cannot be used; the message names the value."""


@dataclass(frozen=True, slots=True)
class ThermalSettings:
    """How to render thermal values in 8 bits.

    Attributes:
        mode: "passthrough" needs 8-bit frames and leaves them alone; "percentile" stretches between
            smoothed percentiles; "range" maps [low, high] to [0, 255]; "auto" is passthrough for
            8-bit and percentile for everything else.
        low_percentile: percentile that becomes black.
        high_percentile: percentile that becomes white.
        smoothing: weight of the newest frame in the running limits, (0, 1]; small = steady picture.
        low: black level of "range", in the frame's own unit.
        high: white level of "range".
        minimum_span: smallest width of the percentile window, in the frame's unit; keeps a flat
            scene from turning noise into structure.
    """

    mode: ThermalMode = "auto"
    low_percentile: float = 1.0
    high_percentile: float = 99.7
    smoothing: float = 0.1
    low: float = 0.0
    high: float = 65535.0
    minimum_span: float = 100.0

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
        if self.mode == "range" and not self.low < self.high:
            raise ThermalError(f"thermal range {self.low}..{self.high}, expected low < high")


class ThermalNormaliser:
    """Stateful 16-bit to 8-bit conversion: limits follow the scene slowly, so video is steady."""

    def __init__(self, settings: ThermalSettings | None = None) -> None:
        self.settings = settings or ThermalSettings()
        self._limits: tuple[float, float] | None = None

    @property
    def limits(self) -> tuple[float, float] | None:
        """Values that map to 0 and 255 now; None before the first stretched frame."""
        return self._limits

    def reset(self) -> None:
        """Forget the running limits, for example after a camera was exchanged."""
        self._limits = None

    def normalise(self, image: ThermalImage) -> Image8:
        """Render one frame.

        Args:
            image: HxW uint8, uint16 or float32.

        Returns:
            HxW uint8; the input itself when nothing has to be done.

        Raises:
            ThermalError: another shape or dtype, or no finite value in the frame.
        """
        if image.ndim != 2 or image.dtype not in (np.uint8, np.uint16, np.float32):
            raise ThermalError(
                f"thermal frame of shape {image.shape} and type {image.dtype}, "
                "expected HxW of uint8, uint16 or float32"
            )
        mode = self.settings.mode
        if mode == "auto":
            mode = "passthrough" if image.dtype == np.uint8 else "percentile"
        if mode == "passthrough":
            if image.dtype != np.uint8:
                raise ThermalError(
                    f"thermal mode 'passthrough' with {image.dtype} frames; "
                    "set thermal_mode to 'percentile' or 'range'"
                )
            return image
        if mode == "range":
            return _stretch(image, self.settings.low, self.settings.high)
        self._limits = self._follow(image)
        return _stretch(image, *self._limits)

    def _follow(self, image: ThermalImage) -> tuple[float, float]:
        sample = image[::_SUBSAMPLE, ::_SUBSAMPLE]
        if image.dtype == np.float32:
            sample = sample[np.isfinite(sample)]
            if sample.size == 0:
                raise ThermalError("thermal frame without one finite value")
        settings = self.settings
        low, high = np.percentile(sample, (settings.low_percentile, settings.high_percentile))
        lacking = settings.minimum_span - float(high - low)
        if lacking > 0.0:
            low, high = low - lacking / 2.0, high + lacking / 2.0
        if self._limits is None:
            return float(low), float(high)
        old_low, old_high = self._limits
        step = settings.smoothing
        return old_low + step * (float(low) - old_low), old_high + step * (float(high) - old_high)


def _stretch(image: ThermalImage, low: float, high: float) -> Image8:
    """Map [low, high] to [0, 255] with saturation; NaN becomes 0."""
    if image.dtype == np.uint8:
        table = np.clip((np.arange(256) - low) * (255.0 / (high - low)), 0, 255)
        return np.asarray(cv2.LUT(image, np.round(table).astype(np.uint8)), np.uint8)
    scale = 255.0 / (high - low)
    values: NDArray[np.float32] = image.astype(np.float32)
    cv2.subtract(values, float(low), dst=values)
    cv2.multiply(values, scale, dst=values)
    np.nan_to_num(values, copy=False, nan=0.0, posinf=255.0, neginf=0.0)
    np.clip(values, 0.0, 255.0, out=values)
    return np.rint(values).astype(np.uint8)
