# SPDX-License-Identifier: Apache-2.0
"""SegMiF as published: guidance -> encoder -> fusion -> encoder -> head."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from segmif_ros.network.colour import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    hand_over,
    luma,
    replace_luma,
)
from segmif_ros.network.fusion import FusionNetwork
from segmif_ros.network.guidance import guidance
from segmif_ros.network.mix_transformer import EncoderShape, MixTransformer
from segmif_ros.network.segmentation_head import AllMlpHead
from segmif_ros.network.switches import Switches


@dataclass(frozen=True, slots=True)
class NetworkOutput:
    """What every variant returns.

    Attributes:
        luma: Bx1xHxW fused luma, nominally [0, 1], not clamped.
        rgb: Bx3xHxW fused colour image in [0, 1], as segmentation sees it.
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
            ValueError: the switches ask for a supplied guidance image and there is none.
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
    """Bring logits to `size` the way training and export do."""
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
