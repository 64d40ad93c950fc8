# SPDX-License-Identifier: Apache-2.0
"""SegMiF as published: guidance -> encoder -> fusion -> encoder -> head; its switches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from segmif_ros.network.fusion import FusionNetwork
from segmif_ros.network.guidance import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    guidance,
    hand_over,
    luma,
    replace_luma,
)
from segmif_ros.network.mix_transformer import EncoderShape, MixTransformer

VisibleInput = Literal["luma", "red"]
GuidanceSource = Literal["saliency", "supplied"]


@dataclass(frozen=True, slots=True)
class Switches:
    """Behaviour of the cascade; every bundle records it in its manifest.

    Attributes:
        visible_input: channel of the visible image for fusion: "luma", as in training, or
            "red", the first colour channel, as in the released test scripts.
        guidance: input of the encoder before fusion: "saliency", the mix of thermal and luma
            defined in `network.guidance`, or "supplied", a third image given with every pair.
        min_max_stretch: stretch every fused image to the full range. Off by default: on video the
            brightness then jumps with the brightest pixel. The released scripts do it.
        eight_bit_hand_over: truncate the fused image to 8 bits before segmentation, as the
            released scripts do when they go through a file.
    """

    visible_input: VisibleInput = "luma"
    guidance: GuidanceSource = "saliency"
    min_max_stretch: bool = False
    eight_bit_hand_over: bool = False

    def __post_init__(self) -> None:
        for name, value, known in (
            ("visible_input", self.visible_input, get_args(VisibleInput)),
            ("guidance", self.guidance, get_args(GuidanceSource)),
        ):
            if value not in known:
                raise ValueError(f"{name} is {value!r}, expected one of {known}")

    def to_manifest(self) -> Mapping[str, Any]:
        """Return the mapping that goes into a bundle's manifest.

        `attention` is a property for engines: the cascade's attention logits are sums over all
        pixels, for which bf16 is not accurate enough.
        """
        return {**asdict(self), "attention": "sum"}


class AllMlpHead(nn.Module):
    """Projects every stage to one width, resizes all to 1/4, mixes them, and classifies."""

    def __init__(self, dims: tuple[int, ...], width: int, classes: int) -> None:
        super().__init__()
        self.projections = nn.ModuleList(nn.Linear(dim, width) for dim in dims)
        self.fuse = nn.Conv2d(len(dims) * width, width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout2d(0.1)
        self.predict = nn.Conv2d(width, classes, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Feature maps from fine to coarse -> logits BxKxhxw at the size of the finest map."""
        size = maps[0].shape[-2:]
        levels = []
        for features, projection in zip(maps, self.projections, strict=True):
            batch, _, height, width = features.shape
            tokens = projection(features.flatten(2).transpose(1, 2))
            level = tokens.transpose(1, 2).reshape(batch, -1, height, width)
            if level.shape[-2:] != size:
                level = F.interpolate(level, size=size, mode="bilinear", align_corners=False)
            levels.append(level)
        mixed = torch.relu(self.norm(self.fuse(torch.cat(levels[::-1], dim=1))))
        return self.predict(self.dropout(mixed))


@dataclass(frozen=True, slots=True)
class NetworkOutput:
    """Output of every variant.

    Attributes:
        luma: Bx1xHxW fused luma, nominally [0, 1], not clamped.
        rgb: Bx3xHxW fused colour image in [0, 1], the input of segmentation.
        logits: BxKxhxw class scores below full size.
        guidance: Bx1x.. guidance image in [0, 1].
    """

    luma: Tensor
    rgb: Tensor
    logits: Tensor
    guidance: Tensor


class SegMiF(nn.Module):
    """The cascade of the paper; the encoder is shared by the guidance and the fused image."""

    attention = "sum"
    """Attention logits are sums over all pixels."""

    def __init__(
        self,
        shape: EncoderShape,
        classes: int,
        *,
        channels: int = 64,
        growth: int = 32,
        head_width: int = 256,
        switches: Switches | None = None,
    ) -> None:
        super().__init__()
        self.switches = switches or Switches()
        self.encoder = MixTransformer(shape)
        self.fusion = FusionNetwork(shape.dims, channels, growth)
        self.head = AllMlpHead(shape.dims, head_width, classes)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), False)

    def forward(self, rgb: Tensor, thermal: Tensor, guide: Tensor | None = None) -> NetworkOutput:
        """Fuse and segment.

        Args:
            rgb: Bx3xHxW in [0, 1].
            thermal: Bx1xHxW in [0, 1], registered.
            guide: Bx1xHxW in [0, 1]; computed from the pair if None.

        Raises:
            ValueError: the switches need a supplied guidance image and there is none.
        """
        if guide is None:
            if self.switches.guidance == "supplied":
                raise ValueError("guidance is 'supplied': give the guidance image with the pair")
            guide = guidance(thermal, luma(rgb))
        semantic = self.encoder(guide.expand(-1, 3, -1, -1), stages=2)
        visible = luma(rgb) if self.switches.visible_input == "luma" else rgb[:, 0:1]
        fused = self.fusion(thermal, visible, semantic)
        coloured = hand_over(
            replace_luma(rgb, fused),
            min_max_stretch=self.switches.min_max_stretch,
            eight_bit=self.switches.eight_bit_hand_over,
        )
        logits = self.segment(coloured)
        return NetworkOutput(fused, coloured, logits, guide)

    def segment(self, rgb: Tensor) -> Tensor:
        """Bx3xHxW in [0, 1] -> logits BxKx(H/4)x(W/4)."""
        return self.head(self.encoder((rgb - self.mean) / self.std))


def upsample_logits(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize logits to `size` as training and export do."""
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
