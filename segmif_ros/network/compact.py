# SPDX-License-Identifier: Apache-2.0
"""SegMiF for two CPU cores: the same parts, arranged so that nothing is computed twice.

What differs from the published cascade, each for its share of the time:

1. Everything works on 4x4 pixel blocks folded into channels, so no map is larger than 1/4 size.
   Fusion predicts, for every full-size pixel, how much of thermal to mix in and what to add;
   detail comes from the inputs themselves, so none is lost.
2. The encoder runs once, on the guidance image in the colours of the visible one, at half
   resolution, with thermal beside it. Training pulls the fused image towards the guidance, so one
   pass serves both sub-networks.
3. The head adds the fusion features to the encoder's: segmentation learns from fusion at 1/4 size,
   finer than any map of the encoder.
4. The exchange divides its attention logits by the number of pixels, so the weights hold at any
   size, and normalises by BatchNorm, which an export folds away.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from segmif_ros.network.compact_encoder import CompactEncoder, ConvNorm
from segmif_ros.network.dense_block import DilatedResidualDenseBlock
from segmif_ros.network.guidance import saliency_weight
from segmif_ros.network.mix_transformer import EncoderShape
from segmif_ros.network.segmif import NetworkOutput

BLOCK = 4
"""Side of the pixel block that is folded into channels."""
FOLDED = BLOCK * BLOCK


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


class CompactInteraction(nn.Module):
    """SoAM and MoAM of `interaction.py` without ever forming keys and values.

    They have no bias, so K^T V = Wk (X X^T) Wv^T: one CxC Gram matrix a source stands for both. The
    attention and the merging projection are then one CxC matrix applied to the queries.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        # The halves y and u of each projection, for (ir, vis, seg).
        self.project_y = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(3))
        self.project_u = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(3))
        # Keys and values of (ir, vis, seg), one CxC matrix each.
        self.keys = nn.Parameter(torch.randn(3, channels, channels) * channels**-0.5)
        self.values = nn.Parameter(torch.randn(3, channels, channels) * channels**-0.5)
        self.temperature = nn.Parameter(torch.full((3, 1, 1, 1), 4.0))
        self.merge = nn.Parameter(torch.randn(2, 2, channels, channels) * 0.02)
        self.norm = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(2))

    def forward(self, ir: Tensor, vis: Tensor, seg: Tensor) -> tuple[Tensor, Tensor]:
        """BxCxHxW infrared, visible and semantic features -> updated infrared and visible."""
        inputs = (ir, vis, seg)
        y_ir, y_vis, y_seg = (torch.relu(p(x)) for p, x in zip(self.project_y, inputs, strict=True))
        u_ir, u_vis, u_seg = (torch.relu(p(x)) for p, x in zip(self.project_u, inputs, strict=True))
        moam = self._context(u_seg, 2)
        updated = []
        for i, (x, y, u) in enumerate(((ir, y_ir, u_ir), (vis, y_vis, u_vis))):
            soam = self._context(y, i)
            change = self._transform(self.merge[i, 0] @ soam, y_seg) + self._transform(
                self.merge[i, 1] @ moam, u
            )
            updated.append(self.norm[i](x + change))
        return updated[0], updated[1]

    def _context(self, source: Tensor, index: int) -> Tensor:
        """BxCxHxW -> BxCxC, block diagonal over heads, transposed to act from the left."""
        _, channels, height, width = source.shape
        flat = source.flatten(2)
        gram = (flat @ flat.transpose(1, 2)) * (1.0 / (height * width))
        keys = self.keys[index].reshape(self.heads, -1, channels)
        values = self.values[index].reshape(self.heads, -1, channels)
        gram = gram.unsqueeze(1)
        logits = (keys @ gram @ values.transpose(1, 2)) * self.temperature[index]
        heads = torch.softmax(logits, dim=-2).transpose(2, 3)
        head = channels // self.heads
        rows = [
            F.pad(heads[:, i], (i * head, channels - (i + 1) * head)) for i in range(self.heads)
        ]
        return torch.cat(rows, dim=1)

    @staticmethod
    def _transform(matrix: Tensor, features: Tensor) -> Tensor:
        """BxCxC times BxCxHxW."""
        return (matrix @ features.flatten(2)).reshape(features.shape)


