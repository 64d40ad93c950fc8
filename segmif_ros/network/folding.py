# SPDX-License-Identifier: Apache-2.0
"""Pictures as 4x4 pixel blocks in channels, and the network's linear operations on them.

A block of a colour image is 48 numbers. The network's inputs (luma, half-size colours, means) are
linear in them, so one matrix per camera computes them. An export merges that matrix with the
folding of bytes into a single strided convolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

BLOCK = 4
"""Side of the pixel block that is folded into channels."""
FOLDED = BLOCK * BLOCK
HALF = 4
"""Channels of a half-size picture: 2x2 in a block."""
VISIBLE_CHANNELS = FOLDED + 4 * HALF
"""Luma, half-size red, green, blue and luma.

Derived quantities (means, differences, half-size thermal) are not stored: runtimes store channels
in blocks of 16, so 49 cost as much as 64.
"""
THERMAL_CHANNELS = FOLDED
_LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601."""


class Folding(nn.Module):
    """Fixed 1x1 convolutions without trainable weights.

    `visible_matrix` is 32x48 and `thermal_matrix` 16x16, over the channels of
    `torch.nn.functional.pixel_unshuffle`: colour * 16 + row * 4 + column.
    """

    visible_matrix: Tensor
    thermal_matrix: Tensor

    def __init__(self) -> None:
        super().__init__()
        luma = torch.cat([weight * torch.eye(FOLDED) for weight in _LUMA], dim=1)
        half = _half_matrix()
        visible = torch.cat([luma, torch.block_diag(half, half, half), half @ luma])
        self.register_buffer("visible_matrix", visible, persistent=False)
        self.register_buffer("thermal_matrix", torch.eye(FOLDED), persistent=False)
        for name, matrix in _selections().items():
            self.register_buffer(name, matrix[:, :, None, None], persistent=False)

    def fold_visible(self, blocks: Tensor) -> Tensor:
        """Bx48xhxw blocks of RGB in [0, 1] -> Bx32xhxw."""
        return F.conv2d(blocks, self.visible_matrix[:, :, None, None])

    def fold_thermal(self, blocks: Tensor) -> Tensor:
        """Bx16xhxw blocks of thermal in [0, 1] -> Bx16xhxw."""
        return F.conv2d(blocks, self.thermal_matrix[:, :, None, None])

    def take(self, folded: Tensor, name: str) -> Tensor:
        """Compute one quantity from both cameras' channels.

        Args:
            folded: Bx48xhxw, visible then thermal.
            name: "difference" (thermal - luma, 16 channels), "half_colour" (12 channels of colour,
                4 of thermal), "half_shift" (half-size thermal - luma for each colour, 0 for
                thermal), "half_luma" (4), "half_difference" (4), "means" of thermal and luma (2).
        """
        return F.conv2d(folded, getattr(self, name))


def _half_matrix() -> Tensor:
    """4x16: 2x2 means within a block."""
    rows = torch.arange(FOLDED) // BLOCK // 2
    columns = torch.arange(FOLDED) % BLOCK // 2
    return (rows * 2 + columns == torch.arange(HALF)[:, None]).float() / 4.0


def _selections() -> dict[str, Tensor]:
    """Rows over the 48 folded channels."""
    one = torch.eye(VISIBLE_CHANNELS + THERMAL_CHANNELS)
    luma, colour, half_luma, thermal = one.split([FOLDED, 3 * HALF, HALF, FOLDED])
    half_thermal = _half_matrix() @ thermal
    half_difference = half_thermal - half_luma
    return {
        "difference": thermal - luma,
        "half_colour": torch.cat([colour, half_thermal]),
        "half_shift": torch.cat([*[half_difference] * 3, torch.zeros_like(half_thermal)]),
        "half_luma": half_luma,
        "half_difference": half_difference,
        "means": torch.stack([thermal.mean(dim=0), luma.mean(dim=0)]),
    }
