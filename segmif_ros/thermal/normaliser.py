# SPDX-License-Identifier: Apache-2.0
"""Renders a sequence of thermal frames without flicker."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.frames import Buffers, Image8, PictureState, ThermalImage
from segmif_ros.pairing import Stream
from segmif_ros.thermal.freeze import FreezeLimits, FreezeWatch
from segmif_ros.thermal.tone import (
    Curve,
    ThermalError,
    ThermalSettings,
    Window,
    draw_curve,
    follow_curve,
    follow_limits,
    pace_of,
    plateau_curve,
    stretch,
    window_of,
)

_SAMPLES = 16384
"""Percentiles are computed on an even grid of at least this many pixels."""
_FINE_STEPS_PER_DEGREE = 50.0
_ABSOLUTE_ZERO = -273.15
_LARGEST = 1e6
"""Larger float32 values are invalid: some drivers mark missing values with the largest float."""


class ThermalNormaliser:
    """Stateful conversion to 8 bits whose limits follow the scene slowly, to avoid flicker.

    Attributes:
        settings: how to render.
        freeze: detection of the shutter; updated only by frames with a stamp.

    >>> import numpy as np
    >>> from segmif_ros import ThermalNormaliser, ThermalSettings
    >>> celsius = np.linspace(-10.0, 40.0, 6, dtype=np.float32).reshape(2, 3)
    >>> ThermalNormaliser(ThermalSettings(mode="range", low=0.0, high=30.0)).normalise(celsius)
    array([[  0,   0,  85],
           [170, 255, 255]], dtype=uint8)
    """

    def __init__(self, settings: ThermalSettings | None = None) -> None:
        self.settings = settings or ThermalSettings()
        self.freeze = _freeze_watch()
        self._window: Window | None = None
        self._curve: Curve | None = None
        self._dtype: np.dtype[Any] | None = None
        self._hurry = False
        self._odd = self._adaptive = False
        limit = self.settings.clahe
        self._clahe = cv2.createCLAHE(limit, (8, 8)) if limit > 0.0 else None
        self._buffers = Buffers()

    @property
    def limits(self) -> tuple[float, float] | None:
        """Pixel values that map to 0 and 255 now; None before the first adaptive frame.

        In mode "plateau" the limits of the newest frame, which the curve approaches.
        """
        return None if self._window is None else (self._window.low, self._window.high)

    @property
    def hint(self) -> str:
        """What to check while `minimum_span` limits the contrast, empty otherwise."""
        if self._window is None or not self._adaptive:
            return ""
        width, span = self._window.high - self._window.low, self._span()
        if width > 1.01 * span:
            return ""
        return (
            f"the scene spans less than thermal_minimum_span, {span:g}, and stays grey; a camera "
            "of 0.1 K a count needs 10 to 20 (docs/thermal.md)"
        )

    def reset(self) -> None:
        """Reset the running limits, for example after a camera was exchanged."""
        self._window = self._curve = None
        self._hurry = False
        self.freeze = _freeze_watch()

    def normalise(
        self,
        image: ThermalImage,
        stamp_ns: int | None = None,
        out: Image8 | None = None,
        *,
        picture: PictureState | None = None,
    ) -> Image8:
        """Render one frame.

        Args:
            image: HxW uint8, uint16 or float32.
            stamp_ns: acquisition time, nanoseconds. With it a closed shutter is bridged: the
                rendering holds while the picture is frozen and follows faster for a second after.
            out: HxW uint8 to write to, a new array if None.
            picture: the freeze state of this frame, if already known.

        Returns:
            HxW uint8; the input itself if no conversion is needed.

        Raises:
            ThermalError: another shape or dtype, or no finite value in the frame.
        """
        known = image.dtype in (np.uint8, np.uint16, np.float32)
        if image.ndim != 2 or image.size == 0 or not known:
            raise ThermalError(
                f"thermal frame of shape {image.shape} and type {image.dtype}, "
                "expected HxW of uint8, uint16 or float32, not empty"
            )
        state = picture
        if state is None and stamp_ns is not None:
            state = self.freeze.observe(self._kept(image), stamp_ns)
        state = state or PictureState.FRESH
        if self._clahe is None:
            return self._render(image, state, out)
        even = self._render(image, state, self._buffers.take("even", image.shape))
        return np.asarray(self._clahe.apply(even, out), np.uint8)

    def _kept(self, image: ThermalImage) -> ThermalImage:
        """Copy a frame for the freeze detection: callers reuse the array for the next one."""
        self._odd = not self._odd
        out = self._buffers.take(f"seen {self._odd}", image.shape, image.dtype)
        np.copyto(out, image)
        return out

    def _render(self, image: ThermalImage, state: PictureState, out: Image8 | None) -> Image8:
        mode = self.settings.mode
        self._adaptive = mode != "range"
        if mode == "auto":
            mode = "passthrough" if image.dtype == np.uint8 else "percentile"
        if mode == "passthrough":
            if image.dtype != np.uint8:
                raise ThermalError(
                    f"thermal mode 'passthrough' with {image.dtype} frames; "
                    "set thermal_mode to 'percentile', 'plateau' or 'range'"
                )
            return image
        if mode == "range":
            return stretch(image, *self.settings.pixel_range, out, self._buffers)
        if image.dtype != self._dtype:  # another camera or encoding: discard the limits
            self._window = self._curve = None
            self._hurry = False
            self._dtype = image.dtype
        if mode == "plateau":
            return self._equalise(image, state, out)
        window = self._window
        if window is None or state is not PictureState.SHUTTER:
            new = window_of(_sample(image), self.settings, self._span())
            if window is not None:
                hurry = self._hurry or state is PictureState.SETTLING
                pace = pace_of(self.settings.smoothing, window, new, hurry=hurry)
                goal, new = new, follow_limits(window, new, pace)
                distance = max(abs(goal.low - new.low), abs(goal.high - new.high))
                self._hurry = pace.hurried_until(255.0 * distance / (new.high - new.low))
            self._window = window = new
        return stretch(image, window.low, window.high, out, self._buffers)

    def _equalise(self, image: ThermalImage, state: PictureState, out: Image8 | None) -> Image8:
        scale = 1.0
        sample = _sample(image)
        if image.dtype == np.float32:
            scale = _FINE_STEPS_PER_DEGREE
            # From the sample: in the picture, NaN has already been converted to a number.
            sample = _in_fine_steps(
                sample, np.empty_like(sample), np.empty(sample.shape, np.uint16)
            )
            values = self._buffers.take("values", image.shape, np.float32)
            steps = self._buffers.take("steps", image.shape, np.uint16)
            image = _in_fine_steps(image, values, steps)
        curve = self._curve
        if curve is None or state is not PictureState.SHUTTER:
            window = window_of(sample, self.settings, scale * self._span())
            new = plateau_curve(sample, window, self.settings.plateau)
            if curve is not None:
                ends = np.searchsorted(curve, (0.5, 254.5)).tolist()
                old = Window(ends[0], window.middle, ends[1])
                hurry = self._hurry or state is PictureState.SETTLING
                pace = pace_of(self.settings.smoothing, old, window, hurry=hurry)
                goal, new = new, follow_curve(curve, new, pace)
                self._hurry = pace.hurried_until(cv2.norm(goal, new, cv2.NORM_INF))
            self._curve = curve = new
            base = 0.0 if scale == 1.0 else _ABSOLUTE_ZERO
            self._window = Window(
                window.low / scale + base, window.middle / scale + base, window.high / scale + base
            )
        return draw_curve(image, curve, out)

    def _span(self) -> float:
        return self.settings.minimum_span or (2.0 if self._dtype == np.float32 else 100.0)


def _freeze_watch() -> FreezeWatch:
    return FreezeWatch(FreezeLimits.of(Stream.THERMAL))


def _sample(image: ThermalImage) -> NDArray[Any]:
    """Return the values on an even grid, without NaN, infinities and markers of missing values."""
    step = max(1, min(math.isqrt(image.size // _SAMPLES), *image.shape))
    sample: NDArray[Any] = image[step // 2 :: step, step // 2 :: step]
    if image.dtype == np.float32:
        sample = sample[np.abs(sample) < _LARGEST]
        if sample.size == 0:
            raise ThermalError("thermal frame without one finite value")
    return sample


def _in_fine_steps(
    image: ThermalImage, values: NDArray[np.float32], steps: NDArray[np.uint16]
) -> NDArray[np.uint16]:
    """Convert degrees to steps of 0.02 degrees above -273.15, in `steps`; NaN becomes 0."""
    np.copyto(values, image)
    cv2.patchNaNs(values, _ABSOLUTE_ZERO)
    values -= np.float32(_ABSOLUTE_ZERO)
    np.clip(values, 0.0, 65535.0 / _FINE_STEPS_PER_DEGREE, out=values)
    values *= np.float32(_FINE_STEPS_PER_DEGREE)
    np.copyto(steps, values, casting="unsafe")
    return steps
