# SPDX-License-Identifier: Apache-2.0
"""Hierarchical interactive attention (SegMiF, section 3): where the two tasks meet.

MoAM (modality-oriented) asks with the infrared and visible features and answers from the semantic
feature; SoAM (semantic-oriented) asks with the semantic feature and answers from each modality.
Both use linear attention over channels, so the cost grows with the pixels, not their square.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
