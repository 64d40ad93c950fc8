# SPDX-License-Identifier: Apache-2.0
"""The published cascade rearranged for run time: less work, the same numbers up to rounding.

`network/` says what the network is; this says how a bundle computes it. `rewrite` changes no weight
that the plain network owns, and every block is tested against the one it stands for.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from segmif_ros.export.fast_fusion import FastFusionNetwork
from segmif_ros.export.fast_segmentation import FoldedHead, colour_encoder, guidance_encoder
from segmif_ros.network.colour import hand_over, luma
from segmif_ros.network.guidance import guidance
from segmif_ros.network.segmif import NetworkOutput, SegMiF

CHROMA_GAIN = (0.713 * 1.403, 0.564 * 1.773)
"""What a round trip through Cr and Cb with the published constants does to R-Y and B-Y."""
CHROMA_GREEN = (-0.713 * 0.714, -0.564 * 0.344)
"""The share of R-Y and B-Y in G-Y after that round trip."""


class FastSegMiF(nn.Module):
    """`SegMiF` for run time. Built by `rewrite`; takes and gives the same tensors."""

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
    """Return the run-time form of a trained or imported network; the argument is left alone."""
    with torch.no_grad():
        return FastSegMiF(copy.deepcopy(network).eval()).eval()


def _chroma_matrix() -> Tensor:
    """3x3x1x1: RGB -> what its chroma adds to the new luma in R, G and B."""
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)
    red = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64) - weights
    blue = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64) - weights
    rows = [
        CHROMA_GAIN[0] * red,
        CHROMA_GREEN[0] * red + CHROMA_GREEN[1] * blue,
        CHROMA_GAIN[1] * blue,
    ]
    return torch.stack(rows).float()[:, :, None, None]