class CompactSegMiF(nn.Module):
    """One encoder pass, blockwise fusion, one light head. Sizes must be multiples of 32."""

    mask_stride = 2
    """The mask is decided at half size and doubled."""
    attention = "mean"
    """Attention logits are divided by the number of pixels."""

    def __init__(
        self,
        shape: EncoderShape,
        classes: int,
        *,
        channels: int = 32,
        growth: int = 16,
        layers: int = 2,
        heads: int = 4,
        head_width: int = 48,
    ) -> None:
        super().__init__()
        self.encoder = CompactEncoder(shape, FOLDED)
        self.stem_ir = nn.Conv2d(FOLDED, channels, 3, padding=1)
        self.stem_vis = nn.Conv2d(FOLDED, channels, 3, padding=1)
        self.dense = nn.ModuleList(
            DilatedResidualDenseBlock(channels, growth, layers) for _ in range(4)
        )
        self.semantic = nn.ModuleList(nn.Conv2d(dim, channels, 1) for dim in shape.dims[:2])
        self.interaction = nn.ModuleList(CompactInteraction(channels, heads) for _ in range(2))
        self.tail_ir = nn.Conv2d(channels, channels, 3, padding=1)
        self.tail_vis = nn.Conv2d(channels, channels, 3, padding=1)
        self.mix = nn.Conv2d(channels, 2 * FOLDED, 3, padding=1)
        self.levels = nn.ModuleList(nn.Conv2d(dim, head_width, 1) for dim in shape.dims)
        self.fine = ConvNorm(channels, head_width)
        self.refine = ConvNorm(head_width, head_width, 3)
        self.dropout = nn.Dropout2d(0.1)
        self.predict = nn.Conv2d(head_width, classes, 1)
        self.register_buffer("luma_weight", _luma_kernel(), persistent=False)
        self.register_buffer("half_weight", _half_kernel(), persistent=False)
        mean = torch.full((1, FOLDED, 1, 1), 1.0 / FOLDED)
        self.register_buffer("mean_weight", mean, persistent=False)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)

    def forward(self, rgb: Tensor, thermal: Tensor) -> NetworkOutput:
        """Fuse and segment.

        Args:
            rgb: Bx3xHxW in [0, 1].
            thermal: Bx1xHxW in [0, 1], registered.
        """
        rgb_blocks = F.pixel_unshuffle(rgb, BLOCK)
        output = self.forward_blocks(rgb_blocks, F.pixel_unshuffle(thermal, BLOCK))
        change = F.pixel_shuffle(output.change, BLOCK)
        luma = F.pixel_shuffle(F.conv2d(rgb_blocks, self.luma_weight), BLOCK)
        return NetworkOutput(
            luma + change,
            (rgb + change).clamp(0.0, 1.0),
            output.logits,
            F.pixel_shuffle(output.guidance, 2),
        )

    def forward_blocks(self, rgb: Tensor, thermal: Tensor) -> BlockOutput:
        """The same on folded images.

        Args:
            rgb: Bx48xhxw, channel = colour * 16 + row * 4 + column within the block.
            thermal: Bx16xhxw.
        """
        visible = F.conv2d(rgb, self.luma_weight)
        guide, coloured = self._guide(rgb, visible, thermal)
        maps = self.encoder(coloured * 4.0 - 2.0)
        features, weight, offset = self._fuse(visible, thermal, maps)
        change = torch.sigmoid(weight) * (thermal - visible) + offset
        return BlockOutput(change, self._segment(maps, features), guide)

    def _guide(self, rgb: Tensor, visible: Tensor, thermal: Tensor) -> tuple[Tensor, Tensor]:
        """Guidance at half size (Bx4xhxw) and the encoder's input (Bx16xhxw)."""
        half = F.conv2d(torch.cat([rgb, visible, thermal], dim=1), self.half_weight)
        colour, half_visible, half_thermal = half.split([12, 4, 4], dim=1)
        mean_visible = F.conv2d(visible, self.mean_weight)
        weight = saliency_weight(F.conv2d(thermal, self.mean_weight), mean_visible, stride=4)
        guide = half_visible + weight * (half_thermal - half_visible)
        shift = guide - half_visible
        coloured = torch.cat([colour + torch.cat([shift] * 3, dim=1), half_thermal], dim=1)
        return guide, coloured

    def _fuse(
        self, visible: Tensor, thermal: Tensor, maps: list[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        ir = self.dense[0](torch.relu(self.stem_ir(thermal)))
        vis = self.dense[1](torch.relu(self.stem_vis(visible)))
        size = ir.shape[-2:]
        first, second = (
            _upsample(project(m), size) for project, m in zip(self.semantic, maps[:2], strict=True)
        )
        ir, vis = self.interaction[0](ir, vis, first)
        ir, vis = self.dense[2](ir), self.dense[3](vis)
        ir, vis = self.interaction[1](ir, vis, second)
        features = torch.relu(self.tail_ir(ir) + self.tail_vis(vis))
        weight, offset = self.mix(features).chunk(2, dim=1)
        return features, weight, offset

    def _segment(self, maps: list[Tensor], features: Tensor) -> Tensor:
        # Coarse to fine, doubling each time: small maps are added before they are enlarged.
        mixed = self.levels[3](maps[3])
        for level, m in zip(list(self.levels)[2::-1], maps[2::-1], strict=True):
            mixed = _upsample(mixed, m.shape[-2:]) + level(m)
        mixed = torch.relu(_upsample(mixed, features.shape[-2:]) + self.fine(features))
        mixed = mixed + torch.relu(self.refine(mixed))
        return self.predict(self.dropout(mixed))


def _luma_kernel() -> Tensor:
    """16x48x1x1: BT.601 luma of each pixel of a block."""
    eye = torch.eye(FOLDED)
    return torch.cat([0.299 * eye, 0.587 * eye, 0.114 * eye], dim=1)[:, :, None, None]


def _half_kernel() -> Tensor:
    """20x80x1x1: 2x2 means within each of the five folded images (r, g, b, luma, thermal)."""
    rows = torch.arange(FOLDED) // BLOCK // 2
    columns = torch.arange(FOLDED) % BLOCK // 2
    mean = (rows * 2 + columns == torch.arange(4)[:, None]).float() / 4.0
    return torch.block_diag(*[mean] * 5)[:, :, None, None]


def _upsample(features: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(features, size=size, mode="bilinear", align_corners=False)
