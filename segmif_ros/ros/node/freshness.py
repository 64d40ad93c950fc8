# SPDX-License-Identifier: Apache-2.0
"""Sees a camera that goes on sending, but always the same picture.

Two images are the same only when every bit is: a live sensor has noise, so no two of its frames
are. A sparse grid of pixels tells nearly all frames apart for a few microseconds; the whole image
is compared only when the grid is equal, so a quiet scene is never taken for a frozen one. A
checksum would read the whole image each time and could not be surer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmif_ros.pairing import MILLISECOND, Stream
from segmif_ros.thermal.shutter import CLOSED_AFTER_NS, STALLED_AFTER_NS

FROZEN_AFTER_NS: dict[Stream, int] = {
    Stream.RGB: 1_000 * MILLISECOND,
    Stream.THERMAL: STALLED_AFTER_NS,
}
"""The same picture for longer than this is a fault. A thermal camera has longer because its shutter
(flat-field correction) repeats the last frame for up to 3 s."""

MINIMUM_REPEATS = 3
"""So many repeats must have come as well: a camera at 1 Hz that repeats one frame is not frozen."""

_STRIDE = 16


class Content(Enum):
    """What the newest image says about its camera."""

    FRESH = "fresh"
    """It differs from the one before."""
    REPEATED = "repeated"
    """The same as the one before, for too short a time to mean anything."""
    SHUTTER = "shutter"
    """Thermal only: the same for as long as a shutter takes. Expected every few minutes."""
    FROZEN = "frozen"
    """The same for longer than the limit. A fault, or a still picture that somebody publishes."""


@dataclass(frozen=True, slots=True)
class FreezeLimits:
    """When a repeated picture means something; steady time in nanoseconds.

    Attributes:
        frozen_after_ns: longer is a fault; 0 never calls a camera frozen.
        shutter_after_ns: longer is a shutter; None for a camera that has none.
    """

    frozen_after_ns: int
    shutter_after_ns: int | None = None

    @classmethod
    def of(cls, stream: Stream) -> FreezeLimits:
        """Return the limits of one camera."""
        shutter = CLOSED_AFTER_NS if stream is Stream.THERMAL else None
        return cls(FROZEN_AFTER_NS[stream], shutter)


class FrozenWatch:
    """Compares every image of one camera with the one before. One thread calls `observe`.

    It keeps the newest image and no copy: that message stays in memory until the next one comes.

    Attributes:
        limits: may be replaced at any time; the next image is judged by it.
        state: what the newest image says.
        unchanged_ns: for how long the picture has been the same, up to the newest image.
        repeats: images since the picture last changed.
        repeated: images ever that were the same as the one before.
        freezes: times that the camera was frozen.
        shutters: freezes that ended in time to be a shutter.
        flat: whether the repeated picture has one value everywhere, as behind a lens cap.
    """

    def __init__(self, limits: FreezeLimits) -> None:
        self.limits = limits
        self.state = Content.FRESH
        self.unchanged_ns = 0
        self.repeats = 0
        self.repeated = 0
        self.freezes = 0
        self.shutters = 0
        self.flat = False
        self._image: NDArray[Any] | None = None
        self._changed_ns = 0

    def observe(self, image: NDArray[Any], now_ns: int) -> Content:
        """Look at one image.

        Args:
            image: HxW or HxWxC of any type; must not change afterwards.
            now_ns: steady time of its arrival. Stamps will not do: they may stand still as well.

        Returns:
            The state that includes this image.
        """
        before, self._image = self._image, image
        if before is None or not same_image(before, image):
            self._changed(now_ns)
            return self.state
        self.repeats += 1
        self.repeated += 1
        self.unchanged_ns = now_ns - self._changed_ns
        state = self._judge()
        if state is Content.FROZEN and self.state is not Content.FROZEN:
            self.freezes += 1
            self.flat = bool((image == image[0, 0]).all())
        self.state = state
        return state

    def facts(self) -> dict[str, str]:
        """Return the state for diagnostics."""
        return {
            "content": self.state.value,
            "content.unchanged_ms": f"{self.unchanged_ns / MILLISECOND:.0f}",
            "content.repeated": str(self.repeated),
            "content.freezes": str(self.freezes),
        }

    def _changed(self, now_ns: int) -> None:
        if self.state is Content.SHUTTER:
            self.shutters += 1
        self.state = Content.FRESH
        self.unchanged_ns = self.repeats = 0
        self.flat = False
        self._changed_ns = now_ns

    def _judge(self) -> Content:
        limits = self.limits
        if self.repeats >= MINIMUM_REPEATS:
            if 0 < limits.frozen_after_ns < self.unchanged_ns:
                return Content.FROZEN
            if limits.shutter_after_ns is not None and self.unchanged_ns > limits.shutter_after_ns:
                return Content.SHUTTER
        return Content.REPEATED


def same_image(first: NDArray[Any], second: NDArray[Any]) -> bool:
    """Tell whether two images are the same in every bit (NaN is the same as NaN).

    Args:
        first: HxW or HxWxC of any type.
        second: the same.
    """
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    a, b = _bits(first), _bits(second)
    middle = _STRIDE // 2
    grid = (slice(middle, None, _STRIDE), slice(middle, None, _STRIDE))
    return np.array_equal(a[grid], b[grid]) and np.array_equal(a, b)


def _bits(image: NDArray[Any]) -> NDArray[Any]:
    """Return a view as whole numbers of the same width: NaN, -0 and byte order play no part."""
    return image.view(f"u{image.dtype.itemsize}")
