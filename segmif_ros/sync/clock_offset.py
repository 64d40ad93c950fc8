# SPDX-License-Identifier: Apache-2.0
"""Measures the time offset of two cameras from the motion in their pictures.

A turn or a bump of the vehicle moves both pictures at the same time. Passing objects enter the two
views at different times, so only the shift of the whole picture is measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.pairing import MILLISECOND, SECOND

WIDTH, HEIGHT = 160, 120
_BLUR = 1.5
_FLAT = 1e-6
_LARGEST_VALUE = 1e6
"""Larger pixel values are invalid, in counts and in degrees."""

Plane = NDArray[np.float32]
Motion = NDArray[np.float64]


class MotionMeter:
    """Measures one camera, frame after frame; keeps one small picture."""

    def __init__(self) -> None:
        self._last: Plane | None = None
        self._grid: NDArray[Any] | None = None
        self._window = cv2.createHanningWindow((WIDTH, HEIGHT), cv2.CV_32F)

    def add(self, image: NDArray[Any]) -> tuple[Motion, bool]:
        """Take the next image.

        Args:
            image: HxWx3 uint8 RGB, or HxW thermal of any depth.

        Returns:
            Shift in x and y as shares of width and height, NaN for the first image; and whether
            the image equals the one before (compared in every fourth row and column; sensor noise
            changes them in every new image).
        """
        grid = np.ascontiguousarray(image[::4, ::4])
        same = (
            self._grid is not None
            and self._grid.shape == grid.shape
            and np.array_equal(self._grid, grid)
        )
        self._grid = grid
        small = normalised(image)
        last, self._last = self._last, small
        if last is None:
            return np.full(2, np.nan), False
        if not (last.any() and small.any()):
            return np.zeros(2), same  # of flat pictures a correlation says anything
        (dx, dy), _ = cv2.phaseCorrelate(_edges(last), _edges(small), self._window)
        return np.array([dx / WIDTH, dy / HEIGHT]), same


def normalised(image: NDArray[Any]) -> Plane:
    """HxW[x3] of any depth -> HEIGHTxWIDTH float32 of mean 0 and deviation 1; zeros if flat."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
    grey = grey.astype(np.float32)
    sound = np.abs(grey) < _LARGEST_VALUE  # not so for NaN
    if not sound.all():
        # Filled with the mean: a hole at a fixed position would bias the shift to 0.
        grey[~sound] = grey[sound].mean() if sound.any() else 0.0
    small = cv2.resize(grey, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), _BLUR)
    mean, spread = float(small.mean()), float(small.std())
    if spread <= _FLAT * max(1.0, abs(mean)):
        return np.zeros_like(small)
    return np.asarray((small - mean) / spread, np.float32)


def _edges(picture: Plane) -> Plane:
    """Gradient magnitude: similar in both cameras, and independent of uniform brightness."""
    x = cv2.Sobel(picture, cv2.CV_32F, 1, 0)
    y = cv2.Sobel(picture, cv2.CV_32F, 0, 1)
    return np.asarray(np.sqrt(cv2.magnitude(x, y)), np.float32)


STEP_MS = 4.0
LARGEST_MS = 600.0
LEAST_SECONDS = 5.0
LONGEST_GAP_S = 60.0
"""Longest gap between two images, seconds; a longer one is a clock that was set."""
_HIGH_PASS = (round(1_500.0 / STEP_MS), 1)
LARGEST_SPREAD_MS = 12.0
_CLIP = 3.0
_LEAST_AGREEMENT = 0.6
_RIVAL_BEYOND_MS = 150.0
_LARGEST_RIVAL = 0.85
_PARTS = 6
_NEAR = round(_RIVAL_BEYOND_MS / STEP_MS)

Signal = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """Offset of the thermal stamps to the RGB stamps.

    Attributes:
        offset_ms: positive when thermal stamps are late: what RGB shows at t, thermal shows at
            t + offset. None when the pictures are inconclusive, then `reason` says why.
        spread_ms: change of the estimate when a sixth of the recording is left out.
        agreement: correlation of the two cameras' motion at the offset, -1 to 1.
        reason: why the pictures give no estimate; empty otherwise. With an offset it
            is known roughly from the arrival times.
    """

    offset_ms: float | None
    spread_ms: float = 0.0
    agreement: float = 0.0
    reason: str = ""


def _unfit(overlap_s: float, gap_s: float) -> str:
    """Return why stamps cannot give an offset, empty if they can."""
    if overlap_s < LEAST_SECONDS:
        # Rounded down: 4.96 s must not read as 5.0 s, which would be enough.
        return (
            f"the cameras overlap for {math.floor(max(0.0, overlap_s) * 100) / 100:.2f} s, "
            f"expected at least {LEAST_SECONDS:g} s"
        )
    if gap_s > LONGEST_GAP_S:
        return (
            f"stamps jump by {gap_s:.0f} s, expected at most {LONGEST_GAP_S:g} s between two "
            "images; a clock was set, or the recording was interrupted: record again"
        )
    return ""


