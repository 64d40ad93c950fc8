# SPDX-License-Identifier: Apache-2.0
"""The fusion sub-network: infrared and visible luma in, one fused luma out (SegMiF, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from segmif_ros.network.interaction import HierarchicalInteractiveAttention


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


class FusionNetwork(nn.Module):
    """Two branches of dense blocks that exchange features with the encoder twice.

    One PReLU slope serves all five activations outside the dense blocks, and both exchanges share
    one set of attention weights: that is the published network.
    """

    def __init__(self, encoder_dims: tuple[int, ...], channels: int = 64, growth: int = 32) -> None:
        super().__init__()
        self.stem_ir = nn.Conv2d(1, channels, 3, padding=1)
        self.stem_vis = nn.Conv2d(1, channels, 3, padding=1)
        self.dense = nn.ModuleList(DilatedResidualDenseBlock(channels, growth) for _ in range(4))
        self.semantic1 = nn.Conv2d(encoder_dims[0], channels, 1)
        self.semantic2 = nn.Conv2d(encoder_dims[1], channels, 1)
        self.interaction = HierarchicalInteractiveAttention(channels)
        self.tail1 = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.tail2 = nn.Conv2d(channels, channels // 2, 3, padding=1)
        self.tail3 = nn.Conv2d(channels // 2, 1, 3, padding=1)
        self.activation = nn.PReLU()

    def forward(self, thermal: Tensor, visible: Tensor, semantic: list[Tensor]) -> Tensor:
        """Fuse one pair.

        Args:
            thermal: Bx1xHxW in [0, 1].
            visible: Bx1xHxW in [0, 1], luma (training) or red (the released test scripts).
            semantic: encoder stages 1 and 2 of the guidance image, at their own size.

        Returns:
            Bx1xHxW fused luma; nominally [0, 1], not clamped.
        """
        size = thermal.shape[-2:]
        ir = self.dense[0](self.activation(self.stem_ir(thermal)))
        vis = self.dense[1](self.activation(self.stem_vis(visible)))
        ir, vis = self.interaction(ir, vis, self.semantic1(_upsample(semantic[0], size)))
        ir, vis = self.dense[2](ir), self.dense[3](vis)
        ir, vis = self.interaction(ir, vis, self.semantic2(_upsample(semantic[1], size)))
        features = self.activation(self.tail1(torch.cat([ir, vis], dim=1)))
        features = self.activation(self.tail2(features))
        return self.activation(self.tail3(features))


def _upsample(features: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(features, size=size, mode="bilinear", align_corners=False)
