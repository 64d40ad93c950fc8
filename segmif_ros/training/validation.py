# SPDX-License-Identifier: Apache-2.0
"""Scores a network on pairs that it is not trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from segmif_ros.datasets.sample import Sample, Source
from segmif_ros.frames import Image8
from segmif_ros.metrics.segmentation import Confusion
from segmif_ros.network.segmif import upsample_logits
from segmif_ros.training.augment import Example, plain_example
from segmif_ros.training.batches import stack
from segmif_ros.training.losses import fusion_loss
from segmif_ros.training.objective import JointObjective
from segmif_ros.training.ranks import Ranks
from segmif_ros.training.recipe import Recipe

_MULTIPLE = 32
"""Sizes that every variant takes."""

Shown = dict[str, Image8]
"""Panes of one pair: visible, thermal, fused and mask."""


@dataclass(frozen=True, slots=True)
class Score:
    """Score of a network.

    Attributes:
        mean_iou: over the classes that occur in the truth, without id 0; NaN without labels.
        accuracy: share of labelled pixels with the right class; NaN without labels.
        fusion_loss: `losses.fusion_loss` against the recipe's target, mean over pairs.
        pairs: how many were scored.
    """

    mean_iou: float
    accuracy: float
    fusion_loss: float
    pairs: int

    def describe(self) -> str:
        """Return the score as one line."""
        text = f"fusion loss {self.fusion_loss:.3f}"
        if np.isfinite(self.mean_iou):
            text = f"mIoU {self.mean_iou:.3f}, accuracy {self.accuracy:.3f}, {text}"
        return f"{text}, {self.pairs} pairs"

    @property
    def value(self) -> float:
        """Score for the selection of the best weights, higher is better: mIoU, else fusion loss."""
        return self.mean_iou if np.isfinite(self.mean_iou) else -self.fusion_loss


def chosen(pairs: Source, most: int) -> list[Callable[[], Sample]]:
    """Return at most `most` pairs, evenly spread."""
    if len(pairs) <= most:
        return list(pairs)
    return [pairs[int(i)] for i in np.linspace(0, len(pairs) - 1, most).round()]


def score(
    network: nn.Module,
    pairs: Sequence[Callable[[], Sample]],
    recipe: Recipe,
    classes: int,
    ranks: Ranks,
) -> tuple[Score, Shown]:
    """Score a network in eval mode; every rank scores its part of the pairs.

    Pairs are scored at their own size, cut to multiples of 32. Where the recipe trains on plain
    pairs, they are scored in the same window and on the same pixels, every second one: learning by
    heart is about what was shown, and classes at 1/4 size cannot draw every edge between.

    Returns:
        The score over all ranks, and the pictures of this rank's first pair.
    """
    training = network.training
    network.eval()
    confusion, losses, shown = Confusion(classes), 0.0, Shown()
    stride = JointObjective.label_stride if recipe.augmentation.plain else 1
    for load in pairs[ranks.rank :: ranks.count]:
        example = _example(load(), recipe)
        rgb, thermal, _, target, _ = (tensor.to(ranks.device) for tensor in stack([example]))
        with torch.inference_mode():
            output = network(rgb, thermal)
            size = rgb.shape[2] // stride, rgb.shape[3] // stride
            scores = upsample_logits(output.logits.float(), size)
            losses += float(fusion_loss(output.luma.float(), target))
        mask = scores[0].argmax(dim=0).to(torch.uint8).cpu().numpy()
        confusion.add(example.labels[::stride, ::stride], mask)
        if not shown:
            shown = {
                "visible": _bytes(example.rgb),
                "thermal": _bytes(example.thermal),
                "fused": _bytes(output.rgb[0].permute(1, 2, 0).float().cpu().numpy() * 255.0),
                "mask": np.kron(mask, np.ones((stride, stride), np.uint8)),
            }
    network.train(training)
    counts = torch.from_numpy(confusion.matrix).to(ranks.device)
    confusion.matrix = ranks.sum(counts).cpu().numpy()
    total = ranks.sum(torch.tensor([losses], dtype=torch.float64, device=ranks.device)).item()
    mean = total / max(1, len(pairs))
    return Score(confusion.mean_iou(), confusion.accuracy(), mean, len(pairs)), shown


def _example(sample: Sample, recipe: Recipe) -> Example:
    if recipe.augmentation.plain:
        return plain_example(sample, recipe.augmentation.crop, recipe.target)
    height, width = (side - side % _MULTIPLE for side in sample.thermal.shape)
    return plain_example(sample, (height, width), recipe.target)


def _bytes(image: np.ndarray) -> Image8:
    return np.clip(image, 0.0, 255.0).astype(np.uint8)
