# SPDX-License-Identifier: Apache-2.0
"""Detects a camera that sends the same picture again and again: a closed shutter, or a fault.

An uncooled thermal camera closes a shutter every few minutes to measure its own offsets (flat-field
correction, FFC). It repeats its last frame for 1 to 3 s; afterwards all values differ slightly. A
camera that repeats its picture for longer has hung, or a still picture is published.

Two pictures are equal if all bits between the upper and the lower fifth are equal; sensor noise
makes every new frame different. The fifths are excluded because telemetry rows and overlaid clocks
also change in a frozen picture. One row and a sparse grid of pixels distinguish nearly all frames
within a few microseconds; all rows are compared only if these are equal, so that a static scene
does not count as frozen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmif_ros.frames import PictureState
from segmif_ros.pairing import MILLISECOND, Stream

CLOSED_AFTER_NS = 250 * MILLISECOND
"""Shortest time of equal frames that counts as a closed shutter. A 9 Hz sensor behind a 30 Hz video
interface repeats each frame for 0.11 s, which does not."""
STALLED_AFTER_NS = 5_000 * MILLISECOND
"""Longer than any shutter."""
SETTLING_NS = 1_000 * MILLISECOND
"""Time after a shutter in which the values may have jumped."""
MINIMUM_REPEATS = 3
"""Least number of repeats: a camera at 1 Hz that repeats one frame is not frozen."""
FROZEN_AFTER_NS: dict[Stream, int] = {
    Stream.RGB: 1_000 * MILLISECOND,
    Stream.THERMAL: STALLED_AFTER_NS,
}
"""The same picture for longer than this is a fault."""

_STRIDE = 16
_OVERLAY_SHARE = 5
"""One fifth at the top and at the bottom may contain overlays."""


_SHUTTER_WORDS = {
    PictureState.SHUTTER: "closed",
    PictureState.SETTLING: "settling",
    PictureState.FROZEN: "stalled",
}


@dataclass(frozen=True, slots=True)
class FreezeLimits:
    """Limits for repeated pictures; nanoseconds.

    Attributes:
        frozen_after_ns: longer is a fault; 0 switches the detection off.
        has_shutter: whether shorter times count as a closed shutter.
    """

    frozen_after_ns: int
    has_shutter: bool = False

    @classmethod
    def of(cls, stream: Stream, *, detect: bool = True) -> FreezeLimits:
        """Return the limits of one camera; `detect` is the parameter freeze_detection."""
        return cls(FROZEN_AFTER_NS[stream] if detect else 0, stream is Stream.THERMAL)


class FreezeWatch:
    """Compares every image of one camera with the one before. One thread calls `observe`.

    It keeps the newest image and no copy: that message stays in memory until the next one comes.

    Attributes:
        limits: may be replaced at any time; apply from the next image on.
        state: after the newest image.
        unchanged_ns: for how long the picture has been the same, up to the newest image.
        repeats: images since the picture last changed.
        repeated: all images that were equal to the one before.
        freezes: number of freezes.
        closures: repeats short enough for a shutter.
        last_freeze_ns: how long the newest shutter or freeze lasted; grows while it lasts.
        last_jump: median after minus median before it, in the image's unit.
        flat: whether the repeated picture has one value everywhere, as behind a lens cap.
    """

    def __init__(self, limits: FreezeLimits) -> None:
        self.limits = limits
        self.state = PictureState.FRESH
        self.unchanged_ns = 0
        self.repeats = 0
        self.repeated = 0
        self.freezes = 0
        self.closures = 0
        self.last_freeze_ns = 0
        self.last_jump = 0.0
        self.flat = False
        self._image: NDArray[Any] | None = None
        self._seen_ns = 0
        self._changed_ns = 0
        self._settled_ns = 0

    def observe(self, image: NDArray[Any], now_ns: int) -> PictureState:
        """Process one image.

        Args:
            image: HxW or HxWxC of any type; must not change afterwards.
            now_ns: steady time of arrival (stamps may be frozen as well); for a recording, the
                stamp. An equal time changes nothing, an earlier one restarts the watch.

        Returns:
            The state that includes this image.
        """
        before, seen_ns = self._image, self._seen_ns
        if before is not None and now_ns == seen_ns:
            return self.state
        self._image, self._seen_ns = image, now_ns
        if before is None or now_ns < seen_ns or before.shape != image.shape:
            self._start(now_ns)
        elif same_picture(before, image):
            self._repeat(image, now_ns)
        else:
            self._change(before, image, now_ns)
        return self.state

    def facts(self) -> dict[str, str]:
        """Return the state for diagnostics."""
        fresh = self.state is PictureState.SETTLING
        facts = {
            "content": PictureState.FRESH.value if fresh else self.state.value,
            "content.unchanged_ms": f"{self.unchanged_ns / MILLISECOND:.0f}",
            "content.repeated": str(self.repeated),
            "content.freezes": str(self.freezes),
        }
        if self.limits.has_shutter:
            facts |= {
                "shutter": _SHUTTER_WORDS.get(self.state, "open"),
                "shutter.closures": str(self.closures),
                "shutter.last_freeze_ms": f"{self.last_freeze_ns / MILLISECOND:.0f}",
                "shutter.last_jump": f"{self.last_jump:g}",
            }
        return facts

    def _start(self, now_ns: int) -> None:
        self.state = PictureState.FRESH
        self.unchanged_ns = self.repeats = 0
        self.flat = False
        self._changed_ns = self._settled_ns = now_ns

    def _repeat(self, image: NDArray[Any], now_ns: int) -> None:
        self.repeats += 1
        self.repeated += 1
        self.unchanged_ns = now_ns - self._changed_ns
        state = self._judge()
        if state in (PictureState.SHUTTER, PictureState.FROZEN):
            self.last_freeze_ns = self.unchanged_ns
        if state is PictureState.FROZEN and self.state is not PictureState.FROZEN:
            self.freezes += 1
            rows = image[_picture_rows(image)]
            self.flat = bool((rows == rows[0, 0]).all())
        self.state = state

    def _judge(self) -> PictureState:
        limits = self.limits
        if self.repeats >= MINIMUM_REPEATS:
            if 0 < limits.frozen_after_ns < self.unchanged_ns:
                return PictureState.FROZEN
            if limits.has_shutter and CLOSED_AFTER_NS < self.unchanged_ns <= STALLED_AFTER_NS:
                return PictureState.SHUTTER
        return PictureState.REPEATED

    def _change(self, before: NDArray[Any], image: NDArray[Any], now_ns: int) -> None:
        if self.state in (PictureState.SHUTTER, PictureState.FROZEN):
            self.closures += self.state is PictureState.SHUTTER
            if self.limits.has_shutter:
                self.last_jump = _median(image) - _median(before)
                self._settled_ns = now_ns + SETTLING_NS
        settling = now_ns < self._settled_ns
        self.state = PictureState.SETTLING if settling else PictureState.FRESH
        self.unchanged_ns = self.repeats = 0
        self.flat = False
        self._changed_ns = now_ns


def same_picture(first: NDArray[Any], second: NDArray[Any]) -> bool:
    """Return whether two images are bit-identical between the upper and the lower fifth.

    Args:
        first: HxW or HxWxC of any type.
        second: the same.
    """
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    rows = _picture_rows(first)
    a, b = _bits(first)[rows], _bits(second)[rows]
    middle = min(_STRIDE // 2, a.shape[0] - 1), min(_STRIDE // 2, a.shape[1] - 1)
    if (a[middle[0]] != b[middle[0]]).any():
        return False
    grid = (slice(middle[0], None, _STRIDE), slice(middle[1], None, _STRIDE))
    return np.array_equal(a[grid], b[grid]) and np.array_equal(a, b)


def _picture_rows(image: NDArray[Any]) -> slice:
    """Return the rows without overlays."""
    height = image.shape[0]
    return slice(height // _OVERLAY_SHARE, height - height // _OVERLAY_SHARE)


def _bits(image: NDArray[Any]) -> NDArray[Any]:
    """Return an integer view of the same width: NaN, -0 and byte order have no effect."""
    return image.view(f"u{image.dtype.itemsize}")


def _median(image: NDArray[Any]) -> float:
    grid = image[_picture_rows(image)][::4, ::4]
    finite = grid[np.isfinite(grid)]
    return float(np.median(finite)) if finite.size else 0.0
