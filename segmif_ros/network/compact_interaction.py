# SPDX-License-Identifier: Apache-2.0
"""SoAM and MoAM of `interaction` for the compact network, without ever forming keys and values.

They have no bias, so K^T V = Wk (X X^T) Wv^T: one CxC Gram matrix a source stands for both. The
attention and the merging projection are then one CxC matrix applied to the queries. Heads are the
diagonal blocks of a masked softmax, so three sources and all heads take one pass.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segmif_ros.network.compact_encoder import ConvNorm

_OTHER_HEAD = -1e4
"""Added to the logits between two heads; large enough to vanish, small enough for half floats."""


class CompactInteraction(nn.Module):
    """Exchange between infrared, visible and semantic features; the cameras share projections."""

    between_heads: Tensor

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        # The two projections y and u of the cameras' features and of the semantic ones.
        self.camera_y, self.camera_u = ConvNorm(channels, channels), ConvNorm(channels, channels)
        self.semantic_y = ConvNorm(channels, channels)
        self.semantic_u = ConvNorm(channels, channels)
        # Keys and values of (ir, vis, seg), one CxC matrix each.
        self.keys = nn.Parameter(torch.randn(3, 1, channels, channels) * channels**-0.5)
        self.values = nn.Parameter(torch.randn(3, 1, channels, channels) * channels**-0.5)
        self.temperature = nn.Parameter(torch.full((3, 1, 1, 1), 4.0))
        # How SoAM and MoAM enter (ir, vis).
        self.merge_soam = nn.Parameter(torch.randn(2, 1, channels, channels) * 0.02)
        self.merge_moam = nn.Parameter(torch.randn(2, 1, channels, channels) * 0.02)
        self.norm = nn.BatchNorm2d(channels)
        head = torch.arange(channels) // (channels // heads)
        between = (head[:, None] != head[None, :]) * _OTHER_HEAD
        self.register_buffer("between_heads", between, persistent=False)

    def forward(self, pair: Tensor, semantic: Tensor) -> Tensor:
        """Exchange once.

        Args:
            pair: 2BxCxHxW, infrared features and then visible ones.
            semantic: BxCxHxW.

        Returns:
            2BxCxHxW, the updated pair.
        """
        batch, channels, height, width = semantic.shape
        shape = (-1, batch, channels, height * width)
        y, u = torch.relu(self.camera_y(pair)), torch.relu(self.camera_u(pair))
        semantic_y = torch.relu(self.semantic_y(semantic)).reshape(shape)
        semantic_u = torch.relu(self.semantic_u(semantic))
        context = self._context(torch.cat([y, semantic_u]).reshape(shape))
        change = (self.merge_soam @ context[:2]) @ semantic_y
        change = change + (self.merge_moam @ context[2:]) @ u.reshape(shape)
        return self.norm(pair + change.reshape(pair.shape))

    def _context(self, sources: Tensor) -> Tensor:
        """3xBxCxN -> 3xBxCxC, block diagonal over heads, transposed to act from the left."""
        gram = (sources @ sources.transpose(2, 3)) * (1.0 / sources.shape[-1])
        logits = (self.keys @ gram @ self.values.transpose(2, 3)) * self.temperature
        return torch.softmax(logits + self.between_heads, dim=2).transpose(2, 3)
