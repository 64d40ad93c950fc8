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

import torch
from torch import Tensor

LEVELS = 256


def guidance(thermal: Tensor, visible: Tensor, stride: int = 4) -> Tensor:
    """Mix thermal and visible luma by their global contrast saliency.

    Args:
        thermal: Bx1xHxW in [0, 1].
        visible: Bx1xHxW in [0, 1].
        stride: histograms count every `stride`-th row and column.

    Returns:
        Bx1xHxW in [0, 1].
    """
    weight = saliency_weight(thermal, visible, stride)
    return weight * thermal + (1.0 - weight) * visible


def saliency_weight(thermal: Tensor, visible: Tensor, stride: int) -> Tensor:
    """Share of thermal in the guidance, Bx1xHxW in [0, 1]; arguments as in `guidance`."""
    return 0.5 + 0.5 * (_saliency(thermal, stride) - _saliency(visible, stride))


def _saliency(image: Tensor, stride: int) -> Tensor:
    """Bx1xHxW in [0, 1] -> saliency in [0, 1] of each pixel's grey level."""
    levels = torch.arange(LEVELS, dtype=image.dtype, device=image.device)
    sample = torch.round(image[:, 0, ::stride, ::stride] * 255.0).flatten(1)
    histogram = (sample.unsqueeze(2) == levels).to(image.dtype).mean(dim=1)
    distance = (levels[:, None] - levels[None, :]).abs()
    table = histogram @ distance
    table = table / table.amax(dim=1, keepdim=True)
    index = torch.round(image[:, 0] * 255.0).long()
    batch, height, width = index.shape
    return table.gather(1, index.flatten(1)).reshape(batch, 1, height, width)
