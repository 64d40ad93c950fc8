# SPDX-License-Identifier: Apache-2.0
"""Settings of the thermal rendering, and the mapping of values to grey levels over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.frames import Buffers, Image8, ThermalImage

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
        smoothing: weight of the newest frame in the running limits, (0, 1]; small = less flicker.
            Below 1 a grey level moves by less than one a frame as long as the picture is usable;
            1 renders every frame by itself.
        low: black level of "range", in the unit of `scale` and `offset`.
        high: white level of "range", in the same unit.
        scale: for "range", value = pixel * scale + offset; 0.01 and -273.15 make degrees Celsius
            of centi-kelvin.
        offset: see `scale`.
        minimum_span: smallest width of the percentile window, in the frame's unit; limits the
            amplification of noise in a flat scene. 0 chooses by type: 100 for counts and
            centi-kelvin, 2 for float32 frames, which are in degrees.
        plateau: in mode "plateau", largest contrast of a value relative to a linear stretch (the
            redistributed share adds at most 1); 1 is nearly linear.
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
        """Return the unit of pixels of this dtype after `scale` and `offset`: "C" or "counts".

        Counts become degrees if a scale or an offset is set; float32 images are in degrees.
        """
        scaled = (self.scale, self.offset) != (1.0, 0.0)
        return "C" if scaled or np.dtype(kind).kind == "f" else "counts"

    def to_unit(self, values: NDArray[np.float32]) -> None:
        """Convert pixel values to the unit of `scale` and `offset`, in place."""
        if (self.scale, self.offset) != (1.0, 0.0):
            values *= np.float32(self.scale)
            values += np.float32(self.offset)

    @property
    def pixel_range(self) -> tuple[float, float]:
        """Pixel values that mode "range" maps to black and white."""
        return (self.low - self.offset) / self.scale, (self.high - self.offset) / self.scale


Curve = NDArray[np.float32]
"""Grey level 0 to 255 of every pixel value, never falling."""

_BINS = 256
_STEADY_STEP = 0.98
"""Below 1, so that a rounded grey level changes by at most 1."""
_FAST_STEP = 8.0
_ARRIVED = 8.0
"""Difference in grey levels at which the rendering has adapted to a changed scene."""


@dataclass(frozen=True, slots=True)
class Window:
    """Limits of one frame: the values that become black and white, and the median."""

    low: float
    middle: float
    high: float


@dataclass(frozen=True, slots=True)
class Pace:
    """Speed at which the rendering adapts to the scene.

    Attributes:
        weight: share of the newest frame's own rendering.
        step: largest change of a value in one frame, grey levels.
    """

    weight: float
    step: float

    def hurried_until(self, distance: float) -> bool:
        """Return whether to adapt fast, given the remaining difference in grey levels."""
        return self.step > _STEADY_STEP and distance > _ARRIVED


def window_of(sample: NDArray[Any], settings: ThermalSettings, span: float) -> Window:
    """Return the percentiles of some finite values, at least `span` apart."""
    low, middle, high = percentiles(
        sample, (settings.low_percentile, 50.0, settings.high_percentile)
    )
    if settings.mode != "plateau":
        # A clear sky is 50 K colder than the street and would use most of the grey levels:
        # the dark half of the picture gets at most as many as the bright half.
        low = max(low, 2.0 * middle - high)
    lacking = span - (high - low)
    if lacking > 0.0:
        low, high = low - lacking / 2.0, high + lacking / 2.0
    return Window(low, middle, high)


def percentiles(sample: NDArray[Any], shares: Sequence[float]) -> list[float]:
    """Return the result of `numpy.percentile`; for integers by counting, in a third of the time."""
    if sample.dtype.kind != "u":
        return [float(value) for value in np.percentile(sample, shares)]
    base = int(sample.min())
    counted = np.cumsum(np.bincount((sample - base).ravel()))
    ranks = np.asarray(shares) * ((sample.size - 1) / 100.0)
    below = np.floor(ranks)
    first, second = np.searchsorted(counted, (below, np.ceil(ranks)), side="right")
    return [float(value) for value in base + first + (ranks - below) * (second - first)]


def pace_of(smoothing: float, old: Window, new: Window, *, hurry: bool) -> Pace:
    """Choose the pace.

    Args:
        smoothing: the setting; 1 means every frame by itself.
        old: window in use; its limits are what becomes black and white now.
        new: window of the newest frame.
        hurry: True just after the camera's shutter, or on the way to a changed scene.
    """
    if smoothing == 1.0:
        return Pace(1.0, math.inf)
    if new.low >= old.high or new.high <= old.low:
        # All black or all white: adapt at once (the camera changed its gain).
        return Pace(max(smoothing, 0.5), math.inf)
    # Most of the picture black or white: the scene changed, so adapt fast. A dark
    # scene with a hot object has its median at the edge of the window, hence the margin.
    margin = 0.02 * (old.high - old.low)
    if hurry or not old.low - margin <= new.middle <= old.high + margin:
        return Pace(max(smoothing, 0.3), _FAST_STEP)
    return Pace(smoothing, _STEADY_STEP)


def follow_limits(old: Window, new: Window, pace: Pace) -> Window:
    """Move the limits of a linear stretch; no value changes by more than the pace's step.

    The change of a grey level is a weighted mean of the changes at both ends, so these are limited.
    """
    most = pace.step * (old.high - old.low) / 255.0
    low = old.low + max(-most, min(most, pace.weight * (new.low - old.low)))
    high = old.high + max(-most, min(most, pace.weight * (new.high - old.high)))
    return Window(low, new.middle, high)


def follow_curve(old: Curve, new: Curve, pace: Pace) -> Curve:
    """Move a curve by at most the pace's step per value; it stays monotonic."""
    change: Curve = new - old
    change *= pace.weight
    if pace.step < 255.0:
        np.clip(change, -pace.step, pace.step, out=change)
    change += old
    return change


