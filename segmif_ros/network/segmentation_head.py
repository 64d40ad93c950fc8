# SPDX-License-Identifier: Apache-2.0
"""SegFormer's all-MLP head (Xie et al., NeurIPS 2021, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class AllMlpHead(nn.Module):
    """Projects every stage to one width, brings all to 1/4 size, mixes them, and classifies."""

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
