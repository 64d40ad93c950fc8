# SPDX-License-Identifier: Apache-2.0
"""Luma and chroma as SegMiF uses them: BT.601 luma, colour carried over from the visible image."""

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

    Goes through YCrCb with the constants of the published code, so that imported checkpoints meet
    their own colours; `RGB + (fused - Y)` differs by less than 0.0004.
    """
    y = luma(rgb)
    cr = (rgb[:, 0:1] - y) * 0.713
    cb = (rgb[:, 2:3] - y) * 0.564
    return torch.cat(
        [fused + 1.403 * cr, fused - 0.714 * cr - 0.344 * cb, fused + 1.773 * cb], dim=1
    ).clamp(0.0, 1.0)


def hand_over(rgb: Tensor, *, min_max_stretch: bool, eight_bit: bool) -> Tensor:
    """What segmentation gets to see of the fused image.

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
        # Multiplied first: whole numbers then stay exact, and a truncation cannot slip by one.
        stretched = (levels - low) * 255.0 / (span + flat)
        levels = flat * levels + (1.0 - flat) * stretched
        if eight_bit:
            levels = torch.floor(levels)
    return levels * (1.0 / 255.0)
