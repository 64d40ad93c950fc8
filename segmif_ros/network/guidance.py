# SPDX-License-Identifier: Apache-2.0
"""Luma and chroma (BT.601), and the image that guides the encoder: both lumas by saliency.

The released SegMiF code reads a third image, "Mask2", whose generator was not published; its
authors call it a saliency map made by VSM. Training regresses the fused luma onto it, so it must be
similar to a fused luma. The closest published method is the visual saliency map of Ma et al.,
"Infrared and visible image fusion based on visual saliency map and weighted least square
optimization" (2017):

    V(p) = sum over grey levels j of hist(j) * |I(p) - j|,   normalised to at most 1
    G = w * thermal + (1 - w) * luma,   w = 0.5 + (V_thermal - V_luma) / 2

V is divided by its largest value over all 256 levels, present in the image or not. That maximum
depends on the mean grey value only, so G does not flicker when a hot pixel appears or disappears.
"""

from __future__ import annotations

import torch
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def luma(rgb: Tensor) -> Tensor:
    """Bx3xHxW in [0, 1] -> Bx1xHxW luma in [0, 1]."""
    return 0.299 * rgb[:, 0:1] + 0.587 * rgb[:, 1:2] + 0.114 * rgb[:, 2:3]


def replace_luma(rgb: Tensor, fused: Tensor) -> Tensor:
    """Give `rgb` the luma `fused` and keep its Cr and Cb, clamped to [0, 1].

    Uses YCrCb with the constants of the published code, so that colours match those of imported
    checkpoints; `RGB + (fused - Y)` differs by less than 0.0004.
    """
    y = luma(rgb)
    cr = (rgb[:, 0:1] - y) * 0.713
    cb = (rgb[:, 2:3] - y) * 0.564
    return torch.cat(
        [fused + 1.403 * cr, fused - 0.714 * cr - 0.344 * cb, fused + 1.773 * cb], dim=1
    ).clamp(0.0, 1.0)


def hand_over(rgb: Tensor, *, min_max_stretch: bool, eight_bit: bool) -> Tensor:
    """Input of segmentation from the fused image.

    The released scripts write the fused image to an 8-bit file: truncate, stretch to the full range
    of all pixels and channels, truncate again. Both halves are optional here.

    Args:
        rgb: Bx3xHxW in [0, 1].
        min_max_stretch: map the darkest value of each image to 0 and the brightest to 1; an image
            of a single value stays as it is.
        eight_bit: truncate to multiples of 1/255.

    Returns:
        Bx3xHxW in [0, 1].
    """
    if not (min_max_stretch or eight_bit):
        return rgb
    levels = rgb * 255.0
    if eight_bit:
        levels = torch.floor(levels)
    if min_max_stretch:
        low = levels.amin(dim=(1, 2, 3), keepdim=True)
        span = levels.amax(dim=(1, 2, 3), keepdim=True) - low
        flat = (span <= 0.0).to(levels.dtype)
        # Multiplied first: integers stay exact, so that truncation is not off by one.
        stretched = (levels - low) * 255.0 / (span + flat)
        levels = flat * levels + (1.0 - flat) * stretched
        if eight_bit:
            levels = torch.floor(levels)
    return levels * (1.0 / 255.0)


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
    weight = saliency_weight(torch.cat([thermal, visible], dim=1), stride)
    return weight * thermal + (1.0 - weight) * visible


def saliency_weight(images: Tensor, stride: int) -> Tensor:
    """Share of thermal in the guidance, Bx1xHxW in [0, 1].

    Args:
        images: Bx2xHxW in [0, 1]: thermal and visible luma.
        stride: see `guidance`.
    """
    batch, _, height, width = images.shape
    thermal, visible = _saliency(images.flatten(0, 1), stride).reshape(batch, 2, -1).unbind(1)
    return (0.5 + 0.5 * (thermal - visible)).reshape(batch, 1, height, width)


def _saliency(images: Tensor, stride: int) -> Tensor:
    """NxHxW in [0, 1] -> NxHW, saliency in [0, 1] of each pixel's grey level.

    The sum over the histogram of |level - other level| is the sum over the pixels of |level -
    pixel|, which needs no histogram.
    """
    levels = torch.arange(LEVELS, dtype=images.dtype, device=images.device)
    grey = torch.round(images * 255.0)
    sample = grey[:, ::stride, ::stride].flatten(1)
    table = _total((sample.unsqueeze(2) - levels).abs())
    table = table / table.amax(dim=1, keepdim=True)
    return table.gather(1, grey.flatten(1).long())


def _total(values: Tensor) -> Tensor:
    """NxPxL -> NxL, summed over P by a product, which runtimes are faster at."""
    return (values.new_ones(1, 1, values.shape[1]) @ values).squeeze(1)
