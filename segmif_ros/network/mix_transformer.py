# SPDX-License-Identifier: Apache-2.0
"""The hierarchical encoder of SegFormer (Xie et al., NeurIPS 2021, section 3.1).

Four stages; each halves the map (the first quarters it), then runs transformer blocks whose keys
and values come from a spatially reduced map, with a depth-wise 3x3 convolution in the MLP instead
of a positional code.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the usual name


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """Sizes of the four stages.

    Attributes:
        dims: channels per stage.
        heads: attention heads per stage.
        depths: blocks per stage.
        reductions: spatial reduction of keys and values per stage.
        mlp_ratio: hidden width of the MLP over the stage's width.
    """

    dims: tuple[int, int, int, int] = (64, 128, 320, 512)
    heads: tuple[int, int, int, int] = (1, 2, 5, 8)
    depths: tuple[int, int, int, int] = (2, 2, 2, 2)
    reductions: tuple[int, int, int, int] = (8, 4, 2, 1)
    mlp_ratio: int = 4


class OverlapPatchEmbed(nn.Module):
    """Strided convolution with overlap, then LayerNorm; tokens out."""

    def __init__(self, channels: int, dim: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, kernel, stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(dim, eps=1e-5)

    def forward(self, image: Tensor) -> tuple[Tensor, int, int]:
        """BxCxHxW -> (BxNxD, h, w)."""
        features = self.proj(image)
        height, width = features.shape[-2:]
        return self.norm(features.flatten(2).transpose(1, 2)), height, width


class EfficientSelfAttention(nn.Module):
    """Multi-head attention; keys and values are taken from a map reduced by `reduction`."""

    def __init__(self, dim: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (dim // heads) ** -0.5
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        self.reduction = reduction
        if reduction > 1:
            self.sr = nn.Conv2d(dim, dim, reduction, reduction)
            self.norm = nn.LayerNorm(dim, eps=1e-5)

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """BxNxD -> BxNxD."""
        batch, count, dim = tokens.shape
        q = self.q(tokens).reshape(batch, count, self.heads, dim // self.heads).transpose(1, 2)
        source = tokens
        if self.reduction > 1:
            source = source.transpose(1, 2).reshape(batch, dim, height, width)
            source = self.norm(self.sr(source).flatten(2).transpose(1, 2))
        kv = self.kv(source).reshape(batch, -1, 2, self.heads, dim // self.heads)
        k, v = kv.permute(2, 0, 3, 1, 4).unbind(0)
        attention = torch.softmax((q @ k.transpose(-2, -1)) * self.scale, dim=-1)
        mixed = (attention @ v).transpose(1, 2).reshape(batch, count, dim)
        return self.proj(mixed)


class MixFeedForward(nn.Module):
    """Linear, depth-wise 3x3, GELU (erf form), linear."""

    def __init__(self, dim: int, ratio: int) -> None:
        super().__init__()
        hidden = dim * ratio
        self.fc1 = nn.Linear(dim, hidden)
        self.dwconv = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """BxNxD -> BxNxD."""
        hidden = self.fc1(tokens)
        batch, _, dim = hidden.shape
        grid = hidden.transpose(1, 2).reshape(batch, dim, height, width)
        hidden = self.dwconv(grid).flatten(2).transpose(1, 2)
        return self.fc2(F.gelu(hidden))


class Block(nn.Module):
    """Attention and MLP, each behind a LayerNorm and a residual; stochastic depth in training."""

    def __init__(self, dim: int, heads: int, reduction: int, ratio: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = EfficientSelfAttention(dim, heads, reduction)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MixFeedForward(dim, ratio)
        self.drop_path = drop_path

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """BxNxD -> BxNxD."""
        tokens = tokens + self._keep(self.attn(self.norm1(tokens), height, width))
        return tokens + self._keep(self.mlp(self.norm2(tokens), height, width))

    def _keep(self, branch: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0.0:
            return branch
        kept = 1.0 - self.drop_path
        mask = branch.new_empty(branch.shape[0], 1, 1).bernoulli_(kept)
        return branch * mask / kept


class MixTransformer(nn.Module):
    """Encoder: an image in, four feature maps out."""

    def __init__(self, shape: EncoderShape, channels: int = 3, drop_path: float = 0.1) -> None:
        super().__init__()
        self.shape = shape
        last = sum(shape.depths) - 1
        rates = [drop_path * i / last for i in range(last + 1)]
        inputs = (channels, *shape.dims[:3])
        self.patch_embeds = nn.ModuleList(
            OverlapPatchEmbed(inputs[i], shape.dims[i], 7 if i == 0 else 3, 4 if i == 0 else 2)
            for i in range(4)
        )
        self.stages = nn.ModuleList(
            nn.ModuleList(
                Block(
                    shape.dims[i],
                    shape.heads[i],
                    shape.reductions[i],
                    shape.mlp_ratio,
                    rates[sum(shape.depths[:i]) + j],
                )
                for j in range(shape.depths[i])
            )
            for i in range(4)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(dim, eps=1e-6) for dim in shape.dims)
        self.apply(_initialise)

    def forward(self, image: Tensor, stages: int = 4) -> list[Tensor]:
        """Encode an image.

        Args:
            image: BxCxHxW float.
            stages: how many stages to run, 1 to 4; the guidance pass needs only two.

        Returns:
            `stages` maps at 1/4, 1/8, 1/16, 1/32 of the input size.
        """
        maps = []
        features = image
        for embed, blocks, norm in zip(
            self.patch_embeds[:stages], self.stages[:stages], self.norms[:stages], strict=True
        ):
            tokens, height, width = embed(features)
            for block in blocks:
                tokens = block(tokens, height, width)
            batch, _, dim = tokens.shape
            features = norm(tokens).transpose(1, 2).reshape(batch, dim, height, width)
            maps.append(features)
        return maps


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
        nn.init.normal_(module.weight, 0.0, (2.0 * module.groups / fan_out) ** 0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
