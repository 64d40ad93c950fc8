# SPDX-License-Identifier: Apache-2.0
"""The fusion sub-network: infrared and visible luma in, one fused luma out (SegMiF, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class HierarchicalInteractiveAttention(nn.Module):
    """One exchange between the infrared, visible and semantic features of equal size.

    With y, u the two halves of ReLU(W x + b) for each of the three inputs:
    MoAM gives v_i = u_i ctx(u_seg), SoAM gives z_i = y_seg ctx(y_i), where
    ctx(x) = softmax over the key channels of (K^T V) * scale with [K, V] = W_kv x per head, and
    x_i' = LayerNorm(x_i + E_i [z_i ; v_i] + e_i).
    """

    def __init__(self, channels: int, heads: int = 8) -> None:
        """Build one exchange.

        Args:
            channels: width C of all three inputs.
            heads: attention heads.
        """
        super().__init__()
        self.heads = heads
        self.scale = (channels // heads) ** -0.5
        self.project_ir = nn.Linear(channels, 2 * channels)
        self.project_vis = nn.Linear(channels, 2 * channels)
        self.project_seg = nn.Linear(channels, 2 * channels)
        self.kv_ir = nn.Linear(channels, 2 * channels, bias=False)
        self.kv_vis = nn.Linear(channels, 2 * channels, bias=False)
        self.kv_seg = nn.Linear(channels, 2 * channels, bias=False)
        self.merge_ir = nn.Linear(2 * channels, channels)
        self.merge_vis = nn.Linear(2 * channels, channels)
        self.norm_ir = nn.LayerNorm(channels, eps=1e-5)
        self.norm_vis = nn.LayerNorm(channels, eps=1e-5)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, ir: Tensor, vis: Tensor, seg: Tensor) -> tuple[Tensor, Tensor]:
        """Exchange features.

        Args:
            ir: BxCxHxW infrared features.
            vis: BxCxHxW visible features.
            seg: BxCxHxW semantic features, same size.

        Returns:
            Updated infrared and visible features, BxCxHxW each.
        """
        size = ir.shape[-2:]
        x_ir, x_vis, x_seg = (x.flatten(2).transpose(1, 2) for x in (ir, vis, seg))
        y_ir, u_ir = torch.relu(self.project_ir(x_ir)).chunk(2, dim=-1)
        y_vis, u_vis = torch.relu(self.project_vis(x_vis)).chunk(2, dim=-1)
        y_seg, u_seg = torch.relu(self.project_seg(x_seg)).chunk(2, dim=-1)
        ctx_seg = self._context(self.kv_seg(u_seg))
        ctx_ir = self._context(self.kv_ir(y_ir))
        ctx_vis = self._context(self.kv_vis(y_vis))
        out_ir = self.merge_ir(
            torch.cat([self._attend(y_seg, ctx_ir), self._attend(u_ir, ctx_seg)], dim=-1)
        )
        out_vis = self.merge_vis(
            torch.cat([self._attend(y_seg, ctx_vis), self._attend(u_vis, ctx_seg)], dim=-1)
        )
        return (
            _to_map(self.norm_ir(x_ir + out_ir), size),
            _to_map(self.norm_vis(x_vis + out_vis), size),
        )

    def _context(self, kv: Tensor) -> Tensor:
        """BxNx2C keys and values -> BxHxdxd attention over the key channels.

        The sum over pixels is not divided by their number, so attention sharpens as images grow.
        """
        batch, count, width = kv.shape
        head = width // 2 // self.heads
        k, v = kv.chunk(2, dim=-1)
        k = k.reshape(batch, count, self.heads, head).permute(0, 2, 3, 1)
        v = v.reshape(batch, count, self.heads, head).permute(0, 2, 1, 3)
        return torch.softmax((k @ v) * self.scale, dim=-2)

    def _attend(self, query: Tensor, context: Tensor) -> Tensor:
        """BxNxC queries through BxHxdxd contexts -> BxNxC."""
        batch, count, width = query.shape
        q = query.reshape(batch, count, self.heads, width // self.heads).transpose(1, 2)
        return (q @ context).transpose(1, 2).reshape(batch, count, width)


def _to_map(tokens: Tensor, size: torch.Size) -> Tensor:
    batch, _, channels = tokens.shape
    return tokens.transpose(1, 2).reshape(batch, channels, size[0], size[1])


class DilatedResidualDenseBlock(nn.Module):
    """3x3 convolutions with all earlier outputs as input, a 1x1 convolution, and a residual.

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
