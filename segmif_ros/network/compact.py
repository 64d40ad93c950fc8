# SPDX-License-Identifier: Apache-2.0
"""SegMiF for two CPU cores: the same parts, arranged to avoid repeated computation.

Differences from the published cascade, each to reduce the inference time:

1. Pictures enter as 4x4 pixel blocks folded into channels (`folding`), so no map is larger than 1/4
   size. Fusion predicts, for every full-size pixel, the weight of thermal and an offset; detail
   comes from the inputs, so none is lost.
2. Dense blocks and exchange, the costly parts of fusion, work at 1/8 size and share their weights
   between the two cameras, which are processed as one batch. A bypass at 1/4 size carries the
   detail.
3. The encoder runs once, on the guidance image in the colours of the visible one, at half
   resolution, with thermal beside it. Training pulls the fused image towards the guidance, so one
   pass serves both sub-networks.
4. The head adds the fusion features to the encoder's: segmentation uses fusion at 1/4 size,
   finer than any map of the encoder.
5. The exchange divides its attention logits by the number of pixels, so the weights hold at any
   size, and normalises by BatchNorm, which an export folds away.

No tensor is split by channels: at this size a runtime spends more time on that than on a
convolution. docs/nano.md has the measurements.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from segmif_ros.network.compact_encoder import CompactEncoder, ConvNorm
from segmif_ros.network.folding import BLOCK, FOLDED, THERMAL_CHANNELS, VISIBLE_CHANNELS, Folding
from segmif_ros.network.fusion import DilatedResidualDenseBlock
from segmif_ros.network.guidance import saliency_weight
from segmif_ros.network.mix_transformer import EncoderShape
from segmif_ros.network.segmif import NetworkOutput

_OTHER_HEAD = -1e4
"""Added to the logits between two heads: gives a softmax of 0, and fits into float16."""


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
        # Projections of SoAM and MoAM into (ir, vis).
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
        y, u = torch.relu(self.camera_y(pair)), torch.relu(self.camera_u(pair))
        semantic_y = torch.relu(self.semantic_y(semantic))
        semantic_u = torch.relu(self.semantic_u(semantic))
        batch = semantic.shape[0]
        context = self._context(_tokens(torch.cat([y, semantic_u]), batch))
        soam, moam = self.merge_soam @ context[:2], self.merge_moam @ context[2:]
        change = _tokens(semantic_y, batch) @ soam.transpose(2, 3)
        change = change + _tokens(u, batch) @ moam.transpose(2, 3)
        _, channels, height, width = pair.shape
        return self.norm(pair + change.reshape(-1, height, width, channels).permute(0, 3, 1, 2))

    def _context(self, sources: Tensor) -> Tensor:
        """3xBxNxC -> 3xBxCxC, block diagonal over heads, transposed to act from the left."""
        gram = (sources.transpose(2, 3) @ sources) * (1.0 / sources.shape[2])
        logits = (self.keys @ gram @ self.values.transpose(2, 3)) * self.temperature
        return torch.softmax(logits + self.between_heads, dim=2).transpose(2, 3)


def _tokens(maps: Tensor, batch: int) -> Tensor:
    """(M*B)xCxHxW -> MxBxNxC, which is how OpenVINO holds the output of a convolution."""
    channels, height, width = maps.shape[1:]
    return maps.permute(0, 2, 3, 1).reshape(-1, batch, height * width, channels)


_HISTOGRAM_STRIDE = 4


@dataclass(frozen=True, slots=True)
class CompactPlan:
    """Widths of one compact network.

    Attributes:
        encoder: stages of the encoder; a stage with 0 heads has no attention.
        detail: channels at 1/4 size.
        trunk: channels of either camera at 1/8 size.
        growth: channels that a layer of a dense block adds.
        layers: layers of a dense block.
        heads: heads of the exchange.
        head_width: channels of the segmentation head.
        pixels: the encoder also takes every full-size pixel of both cameras, not only those at
            half size.
    """

    encoder: EncoderShape
    detail: int = 32
    trunk: int = 32
    growth: int = 16
    layers: int = 2
    heads: int = 4
    head_width: int = 48
    pixels: bool = False


@dataclass(frozen=True, slots=True)
class BlockOutput:
    """Results in folded form.

    Attributes:
        change: Bx16xhxw, fused luma minus visible luma per pixel of the block.
        logits: BxKxhxw.
        guidance: Bx4xhxw guidance image at half resolution, folded 2x2.
    """

    change: Tensor
    logits: Tensor
    guidance: Tensor


class ResidualConvs(nn.Module):
    """Residual block of two 3x3 convolutions; adds 0 at the start of training."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, features: Tensor) -> Tensor:
        """BxCxHxW -> BxCxHxW."""
        return features + self.second(torch.relu(self.first(features)))


