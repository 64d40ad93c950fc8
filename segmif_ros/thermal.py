# SPDX-License-Identifier: Apache-2.0
"""Thermal frames to the 8-bit image the network was trained on.

Training and node share this code, so that what the network sees on a vehicle is what it learnt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.frames import Image8, ThermalImage

ThermalMode = Literal["auto", "passthrough", "percentile", "range"]
THERMAL_MODES: tuple[str, ...] = get_args(ThermalMode)

_SAMPLES = 16384
"""Percentiles are taken on an even grid of at least so many pixels: the answer hardly differs."""


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
            scene from turning noise into structure. 0 chooses by type: 100 for counts and
            centi-kelvin, 2 for float32 frames, which are in degrees.
    """

    mode: ThermalMode = "auto"
    low_percentile: float = 1.0
    high_percentile: float = 99.7
    smoothing: float = 0.1
    low: float = 0.0
    high: float = 65535.0
    minimum_span: float = 0.0

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
        if self.mode == "range" and not -math.inf < self.low < self.high < math.inf:
            raise ThermalError(f"thermal range {self.low}..{self.high}, expected low < high")


class ThermalNormaliser:
    """Stateful 16-bit to 8-bit conversion: limits follow the scene slowly, so video is steady."""

    def __init__(self, settings: ThermalSettings | None = None) -> None:
        self.settings = settings or ThermalSettings()
        self._limits: tuple[float, float] | None = None
        self._dtype: np.dtype[Any] | None = None

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
        known = image.dtype in (np.uint8, np.uint16, np.float32)
        if image.ndim != 2 or image.size == 0 or not known:
            raise ThermalError(
                f"thermal frame of shape {image.shape} and type {image.dtype}, "
                "expected HxW of uint8, uint16 or float32, not empty"
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
        if image.dtype != self._dtype:  # another camera or encoding: the old limits mean nothing
            self._limits, self._dtype = None, image.dtype
        self._limits = self._follow(image)
        return _stretch(image, *self._limits)

    def _follow(self, image: ThermalImage) -> tuple[float, float]:
        step = max(1, min(math.isqrt(image.size // _SAMPLES), *image.shape))
        sample = image[step // 2 :: step, step // 2 :: step]
        if image.dtype == np.float32:
            sample = sample[np.isfinite(sample)]
            if sample.size == 0:
                raise ThermalError("thermal frame without one finite value")
        settings = self.settings
        low, middle, high = np.percentile(
            sample, (settings.low_percentile, 50.0, settings.high_percentile)
        )
        # A clear sky is 50 K colder than the street and would take most of the grey levels. The
        # dark half of the picture gets no more of them than the bright half.
        low = max(low, 2.0 * middle - high)
        span = settings.minimum_span or (2.0 if image.dtype == np.float32 else 100.0)
        lacking = span - float(high - low)
        if lacking > 0.0:
            low, high = low - lacking / 2.0, high + lacking / 2.0
        if self._limits is None:
            return float(low), float(high)
        old_low, old_high = self._limits
        weight = settings.smoothing
        return (
            old_low + weight * (float(low) - old_low),
            old_high + weight * (float(high) - old_high),
        )


def _stretch(image: ThermalImage, low: float, high: float) -> Image8:
    """Map [low, high] to [0, 255] with saturation; NaN becomes 0."""
    if image.dtype == np.uint8:
        table = np.clip((np.arange(256) - low) * (255.0 / (high - low)), 0, 255)
        return np.asarray(cv2.LUT(image, np.round(table).astype(np.uint8)), np.uint8)
    values: NDArray[np.float32] = np.array(image, np.float32, order="C")
    cv2.patchNaNs(values, low)
    cv2.subtract(values, low, dst=values)
    cv2.max(values, 0.0, dst=values)
    cv2.min(values, high - low, dst=values)
    return np.asarray(cv2.convertScaleAbs(values, alpha=255.0 / (high - low)), np.uint8)
