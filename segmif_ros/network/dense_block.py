# SPDX-License-Identifier: Apache-2.0
"""Dilated residual dense block, the work horse of the fusion sub-network (SegMiF, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DilatedResidualDenseBlock(nn.Module):
    """3x3 convolutions that each see all earlier outputs, a 1x1 that mixes them, and a residual.

    The published network uses five layers of growth 32 at dilation 2 on 64 channels.
    """

    def __init__(self, channels: int, growth: int, layers: int = 5, dilation: int = 2) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(channels + i * growth, growth, 3, padding=dilation, dilation=dilation)
            for i in range(layers)
        )
        self.mix = nn.Conv2d(channels + layers * growth, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """BxCxHxW -> BxCxHxW."""
        seen = features
        for layer in self.layers:
            seen = torch.cat([seen, torch.relu(layer(seen))], dim=1)
        return features + torch.relu(self.mix(seen))
