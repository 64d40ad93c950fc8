# SPDX-License-Identifier: Apache-2.0
"""The image that guides the encoder: thermal and visible luma mixed by saliency.

The released SegMiF code reads a third image, "Mask2", whose generator was never published; its
authors call it a saliency map made by VSM. Training regresses the fused luma onto it, so it must
look like a fused luma. The closest reading is the visual saliency map of Ma et al., "Infrared and
visible image fusion based on visual saliency map and weighted least square optimization" (2017):

    V(p) = sum over grey levels j of hist(j) * |I(p) - j|,   normalised to at most 1
    G = w * thermal + (1 - w) * luma,   w = 0.5 + (V_thermal - V_luma) / 2

V is divided by its largest value over all 256 levels, present in the image or not. That maximum
moves with the mean grey value only, so G does not flicker when one hot pixel comes or goes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segmif_ros.frames import Image8

LEVELS = 256


def saliency_table(image: Image8, stride: int = 1) -> NDArray[np.float64]:
    """Return the saliency of each of the 256 grey levels in one image.

    Args:
        image: HxW uint8.
        stride: count every `stride`-th row and column only; the network uses 4.

    Returns:
        256 float64 in [0, 1], the largest exactly 1.
    """
    histogram = np.bincount(image[::stride, ::stride].ravel(), minlength=LEVELS)
    levels = np.arange(LEVELS)
    table = np.abs(levels[:, None] - levels[None, :]) @ (histogram / histogram.sum())
    return np.asarray(table / table.max(), np.float64)


def guidance(thermal: Image8, luma: Image8, stride: int = 1) -> NDArray[np.float64]:
    """Mix a registered pair by saliency.

    Args:
        thermal: HxW uint8.
        luma: HxW uint8.
        stride: see `saliency_table`.

    Returns:
        HxW float64 in [0, 255].
    """
    weight = 0.5 + 0.5 * (
        saliency_table(thermal, stride)[thermal] - saliency_table(luma, stride)[luma]
    )
    return np.asarray(weight * thermal + (1.0 - weight) * luma, np.float64)
