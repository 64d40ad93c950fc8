# SPDX-License-Identifier: Apache-2.0
"""The mix transformer in channels-first form, for CPUs.

Same plan as `mix_transformer`: four stages, keys and values from a reduced map, a depth-wise 3x3 in
the MLP. Every projection is a 1x1 convolution followed by BatchNorm, which an export folds away.
This avoids LayerNorm and transpositions of tokens, which take most of the time on a CPU at this
size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from segmif_ros.network.mix_transformer import EncoderShape


class ConvNorm(nn.Sequential):
    """Convolution without bias, then BatchNorm."""

    def __init__(
        self,
        channels: int,
        out: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        padding: int | None = None,
        groups: int = 1,
        gain: float = 1.0,
    ) -> None:
        """`gain` is the initial BatchNorm weight: 0 starts a residual branch as identity."""
        pad = kernel // 2 if padding is None else padding
        super().__init__(
            nn.Conv2d(channels, out, kernel, stride, pad, groups=groups, bias=False),
            nn.BatchNorm2d(out),
        )
        nn.init.constant_(self[1].weight, gain)


class CompactAttention(nn.Module):
    """Self-attention with keys and values from a map reduced by a strided convolution."""

    def __init__(self, dim: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (dim // heads) ** -0.5
        self.q = ConvNorm(dim, dim)
        self.reduce = (
            ConvNorm(dim, dim, reduction, reduction, padding=0) if reduction > 1 else nn.Identity()
        )
        self.k, self.v = ConvNorm(dim, dim), ConvNorm(dim, dim)
        self.proj = ConvNorm(dim, dim, gain=0.1)

    def forward(self, features: Tensor) -> Tensor:
        """BxCxHxW -> BxCxHxW."""
        batch, dim, height, width = features.shape
        reduced = self.reduce(features)
        k = self.k(reduced).reshape(batch, self.heads, dim // self.heads, -1)
        q, v = self._tokens(self.q(features) * self.scale), self._tokens(self.v(reduced))
        mixed = (torch.softmax(q @ k, dim=-1) @ v).transpose(1, 2)
        return self.proj(mixed.reshape(batch, height, width, dim).permute(0, 3, 1, 2))

    def _tokens(self, features: Tensor) -> Tensor:
        """BxCxHxW -> BxheadsxNxC/heads, which is how OpenVINO holds the output of a convolution."""
        batch, dim, height, width = features.shape
        tokens = features.permute(0, 2, 3, 1)
        shape = (batch, height * width, self.heads, dim // self.heads)
        return tokens.reshape(shape).transpose(1, 2)


class CompactBlock(nn.Module):
    """Attention, if there are heads, and MLP, each with a residual."""

    def __init__(self, dim: int, heads: int, reduction: int, ratio: int) -> None:
        super().__init__()
        self.attention = CompactAttention(dim, heads, reduction) if heads else None
        self.fc1 = ConvNorm(dim, dim * ratio)
        self.dwconv = ConvNorm(dim * ratio, dim * ratio, 3, groups=dim * ratio)
        self.fc2 = ConvNorm(dim * ratio, dim, gain=0.1)

    def forward(self, features: Tensor) -> Tensor:
        """BxCxHxW -> BxCxHxW."""
        if self.attention is not None:
            features = features + self.attention(features)
        return features + self.fc2(F.gelu(self.dwconv(self.fc1(features))))


class CompactEncoder(nn.Module):
    """Four feature maps from a folded input; each stage halves the map."""

    def __init__(self, shape: EncoderShape, channels: int) -> None:
        super().__init__()
        self.shape = shape
        inputs = (channels, *shape.dims[:3])
        self.embeds = nn.ModuleList(ConvNorm(inputs[i], shape.dims[i], 3, 2) for i in range(4))
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    CompactBlock(
                        shape.dims[i], shape.heads[i], shape.reductions[i], shape.mlp_ratio
                    )
                    for _ in range(shape.depths[i])
                )
            )
            for i in range(4)
        )

    def forward(self, folded: Tensor, beside: Tensor | None = None) -> list[Tensor]:
        """BxCxhxw -> four maps at 1/2, 1/4, 1/8, 1/16 of the folded size.

        Args:
            folded: the folded picture.
            beside: added to the first embedding, of the same size.
        """
        maps: list[Tensor] = []
        features = folded
        for embed, stage in zip(self.embeds, self.stages, strict=True):
            embedded = embed(features)
            if beside is not None and not maps:
                embedded = embedded + beside
            features = stage(embedded)
            maps.append(features)
        return maps
