# SPDX-License-Identifier: Apache-2.0
"""Temporal flicker: brightness and classes of a video that jump and come back.

Brightness. The picture is averaged over blocks of 16x16 pixels. What counts is how far a block lies
from the straight line between its neighbours in time,

    |b(t-1) - 2 b(t) + b(t+1)| / 2,

averaged over blocks and frames, in grey levels (0 to 255). Steady change costs nothing: an object
that moves through a block, a slow pan, a camera that adapts to the light. A brightness that jumps
up and down by s costs s, and a single step of height s costs s once, spread over two frames.

Masks. The share of pixels whose class is another one in a frame than in the frame before, and the
same one again in the frame after (A-B-A). An object that moves on changes pixels once and costs
nothing.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.frames import Image8
from segmif_ros.metrics.tally import ExactMean, Tally

BLOCK = 16
"""Edge of a block in pixels: large against noise and small shifts, small against objects."""


class Flicker(Tally):
    """Flicker of one video, frame by frame; keeps the block means of two frames."""

    COUNTED = ("_mean",)

    def __init__(self) -> None:
        self._mean = ExactMean()
        self._earlier: NDArray[np.int64] | None = None
        self._last: NDArray[np.int64] | None = None

    def add(self, image: Image8) -> float | None:
        """Take the next frame of the video.

        Args:
            image: HxW or HxWx3 RGB, uint8, at least 16x16. Another size begins a new video.

        Returns:
            The flicker of the frame before this one, grey levels; None until there are three.

        Raises:
            ValueError: smaller than a block.
        """
        sums = _block_sums(image)
        if self._last is not None and self._last.shape != sums.shape:
            self.restart()
        value = None
        if self._last is not None and self._earlier is not None:
            jump = np.abs(self._earlier - 2 * self._last + sums).sum()
            value = float(jump) / (2 * BLOCK**2 * sums.size)
            self._mean.add(value)
        self._earlier, self._last = self._last, sums
        return value

    def restart(self) -> None:
        """Start another video, or continue after a gap: the next frame has no predecessor."""
        self._earlier = self._last = None

    @property
    def value(self) -> float | None:
        """Mean flicker in grey levels; None before any three neighbouring frames."""
        return self._mean.value


class MaskFlicker:
    """Pixels of a video's masks that change their class for one frame; keeps two masks."""

    def __init__(self, pixels: int = 0, returned: int = 0, worst: float = 0.0) -> None:
        """Begin empty, or with what `state` returned."""
        self._pixels, self._returned, self._worst = pixels, returned, worst
        self._masks: list[Image8] = []

    def add(self, mask: Image8) -> None:
        """Take the next frame, HxW ids, not to be overwritten; another size starts again."""
        if self._masks and self._masks[-1].shape != mask.shape:
            self._masks.clear()
        if len(self._masks) == 2:
            before, middle = self._masks
            returned = int(np.count_nonzero((before == mask) & (middle != mask)))
            self._pixels += mask.size
            self._returned += returned
            self._worst = max(self._worst, returned / mask.size)
        self._masks = [*self._masks[-1:], mask]

    def merge(self, other: MaskFlicker) -> None:
        """Add what was counted in another video."""
        self._pixels += other._pixels
        self._returned += other._returned
        self._worst = max(self._worst, other._worst)

    def state(self) -> list[float]:
        """Return what was counted, for `MaskFlicker(*state)`."""
        return [self._pixels, self._returned, self._worst]

    def summary(self) -> dict[str, float | None]:
        """Return the share of pixels that came back, over all frames and in the worst frame."""
        if not self._pixels:
            return {"mask_share": None, "mask_worst_share": None}
        return {"mask_share": self._returned / self._pixels, "mask_worst_share": self._worst}


def _block_sums(image: Image8) -> NDArray[np.int64]:
    """Sum luma over whole blocks from the top left; what is left at the edges is ignored."""
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
    rows, columns = luma.shape[0] // BLOCK, luma.shape[1] // BLOCK
    if not rows or not columns:
        raise ValueError(f"image of shape {image.shape} is smaller than a block of {BLOCK}x{BLOCK}")
    # int32 sums of a very large image wrap around, and their differences wrap back.
    corners = cv2.integral(luma)[::BLOCK, ::BLOCK][: rows + 1, : columns + 1]
    return np.asarray(np.diff(np.diff(corners, axis=0), axis=1), np.int64)
