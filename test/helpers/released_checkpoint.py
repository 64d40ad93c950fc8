# SPDX-License-Identifier: Apache-2.0
"""State dicts in the released layout, made from a network of ours: what people have on disk."""

from __future__ import annotations

import torch

from segmif_ros.export.checkpoint import BACKBONES, released_name
from segmif_ros.network.segmif import SegMiF

State = dict[str, torch.Tensor]


def network(backbone: str, classes: int = 9) -> SegMiF:
    """A network whose every part has a say."""
    torch.manual_seed(0)
    made = SegMiF(BACKBONES[backbone], classes)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.03)
        made.fusion.tail3.bias.fill_(0.4)
    return made.eval()


def states(made: SegMiF) -> tuple[State, State]:
    """Fusion and segmentation state dicts, with the parts that have no effect."""
    fusion, segmentation = {}, {}
    for name, value in made.state_dict().items():
        part = fusion if name.startswith("fusion.") else segmentation
        part[released_name(name)] = value.clone()
    for key in [key for key in fusion if key.startswith("ffm.")]:
        fusion[key.replace("ffm.", "ffm2.")] = torch.randn_like(fusion[key])
    dim = made.encoder.shape.dims[3]
    classes = made.head.predict.out_channels
    segmentation["denoise_net.classifier.weight"] = torch.randn(classes, dim, 1, 1)
    return fusion, segmentation
