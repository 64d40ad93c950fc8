# SPDX-License-Identifier: Apache-2.0
"""The guidance image in PyTorch; `segmif_ros.guidance` holds the definition and the reasons."""

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