def clock_offset(
    rgb_ns: NDArray[np.int64],
    rgb_motion: Signal,
    thermal_ns: NDArray[np.int64],
    thermal_motion: Signal,
) -> ClockOffset:
    """Find the time shift with the highest correlation of the motion of both cameras.

    Args:
        rgb_ns: N rising stamps.
        rgb_motion: Nx2, see `motion.MotionMeter`; the first row is NaN.
        thermal_ns: M rising stamps.
        thermal_motion: Mx2.
    """
    begin, end = max(rgb_ns[0], thermal_ns[0]), min(rgb_ns[-1], thermal_ns[-1])
    gap_ns = max(float(np.diff(stamps).max(initial=0)) for stamps in (rgb_ns, thermal_ns))
    if reason := _unfit((end - begin) / SECOND, gap_ns / SECOND):
        return ClockOffset(None, reason=reason)
    times = np.arange(begin / MILLISECOND, end / MILLISECOND, STEP_MS)
    window = max(float(np.median(np.diff(stamps))) for stamps in (rgb_ns, thermal_ns)) / MILLISECOND
    rgb = _speeds(times, rgb_ns, rgb_motion, window)
    thermal = _speeds(times, thermal_ns, thermal_motion, window)
    lags = np.arange(-round(LARGEST_MS / STEP_MS), round(LARGEST_MS / STEP_MS) + 1)
    products = _products(rgb, thermal, lags)
    curve = products.sum(axis=1)
    peak = int(curve.argmax())
    agreement = float(curve[peak])
    if agreement < _LEAST_AGREEMENT:
        return ClockOffset(
            None,
            agreement=agreement,
            reason="the pictures hardly move, or not alike (agreement "
            f"{agreement:.2f}, expected at least {_LEAST_AGREEMENT:g}); "
            "record while the vehicle turns, or tilt the rig by hand a few times",
        )
    far = np.abs(lags - lags[peak]) * STEP_MS > _RIVAL_BEYOND_MS
    if peak in (0, len(lags) - 1) or curve[far].max() > _LARGEST_RIVAL * agreement:
        return ClockOffset(
            None,
            agreement=agreement,
            reason="the motion repeats itself, so several offsets fit; record something that "
            "starts and stops",
        )
    near = slice(max(0, peak - _NEAR), peak + _NEAR + 1)
    without = [_top(lags[near], (curve - part)[near]) for part in products.T]
    spread = float(np.ptp(without)) / 2.0
    if spread > LARGEST_SPREAD_MS:
        return ClockOffset(
            None,
            spread,
            agreement,
            f"the parts of the recording differ by +-{spread:.0f} ms, expected at most "
            f"{LARGEST_SPREAD_MS:g} ms; record longer",
        )
    return ClockOffset(_top(lags, curve), spread, agreement)


def _speeds(
    times_ms: Signal, stamps_ns: NDArray[np.int64], motion: Signal, window_ms: float
) -> Signal:
    """Motion per window on an even grid, detrended, in standard deviations; 2xT.

    Summed up first, so that a camera of 9 Hz and one of 30 Hz are compared over the same window.
    """
    path = np.vstack([np.zeros(2), np.cumsum(motion[1:], axis=0)])
    stamps_ms = stamps_ns / MILLISECOND
    rows = []
    for position in path.T:
        speed = np.interp(times_ms + window_ms / 2.0, stamps_ms, position)
        speed -= np.interp(times_ms - window_ms / 2.0, stamps_ms, position)
        speed -= cv2.blur(speed[None], _HIGH_PASS, borderType=cv2.BORDER_REPLICATE)[0]
        scale = np.median(np.abs(speed)) * 1.4826 + 1e-3 * speed.std() + 1e-12
        rows.append(np.clip(speed / scale, -_CLIP, _CLIP))
    return np.array(rows)


def _products(rgb: Signal, thermal: Signal, lags: NDArray[np.int64]) -> Signal:
    """Correlation by lag and by part of the recording, weighted by agreement."""
    margin, count = int(lags.max()), rgb.shape[1]
    fixed = rgb[:, margin : count - margin]
    starts = np.linspace(0, fixed.shape[1], _PARTS, endpoint=False).astype(int)
    norm = np.sqrt((fixed**2).sum(axis=1))
    curves = np.empty((len(lags), len(fixed), _PARTS))
    for i, lag in enumerate(lags):
        moved = thermal[:, margin + lag : count - margin + lag]
        scale = np.maximum(norm * np.sqrt((moved**2).sum(axis=1)), 1e-12)
        curves[i] = np.add.reduceat(fixed * moved / scale[:, None], starts, axis=1)
    weight = np.maximum(curves.sum(axis=2).max(axis=0), 1e-6) ** 2
    return np.asarray((curves * (weight / weight.sum())[:, None]).sum(axis=1))


def _top(lags: NDArray[np.int64], curve: Signal) -> float:
    """Position of the maximum in milliseconds, interpolated by a parabola."""
    i = int(np.clip(curve.argmax(), 1, len(curve) - 2))
    left, middle, right = curve[i - 1 : i + 2]
    bend = left - 2.0 * middle + right
    part = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return float((lags[i] + part) * STEP_MS)
