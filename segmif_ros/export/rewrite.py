# SPDX-License-Identifier: Apache-2.0
"""The published cascade optimised for inference: the same results up to rounding.

`network/` defines the network; this module defines its computation in a bundle. `rewrite` changes
no weight of the plain network, and tests compare every block with its original.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from segmif_ros.export.fast_fusion import FastFusionNetwork, convolution, linear
from segmif_ros.network.guidance import guidance, hand_over, luma
from segmif_ros.network.mix_transformer import Block, EfficientSelfAttention, MixTransformer
from segmif_ros.network.segmif import AllMlpHead, NetworkOutput, SegMiF


class FastAttention(nn.Module):
    """`EfficientSelfAttention` with a projection each for queries, keys and values.

    The published projection of keys and values produces one tensor that must be permuted and split.
    The scale is merged into the queries' weights.
    """

    def __init__(self, plain: EfficientSelfAttention) -> None:
        super().__init__()
        self.heads = plain.heads
        self.q = linear(plain.q.weight * plain.scale, plain.q.bias * plain.scale)
        keys, values = plain.kv.weight.chunk(2)
        key_bias, value_bias = plain.kv.bias.chunk(2)
        self.k, self.v = linear(keys, key_bias), linear(values, value_bias)
        self.proj = plain.proj
        self.reduction = plain.reduction
        if plain.reduction > 1:
            self.sr, self.norm = plain.sr, plain.norm

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """BxNxD -> BxNxD."""
        source = tokens
        if self.reduction > 1:
            source = self.norm(_tokens(self.sr(_map(tokens, height, width))))
        q, k, v = self._split(self.q(tokens)), self._split(self.k(source)), self.v(source)
        attention = torch.softmax(q @ k.transpose(-2, -1), dim=-1)
        mixed = (attention @ self._split(v)).transpose(1, 2)
        return self.proj(mixed.reshape(_sizes(tokens)))

    def _split(self, tokens: Tensor) -> Tensor:
        """BxNxD -> BxHxNxd."""
        batch, count, dim = _sizes(tokens)
        return tokens.reshape(batch, count, self.heads, dim // self.heads).transpose(1, 2)


class FastBlock(nn.Module):
    """`Block` without stochastic depth."""

    def __init__(self, plain: Block) -> None:
        super().__init__()
        self.norm1, self.norm2 = plain.norm1, plain.norm2
        self.attn = FastAttention(plain.attn)
        self.fc1, self.dwconv, self.fc2 = plain.mlp.fc1, plain.mlp.dwconv, plain.mlp.fc2

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """BxNxD -> BxNxD."""
        tokens = tokens + self.attn(self.norm1(tokens), height, width)
        hidden = _map(self.fc1(self.norm2(tokens)), height, width)
        return tokens + self.fc2(F.gelu(_tokens(self.dwconv(hidden))))


class FastStage(nn.Module):
    """One stage: patch embedding, blocks, norm."""

    def __init__(self, plain: MixTransformer, index: int, entrance: nn.Module) -> None:
        super().__init__()
        self.embed, self.embed_norm = entrance, plain.patch_embeds[index].norm
        self.blocks = nn.ModuleList(FastBlock(block) for block in plain.stages[index])
        self.norm = plain.norms[index]

    def forward(self, features: Tensor) -> Tensor:
        """BxCxHxW -> BxDxhxw."""
        features = self.embed(features)
        height, width = _sizes(features)[2:]
        tokens = self.embed_norm(_tokens(features))
        for block in self.blocks:
            tokens = block(tokens, height, width)
        return _map(self.norm(tokens), height, width)


class ColourEntrance(nn.Module):
    """First convolution on a colour image in [0, 1], ImageNet's normalisation included.

    The division is in the weights. The mean is subtracted first, so that the zeros around the
    image still stand for the mean: exact to the last border pixel.
    """

    def __init__(self, plain: nn.Conv2d, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.proj = convolution(plain.weight / std, plain.bias, plain)
        self.register_buffer("mean", mean.clone())

    def forward(self, rgb: Tensor) -> Tensor:
        """Bx3xHxW -> BxDxhxw."""
        return self.proj(rgb - self.mean)


class FastEncoder(nn.Module):
    """The first stages of a `MixTransformer` with another first layer."""

    def __init__(self, plain: MixTransformer, entrance: nn.Module, stages: int) -> None:
        super().__init__()
        entrances = [entrance, *(embed.proj for embed in plain.patch_embeds[1:])]
        self.stages = nn.ModuleList(FastStage(plain, i, entrances[i]) for i in range(stages))

    def forward(self, features: Tensor) -> list[Tensor]:
        """BxCxHxW in [0, 1] -> as many maps as there are stages."""
        maps: list[Tensor] = []
        for stage in self.stages:
            features = stage(features)
            maps.append(features)
        return maps


def guidance_encoder(plain: MixTransformer) -> FastEncoder:
    """Stages 1 and 2 on Bx1xHxW: the published encoder takes the guidance as three equal channels.

    It is not normalised, and stages 3 and 4 are unused there.
    """
    first = plain.patch_embeds[0].proj
    grey = convolution(first.weight.sum(dim=1, keepdim=True), first.bias, first)
    return FastEncoder(plain, grey, stages=2)


def colour_encoder(plain: MixTransformer, mean: Tensor, std: Tensor) -> FastEncoder:
    """All four stages on Bx3xHxW in [0, 1]."""
    return FastEncoder(plain, ColourEntrance(plain.patch_embeds[0].proj, mean, std), stages=4)


class FoldedHead(nn.Module):
    """The all-MLP head with each level's projection, mixing and BatchNorm as one 1x1 convolution.

    They are linear and act on channels only, so they commute with resizing and run at each level's
    own size; nothing is concatenated.
    """

    def __init__(self, plain: AllMlpHead) -> None:
        super().__init__()
        norm = plain.norm
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        offset = norm.bias - gain * norm.running_mean
        # The published order of the concatenation is from coarse to fine.
        mixing = plain.fuse.weight[:, :, 0, 0].chunk(len(plain.projections), dim=1)[::-1]
        levels = []
        for projection, mix in zip(plain.projections, mixing, strict=True):
            mixed = gain[:, None] * mix
            offset = offset + mixed @ projection.bias
            weight = (mixed @ projection.weight)[:, :, None, None]
            levels.append(convolution(weight, None, plain.predict))
        finest = convolution(levels[0].weight, offset, plain.predict)
        self.levels = nn.ModuleList([finest, *levels[1:]])
        self.predict = plain.predict

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Feature maps from fine to coarse -> logits at the size of the finest map."""
        size = tuple(_sizes(maps[0])[2:])
        mixed = self.levels[0](maps[0])
        for level, features in zip(list(self.levels)[1:], maps[1:], strict=True):
            mixed = mixed + F.interpolate(
                level(features), size=size, mode="bilinear", align_corners=False
            )
        return self.predict(torch.relu(mixed))