class CompactSegMiF(nn.Module):
    """One encoder pass, blockwise fusion, one light head. Sizes must be multiples of 32."""

    attention = "mean"
    """Attention logits are divided by the number of pixels."""

    def __init__(self, plan: CompactPlan, classes: int) -> None:
        super().__init__()
        dims, folded = plan.encoder.dims, VISIBLE_CHANNELS + THERMAL_CHANNELS
        self.folding = Folding()
        self.encoder = CompactEncoder(plan.encoder, FOLDED)
        self.pixels = nn.Conv2d(folded, dims[0], 3, 2, 1, bias=False) if plan.pixels else None
        self.stem = nn.Conv2d(folded, plan.detail, 3, padding=1)
        self.stem_ir = nn.Conv2d(THERMAL_CHANNELS, plan.trunk, 3, 2, 1)
        self.stem_vis = nn.Conv2d(VISIBLE_CHANNELS, plan.trunk, 3, 2, 1)
        self.dense = nn.ModuleList(
            DilatedResidualDenseBlock(plan.trunk, plan.growth, plan.layers) for _ in range(2)
        )
        self.semantic = nn.ModuleList(nn.Conv2d(dim, plan.trunk, 1) for dim in dims[:2])
        self.interaction = nn.ModuleList(
            CompactInteraction(plan.trunk, plan.heads) for _ in range(2)
        )
        self.tail = nn.Conv2d(2 * plan.trunk, plan.detail, 3, padding=1)
        self.sharpen = ResidualConvs(plan.detail)
        self.detail = nn.Conv2d(plan.detail, plan.detail, 3, padding=1)
        self.share = nn.Conv2d(plan.detail, FOLDED, 3, padding=1)
        self.offset = nn.Conv2d(plan.detail, FOLDED, 3, padding=1)
        self.lift = nn.Conv2d(plan.detail, FOLDED, 1)
        self.levels = nn.ModuleList(nn.Conv2d(dim, plan.head_width, 1) for dim in dims)
        self.fine = ConvNorm(plan.detail, plan.head_width)
        self.refine = ConvNorm(plan.head_width, plan.head_width, 3)
        self.dropout = nn.Dropout2d(0.1)
        self.predict = nn.Conv2d(plan.head_width, classes, 1)
        for start_at_nothing in (self.share, self.offset, self.lift):
            nn.init.zeros_(start_at_nothing.weight)
            nn.init.zeros_(start_at_nothing.bias)
        if self.pixels is not None:
            nn.init.zeros_(self.pixels.weight)

    def forward(self, rgb: Tensor, thermal: Tensor) -> NetworkOutput:
        """Fuse and segment.

        Args:
            rgb: Bx3xHxW in [0, 1].
            thermal: Bx1xHxW in [0, 1], registered.
        """
        visible = self.folding.fold_visible(F.pixel_unshuffle(rgb, BLOCK))
        output = self.forward_blocks(
            visible, self.folding.fold_thermal(F.pixel_unshuffle(thermal, BLOCK))
        )
        change = F.pixel_shuffle(output.change, BLOCK)
        luma = F.pixel_shuffle(visible[:, :FOLDED], BLOCK)
        return NetworkOutput(
            luma + change,
            (rgb + change).clamp(0.0, 1.0),
            output.logits,
            F.pixel_shuffle(output.guidance, 2),
        )

    def forward_blocks(self, visible: Tensor, thermal: Tensor) -> BlockOutput:
        """The same on folded images.

        Args:
            visible: Bx32xhxw, see `folding.Folding.fold_visible`.
            thermal: Bx16xhxw, see `folding.Folding.fold_thermal`.
        """
        folded = torch.cat([visible, thermal], dim=1)
        take = self.folding.take
        weight = saliency_weight(take(folded, "means"), _HISTOGRAM_STRIDE)
        guide = take(folded, "half_luma") + weight * take(folded, "half_difference")
        coloured = take(folded, "half_colour") + weight * take(folded, "half_shift")
        beside = None if self.pixels is None else self.pixels(folded)
        maps = self.encoder(coloured * 4.0 - 2.0, beside)
        features = self._fuse(folded, visible, thermal, maps)
        difference = take(folded, "difference")
        # Combinations of these two give either camera, their mean and the brighter of the two.
        share, lift = torch.sigmoid(self.share(features)), self.lift(features)
        change = share * difference + lift * torch.relu(difference) + self.offset(features)
        return BlockOutput(change, self._segment(maps, features), guide)

    def _fuse(self, folded: Tensor, visible: Tensor, thermal: Tensor, maps: list[Tensor]) -> Tensor:
        """Fusion features at 1/4 size."""
        detail = self.sharpen(torch.relu(self.stem(folded)))
        # Both cameras as one batch: infrared first, then visible.
        pair = torch.relu(torch.cat([self.stem_ir(thermal), self.stem_vis(visible)]))
        for dense, interaction, project, semantic in zip(
            self.dense, self.interaction, self.semantic, maps[:2], strict=True
        ):
            pair = interaction(dense(pair), _upsample(project(semantic), pair.shape[-2:]))
        coarse = self.tail(torch.cat(pair.chunk(2), dim=1))
        return torch.relu(_upsample(coarse, detail.shape[-2:]) + self.detail(detail))

    def _segment(self, maps: list[Tensor], features: Tensor) -> Tensor:
        # Coarse to fine, doubling each time, so that maps are added before they are enlarged.
        # The coarsest is enlarged before its convolution, which comes to the same: only sums of two
        # convolutions stay in the layout in which ONNX Runtime enlarges fast.
        mixed = self.levels[3](_upsample(maps[3], maps[2].shape[-2:])) + self.levels[2](maps[2])
        for level, m in zip(list(self.levels)[1::-1], maps[1::-1], strict=True):
            mixed = _upsample(mixed, m.shape[-2:]) + level(m)
        mixed = torch.relu(_upsample(mixed, features.shape[-2:]) + self.fine(features))
        mixed = mixed + torch.relu(self.refine(mixed))
        return self.predict(self.dropout(mixed))


def _upsample(features: Tensor, size: torch.Size) -> Tensor:
    if features.shape[-2:] == size:
        return features
    return F.interpolate(features, size=size, mode="bilinear", align_corners=False)
