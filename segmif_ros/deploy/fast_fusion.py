# SPDX-License-Identifier: Apache-2.0
"""The fusion sub-network rearranged for run time: same weights, same result up to rounding.

Each class takes the plain module of `network/` it stands for and copies its weights into the shapes
it needs. None of them can be trained.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from segmif_ros.network.dense_block import DilatedResidualDenseBlock
from segmif_ros.network.fusion import FusionNetwork
from segmif_ros.network.interaction import HierarchicalInteractiveAttention

MASKED = -1e30
"""Attention logit between two heads: far enough down for a softmax to give exactly 0."""


def convolution(weight: Tensor, bias: Tensor | None, like: nn.Conv2d) -> nn.Conv2d:
    """Return a convolution with these weights and the geometry of `like`."""
    outputs, inputs, height, width = weight.shape
    made = nn.Conv2d(
        inputs,
        outputs,
        (height, width),
        stride=like.stride,  # type: ignore[arg-type]
        padding=like.padding,  # type: ignore[arg-type]
        dilation=like.dilation,  # type: ignore[arg-type]
        bias=bias is not None,
    )
    made.weight.data = weight.detach().clone()
    if made.bias is not None and bias is not None:
        made.bias.data = bias.detach().clone()
    return made


def linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """Return a linear layer with these weights."""
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    made.weight.data = weight.detach().clone()
    if bias is not None:
        made.bias.data = bias.detach().clone()
    return made


class SourceConvolution(nn.Module):
    """A convolution over a concatenation, without the concatenation: one convolution a source."""

    def __init__(self, plain: nn.Conv2d, widths: list[int]) -> None:
        super().__init__()
        parts = plain.weight.split(widths, dim=1)
        biases = [plain.bias, *[None] * (len(widths) - 1)]
        self.parts = nn.ModuleList(
            convolution(w, b, plain) for w, b in zip(parts, biases, strict=True)
        )

    def forward(self, sources: list[Tensor]) -> Tensor:
        """As many BxC_ixHxW as there are widths -> BxKxHxW."""
        total = self.parts[0](sources[0])
        for part, source in zip(list(self.parts)[1:], sources[1:], strict=True):
            total = total + part(source)
        return total


class SplitDenseBlock(nn.Module):
    """A dense block that copies nothing: every layer adds up what each earlier output gives it."""

    def __init__(self, plain: DilatedResidualDenseBlock) -> None:
        super().__init__()
        channels, growth = plain.layers[0].in_channels, plain.layers[0].out_channels
        widths = [channels]
        layers = []
        for layer in plain.layers:
            layers.append(SourceConvolution(layer, list(widths)))
            widths.append(growth)
        self.layers = nn.ModuleList(layers)
        self.mix = SourceConvolution(plain.mix, widths)

    def forward(self, features: Tensor) -> Tensor:
        """BxCxHxW -> BxCxHxW."""
        seen = [features]
        for layer in self.layers:
            seen.append(torch.relu(layer(seen)))
        return features + torch.relu(self.mix(seen))


class GramInteraction(nn.Module):
    """SoAM and MoAM through Gram matrices; keys and values are never formed.

    They have no bias, so K^T V = Wk (X^T X) Wv^T, and the attention followed by the merging
    projection is one CxC matrix. The semantic projections are 1x1 and commute with bilinear
    resizing, so they run on the encoder's own, smaller map.
    """

    def __init__(self, plain: HierarchicalInteractiveAttention, semantic: nn.Conv2d) -> None:
        """Build from the shared exchange and the 1x1 convolution that feeds it this time."""
        super().__init__()
        width = plain.project_ir.in_features
        self.width = width
        for name, source in (("ir", plain.project_ir), ("vis", plain.project_vis)):
            y, u = source.weight.chunk(2)
            y_bias, u_bias = source.bias.chunk(2)
            setattr(self, f"y_{name}", linear(y, y_bias))
            setattr(self, f"u_{name}", linear(u, u_bias))
        seg = plain.project_seg
        folded = torch.einsum("oc,cikl->oikl", seg.weight, semantic.weight)
        y, u = folded.chunk(2)
        y_bias, u_bias = (seg.weight @ semantic.bias + seg.bias).chunk(2)
        self.y_seg, self.u_seg = convolution(y, y_bias, semantic), convolution(u, u_bias, semantic)
        keys, values = [], []
        for index, source in enumerate((plain.kv_ir, plain.kv_vis, plain.kv_seg)):
            k, v = source.weight.chunk(2)
            heat = 1.0 if plain.temperature is None else plain.temperature[index]
            keys.append(k * (plain.scale * heat))
            values.append(v.t())
        self.per_pixel = plain.temperature is not None
        head = torch.arange(width) // (width // plain.heads)
        self.register_buffer("keys", torch.stack(keys).detach())
        self.register_buffer("values", torch.stack(values).detach())
        self.register_buffer("mask", (head[:, None] != head[None, :]) * MASKED)
        merges = [plain.merge_ir.weight, plain.merge_vis.weight]
        self.register_buffer("merge_soam", torch.stack([m[:, :width].t() for m in merges]).detach())
        self.register_buffer("merge_moam", torch.stack([m[:, width:].t() for m in merges]).detach())
        biases = torch.stack([plain.merge_ir.bias, plain.merge_vis.bias])
        self.register_buffer("merge_bias", biases.detach())
        self.norm_ir, self.norm_vis = plain.norm_ir, plain.norm_vis

    def forward(self, ir: Tensor, vis: Tensor, semantic: Tensor) -> tuple[Tensor, Tensor]:
        """BxCxHxW infrared and visible features, encoder map of any size -> both, updated."""
        size = ir.shape[-2:]
        y_seg, u_seg = (
            torch.relu(_rows(_upsample(project(semantic), size)))
            for project in (self.y_seg, self.u_seg)
        )
        moam = self._context(u_seg, 2)
        outputs = []
        for i, (x, y, u, norm) in enumerate(
            (
                (_rows(ir), self.y_ir, self.u_ir, self.norm_ir),
                (_rows(vis), self.y_vis, self.u_vis, self.norm_vis),
            )
        ):
            soam = self._context(torch.relu(y(x)), i)
            change = y_seg @ (soam @ self.merge_soam[i]) + torch.relu(u(x)) @ (
                moam @ self.merge_moam[i]
            )
            outputs.append(norm(x + change + self.merge_bias[i]).permute(0, 3, 1, 2))
        return outputs[0], outputs[1]

    def _context(self, source: Tensor, index: int) -> Tensor:
        """BxHxWxC -> Bx1xCxC attention, block diagonal over the heads, acting from the right."""
        # One product a row, then a sum: short sums first, and every row can have its own thread.
        gram = (source.transpose(2, 3) @ source).sum(dim=1, keepdim=True)
        if self.per_pixel:
            gram = gram * (1.0 / (source.shape[1] * source.shape[2]))
        logits = self.keys[index] @ gram @ self.values[index]
        return torch.softmax(logits + self.mask, dim=-2)


class FastFusionNetwork(nn.Module):
    """`FusionNetwork` from the parts above."""

    def __init__(self, plain: FusionNetwork) -> None:
        super().__init__()
        width = plain.stem_ir.out_channels
        self.stem_ir, self.stem_vis = plain.stem_ir, plain.stem_vis
        self.dense = nn.ModuleList(SplitDenseBlock(block) for block in plain.dense)
        self.interactions = nn.ModuleList(
            GramInteraction(plain.interaction, semantic)
            for semantic in (plain.semantic1, plain.semantic2)
        )
        self.tail1 = SourceConvolution(plain.tail1, [width, width])
        self.tail2, self.tail3 = plain.tail2, plain.tail3
        self.activation = plain.activation

    def forward(self, thermal: Tensor, visible: Tensor, semantic: list[Tensor]) -> Tensor:
        """See `FusionNetwork.forward`."""
        ir = self.dense[0](self.activation(self.stem_ir(thermal)))
        vis = self.dense[1](self.activation(self.stem_vis(visible)))
        ir, vis = self.interactions[0](ir, vis, semantic[0])
        ir, vis = self.dense[2](ir), self.dense[3](vis)
        ir, vis = self.interactions[1](ir, vis, semantic[1])
        features = self.activation(self.tail1([ir, vis]))
        features = self.activation(self.tail2(features))
        return self.activation(self.tail3(features))


def _rows(features: Tensor) -> Tensor:
    """BxCxHxW -> BxHxWxC."""
    return features.permute(0, 2, 3, 1)


def _upsample(features: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(features, size=size, mode="bilinear", align_corners=False)