def _sizes(features: Tensor) -> list[int]:
    """The shape as plain numbers: a bundle has one size, so its graph needs no arithmetic on it."""
    return [int(v) for v in features.shape]


def _tokens(features: Tensor) -> Tensor:
    """BxDxHxW -> BxNxD."""
    batch, dim, height, width = _sizes(features)
    return features.reshape(batch, dim, height * width).transpose(1, 2)


def _map(tokens: Tensor, height: int, width: int) -> Tensor:
    """BxNxD -> BxDxHxW."""
    batch, _, dim = _sizes(tokens)
    return tokens.transpose(1, 2).reshape(batch, dim, height, width)


CHROMA_GAIN = (0.713 * 1.403, 0.564 * 1.773)
"""What a round trip through Cr and Cb with the published constants does to R-Y and B-Y."""
CHROMA_GREEN = (-0.713 * 0.714, -0.564 * 0.344)
"""The share of R-Y and B-Y in G-Y after that round trip."""


class FastSegMiF(nn.Module):
    """`SegMiF` for inference, built by `rewrite`; same inputs and outputs."""

    def __init__(self, plain: SegMiF) -> None:
        super().__init__()
        self.switches = plain.switches
        self.guidance_encoder = guidance_encoder(plain.encoder)
        self.encoder = colour_encoder(plain.encoder, plain.mean, plain.std)
        self.fusion = FastFusionNetwork(plain.fusion)
        self.head = FoldedHead(plain.head)
        self.register_buffer("chroma", _chroma_matrix())

    def forward(self, rgb: Tensor, thermal: Tensor, guide: Tensor | None = None) -> NetworkOutput:
        """See `SegMiF.forward`."""
        y = luma(rgb)
        if guide is None:
            if self.switches.guidance == "supplied":
                raise ValueError("guidance is 'supplied': give the guidance image with the pair")
            guide = guidance(thermal, y)
        visible = y if self.switches.visible_input == "luma" else rgb[:, 0:1]
        fused = self.fusion(thermal, visible, self.guidance_encoder(guide))
        coloured = hand_over(
            (fused + nn.functional.conv2d(rgb, self.chroma)).clamp(0.0, 1.0),
            min_max_stretch=self.switches.min_max_stretch,
            eight_bit=self.switches.eight_bit_hand_over,
        )
        logits = self.head(self.encoder(coloured))
        return NetworkOutput(fused, coloured, logits, guide)


def rewrite(network: SegMiF) -> FastSegMiF:
    """Return the inference form of a trained or imported network; the argument is not changed."""
    with torch.no_grad():
        return FastSegMiF(copy.deepcopy(network).eval()).eval()


def _chroma_matrix() -> Tensor:
    """3x3x1x1: RGB -> contribution of its chroma to R, G and B, added to the new luma."""
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)
    red = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64) - weights
    blue = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64) - weights
    rows = [
        CHROMA_GAIN[0] * red,
        CHROMA_GREEN[0] * red + CHROMA_GREEN[1] * blue,
        CHROMA_GAIN[1] * blue,
    ]
    return torch.stack(rows).float()[:, :, None, None]
