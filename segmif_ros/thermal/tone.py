# SPDX-License-Identifier: Apache-2.0
"""From values to grey levels, and how fast that may change from one frame to the next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.frames import Buffers, Image8, ThermalImage
from segmif_ros.thermal.settings import ThermalSettings

Curve = NDArray[np.float32]
"""Grey level 0 to 255 of every pixel value, never falling."""

_BINS = 256
_STEADY_STEP = 0.98
"""Below 1, so that a rounded grey level changes by at most 1."""
_FAST_STEP = 8.0
_ARRIVED = 8.0
"""Grey levels between the rendering and its goal at which a changed scene counts as reached."""


@dataclass(frozen=True, slots=True)
class Window:
    """Pixel values of one frame that matter: its dark end, its median and its bright end."""

    low: float
    middle: float
    high: float


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the rendering may follow the scene.

    Attributes:
        weight: share of the way to the newest frame's own rendering.
        step: most grey levels that any value may change in one frame.
    """

    weight: float
    step: float

    def hurried_until(self, distance: float) -> bool:
        """Return whether to stay fast, with so many grey levels left to the goal."""
        return self.step > _STEADY_STEP and distance > _ARRIVED


def window_of(sample: NDArray[Any], settings: ThermalSettings, span: float) -> Window:
    """Return the percentiles of some finite values, at least `span` apart."""
    low, middle, high = percentiles(
        sample, (settings.low_percentile, 50.0, settings.high_percentile)
    )
    if settings.mode != "plateau":
        # A clear sky is 50 K colder than the street and would take most of the grey levels. The
        # dark half of the picture gets no more of them than the bright half.
        low = max(low, 2.0 * middle - high)
    lacking = span - (high - low)
    if lacking > 0.0:
        low, high = low - lacking / 2.0, high + lacking / 2.0
    return Window(low, middle, high)


def percentiles(sample: NDArray[Any], shares: Sequence[float]) -> list[float]:
    """Return what `numpy.percentile` does, of whole numbers by counting, in a third of the time."""
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
        # All black or all white: there is no picture to keep steady (the camera changed its gain).
        return Pace(max(smoothing, 0.5), math.inf)
    # Most of the picture black or white: the scene changed, there is little to keep steady. A dark
    # scene with a hot object has its median at the edge of the window, hence the margin.
    margin = 0.02 * (old.high - old.low)
    if hurry or not old.low - margin <= new.middle <= old.high + margin:
        return Pace(max(smoothing, 0.3), _FAST_STEP)
    return Pace(smoothing, _STEADY_STEP)


def follow_limits(old: Window, new: Window, pace: Pace) -> Window:
    """Move the limits of a linear stretch; no value changes by more than the pace's step.

    A value's grey level moves by a mixture of what the two ends move by, so limiting the ends is
    enough.
    """
    most = pace.step * (old.high - old.low) / 255.0
    low = old.low + max(-most, min(most, pace.weight * (new.low - old.low)))
    high = old.high + max(-most, min(most, pace.weight * (new.high - old.high)))
    return Window(low, new.middle, high)


def follow_curve(old: Curve, new: Curve, pace: Pace) -> Curve:
    """Move a curve; no value changes by more than the pace's step, and it still never falls."""
    change: Curve = new - old
    change *= pace.weight
    if pace.step < 255.0:
        np.clip(change, -pace.step, pace.step, out=change)
    change += old
    return change


def plateau_curve(sample: NDArray[np.unsignedinteger], window: Window, plateau: float) -> Curve:
    """Equalise a histogram whose peaks are cut off at a plateau.

    What is cut off is spread evenly over the window, so that no value gets more than `plateau` + 1
    times the contrast of a linear stretch: noise on a flat wall stays small.

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
    # A value sits in the middle of its step, or a flat scene would not be mid-grey.
    rising = np.cumsum(slopes) - slopes / 2.0
    curve[first : first + reach] = rising[:reach]
    curve[first + reach :] = 255.0
    return curve


def draw_curve(image: ThermalImage, curve: Curve, out: Image8 | None = None) -> Image8:
    """Look every pixel of a uint8 or uint16 image up in a curve of its type.

    Args:
        image: HxW uint8 or uint16.
        curve: one grey level for every possible value.
        out: HxW uint8 to write to, a new array if None.
    """
    table = cv2.convertScaleAbs(curve).ravel()
    if image.dtype == np.uint8:
        return np.asarray(cv2.LUT(image, table, out), np.uint8)
    # All indices are valid; "clip" only spares numpy the check and the copy to wider indices.
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
        # saturate at 0, and what `low` has behind the point is then too little to round up to 1.
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
