# SPDX-License-Identifier: Apache-2.0
"""The encoder's two entrances and the segmentation head rearranged for run time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from segmif_ros.deploy.fast_fusion import convolution
from segmif_ros.network.mix_transformer import MixTransformer
from segmif_ros.network.segmentation_head import AllMlpHead


class FastEncoder(nn.Module):
    """One encoder with two entrances: a grey guidance image, and a colour image in [0, 1].

    The guidance is one image, not three equal channels, and only its stages 1 and 2 are run.
    ImageNet's division is folded into the first convolution; the mean is subtracted before it, so
    that its zero padding still stands for the mean.
    """

    def __init__(self, plain: MixTransformer, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        first = plain.patch_embeds[0].proj
        self.grey = convolution(first.weight.sum(dim=1, keepdim=True), first.bias, first)
        self.colour = convolution(first.weight / std, first.bias, first)
        self.register_buffer("mean", mean.clone())
        self.plain = plain

    def guidance(self, guide: Tensor) -> list[Tensor]:
        """Bx1xHxW in [0, 1] -> stages 1 and 2."""
        return self._stages(self.grey(guide), 2)

    def forward(self, rgb: Tensor) -> list[Tensor]:
        """Bx3xHxW in [0, 1] -> four stages."""
        return self._stages(self.colour(rgb - self.mean), 4)

    def _stages(self, features: Tensor, count: int) -> list[Tensor]:
        maps: list[Tensor] = []
        for i in range(count):
            embed = self.plain.patch_embeds[i]
            if i:
                features = embed.proj(features)
            batch, dim, height, width = features.shape
            tokens = embed.norm(features.flatten(2).transpose(1, 2))
            for block in self.plain.stages[i]:
                tokens = block(tokens, height, width)
            tokens = self.plain.norms[i](tokens)
            features = tokens.transpose(1, 2).reshape(batch, dim, height, width)
            maps.append(features)
        return maps


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
        size = maps[0].shape[-2:]
        mixed = self.levels[0](maps[0])
        for level, features in zip(list(self.levels)[1:], maps[1:], strict=True):
            mixed = mixed + F.interpolate(
                level(features), size=size, mode="bilinear", align_corners=False
            )
        return self.predict(torch.relu(mixed))
