# SPDX-License-Identifier: Apache-2.0
"""The fusion sub-network optimised for inference: same weights, same result up to rounding.

Each class is built from its plain module in `network/` and copies the weights into its own shapes.
None of them can be trained.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from segmif_ros.network.fusion import (
    DilatedResidualDenseBlock,
    FusionNetwork,
    HierarchicalInteractiveAttention,
)

MASKED = -1e30
"""Attention logit between two heads, for which a softmax gives exactly 0."""
GRAM_SCALE = 2.0**-9
"""Factor on the features whose Gram matrix is taken, undone in keys and values.

Sums over 300,000 pixels would exceed the range of float16. A power of two changes no bit of a
float32 result.
"""


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
    """A convolution over a concatenation, computed as a sum of one convolution per source."""

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
    """A dense block without copies: every layer sums the convolutions of all earlier outputs."""

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


class GramAttention(nn.Module):
    """The attention one source gives, merged with the projections that follow it.

    Keys and values have no bias, so K^T V = Wk (X^T X) Wv^T: they are never formed, and with the
    merging projection behind it the whole is one CxC matrix for each of its uses. Everything here
    is small, and sums over all pixels: it stays in float32 where a graph can express it. The source
    comes multiplied by `GRAM_SCALE`.
    """

    def __init__(
        self,
        kv: nn.Linear,
        heads: int,
        scale: float,
        merges: list[Tensor],
    ) -> None:
        """Build from the plain projection of keys and values.

        Args:
            kv: CxC keys over CxC values.
            heads: attention heads.
            scale: factor of the logits.
            merges: CxC columns of each merging projection that reads this attention.
        """
        super().__init__()
        keys, values = kv.weight.chunk(2)
        width = kv.in_features
        head = torch.arange(width) // (width // heads)
        self.register_buffer("keys", (keys * (scale / GRAM_SCALE)).detach())
        self.register_buffer("values", (values.t() / GRAM_SCALE).detach())
        self.register_buffer("mask", (head[:, None] != head[None, :]) * MASKED)
        self.register_buffer("merges", torch.stack([m.t() for m in merges]).detach())

    def forward(self, source: Tensor) -> list[Tensor]:
        """BxHxWxC -> as many Bx1xCxC as there are merges; queries are multiplied by them."""
        context = self.context(source)
        return [context @ merge for merge in self.merges]

    def context(self, source: Tensor) -> Tensor:
        """BxHxWxC -> Bx1xCxC attention, block diagonal over the heads."""
        # One product per row, then a sum: short sums first, and rows can run in parallel.
        gram = (source.transpose(2, 3) @ source).sum(dim=1, keepdim=True)
        return torch.softmax(self.keys @ gram @ self.values + self.mask, dim=-2)


class GramInteraction(nn.Module):
    """SoAM and MoAM through Gram matrices.

    The semantic projections are 1x1 and commute with bilinear resizing, so they run on the
    encoder's own, smaller map.
    """

    def __init__(self, plain: HierarchicalInteractiveAttention, semantic: nn.Conv2d) -> None:
        """Build from the shared exchange and the 1x1 convolution that feeds it this time."""
        super().__init__()
        width = plain.project_ir.in_features
        # y of a modality and u of the semantic feature are used only for their Gram matrix.
        self.y_ir, self.u_ir = _halves(plain.project_ir)
        self.y_vis, self.u_vis = _halves(plain.project_vis)
        seg = plain.project_seg
        weights = torch.einsum("oc,cikl->oikl", seg.weight, semantic.weight).chunk(2)
        biases = (seg.weight @ semantic.bias + seg.bias).chunk(2)
        # One y for each branch, so that none has to be kept while the other branch is computed:
        # a runtime that walks one branch first would hold 4 C H W bytes for it. The factor stops
        # runtimes from merging the two; being a power of two, it changes no bit of the result.
        self.y_seg_ir = convolution(weights[0], biases[0], semantic)
        self.y_seg_vis = convolution(weights[0] * 2.0, biases[0] * 2.0, semantic)
        self.u_seg = convolution(weights[1] * GRAM_SCALE, biases[1] * GRAM_SCALE, semantic)
        soam_ir, moam_ir = plain.merge_ir.weight.split(width, dim=1)
        soam_vis, moam_vis = plain.merge_vis.weight.split(width, dim=1)
        heads, scale = plain.heads, plain.scale
        self.attend_ir = GramAttention(plain.kv_ir, heads, scale, [soam_ir])
        self.attend_vis = GramAttention(plain.kv_vis, heads, scale, [soam_vis * 0.5])
        self.attend_seg = GramAttention(plain.kv_seg, heads, scale, [moam_ir, moam_vis])
        self.register_buffer("bias_ir", plain.merge_ir.bias.detach().clone())
        self.register_buffer("bias_vis", plain.merge_vis.bias.detach().clone())
        self.norm_ir, self.norm_vis = plain.norm_ir, plain.norm_vis

    def forward(self, ir: Tensor, vis: Tensor, semantic: Tensor) -> tuple[Tensor, Tensor]:
        """BxCxHxW infrared and visible features, encoder map of any size -> both, updated."""
        size = int(ir.shape[2]), int(ir.shape[3])
        # OpenVINO turns the first order of ReLU and rows into no copy at all, but only where no
        # second transposition follows, as it does in a Gram matrix.
        y_seg_ir, y_seg_vis = (
            _rows(torch.relu(_upsample(project(semantic), size)))
            for project in (self.y_seg_ir, self.y_seg_vis)
        )
        u_seg = torch.relu(_rows(_upsample(self.u_seg(semantic), size)))
        moam_ir, moam_vis = self.attend_seg(u_seg)
        x_ir, x_vis = _rows(ir), _rows(vis)
        (soam_ir,) = self.attend_ir(torch.relu(self.y_ir(x_ir)))
        (soam_vis,) = self.attend_vis(torch.relu(self.y_vis(x_vis)))
        out_ir = y_seg_ir @ soam_ir + torch.relu(self.u_ir(x_ir)) @ moam_ir
        out_vis = y_seg_vis @ soam_vis + torch.relu(self.u_vis(x_vis)) @ moam_vis
        return (
            self.norm_ir(x_ir + out_ir + self.bias_ir).permute(0, 3, 1, 2),
            self.norm_vis(x_vis + out_vis + self.bias_vis).permute(0, 3, 1, 2),
        )


class FastFusionNetwork(nn.Module):
    """`FusionNetwork` built from the classes above."""

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


def _halves(plain: nn.Linear) -> tuple[nn.Linear, nn.Linear]:
    """The two halves of a projection: y times `GRAM_SCALE`, and u."""
    (y, u), (y_bias, u_bias) = plain.weight.chunk(2), plain.bias.chunk(2)
    return linear(y * GRAM_SCALE, y_bias * GRAM_SCALE), linear(u, u_bias)


def _rows(features: Tensor) -> Tensor:
    """BxCxHxW -> BxHxWxC."""
    return features.permute(0, 2, 3, 1)


def _upsample(features: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(features, size=size, mode="bilinear", align_corners=False)