def plateau_curve(sample: NDArray[np.unsignedinteger], window: Window, plateau: float) -> Curve:
    """Equalise a histogram whose bins are clipped at a plateau.

    The clipped share is spread evenly over the window, so no value gets more than `plateau` + 1
    times the contrast of a linear stretch. This limits the noise of flat areas.

    Args:
        sample: uint8 or uint16 pixels.
        window: limits; below is black, above is white.
        plateau: tallest bin, in multiples of the mean bin.

    Returns:
        One grey level for every possible pixel value: 256 or 65536 entries.
    """
    size = int(np.iinfo(sample.dtype).max) + 1
    first = max(0, math.floor(window.low))
    reach = max(1, min(size, math.ceil(window.high) + 1) - first)
    width = -(-reach // _BINS)
    bins = -(-reach // width)
    values = np.zeros(bins * width)
    counted = np.bincount(sample.ravel(), minlength=size)[first : first + reach]
    values[: counted.size] = counted
    heights = values.reshape(bins, width).sum(axis=1)
    share = heights / max(1.0, heights.sum())
    cut = np.minimum(share, plateau / bins)
    slopes = np.repeat((cut + (1.0 - cut.sum()) / bins) * (255.0 / width), width)
    curve = np.zeros(size, np.float32)
    # Each value maps to the middle of its step, so that a flat scene is mid-grey.
    rising = np.cumsum(slopes) - slopes / 2.0
    curve[first : first + reach] = rising[:reach]
    curve[first + reach :] = 255.0
    return curve


def draw_curve(image: ThermalImage, curve: Curve, out: Image8 | None = None) -> Image8:
    """Apply a lookup curve to a uint8 or uint16 image.

    Args:
        image: HxW uint8 or uint16.
        curve: one grey level for every possible value.
        out: HxW uint8 to write to, a new array if None.
    """
    table = cv2.convertScaleAbs(curve).ravel()
    if image.dtype == np.uint8:
        return np.asarray(cv2.LUT(image, table, out), np.uint8)
    # All indices are valid; "clip" avoids numpy's check and a copy to wider indices.
    return np.asarray(np.take(table, image, out=out, mode="clip"), np.uint8)


def stretch(
    image: ThermalImage,
    low: float,
    high: float,
    out: Image8 | None = None,
    buffers: Buffers | None = None,
) -> Image8:
    """Map [low, high] to [0, 255] with saturation; NaN becomes 0.

    Args:
        image: HxW uint8, uint16 or float32.
        low: value that becomes 0.
        high: value that becomes 255.
        out: HxW uint8 to write to, a new array if None.
        buffers: where intermediate results go, new arrays if None.
    """
    slope = 255.0 / (high - low)
    if image.dtype == np.uint8:
        table = np.clip((np.arange(256) - low) * slope, 0, 255)
        return np.asarray(cv2.LUT(image, np.round(table).astype(np.uint8), out), np.uint8)
    buffers = buffers or Buffers()
    base = math.floor(low)
    if image.dtype == np.uint16 and base >= 0 and slope * (low - base) < 0.5:
        # Half the memory traffic of floating point, and just as exact: values up to `base`
        # saturate at 0, and the fraction of `low` is then too small to round up to 1.
        above = buffers.take("above", image.shape, np.uint16)
        cv2.subtract(image, base, dst=above)
        return np.asarray(cv2.convertScaleAbs(above, out, slope, slope * (base - low)), np.uint8)
    values = buffers.take("values", image.shape, np.float32)
    np.copyto(values, image)
    if image.dtype == np.float32:
        cv2.patchNaNs(values, low)
    cv2.subtract(values, low, dst=values)
    cv2.max(values, 0.0, dst=values)
    cv2.min(values, high - low, dst=values)
    return np.asarray(cv2.convertScaleAbs(values, out, slope), np.uint8)
