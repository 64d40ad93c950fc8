# SPDX-License-Identifier: Apache-2.0
"""The training loop: one file, read from top to bottom.

segmif train --recipe config/training/nano.yaml --data DATA --out runs/nano
segmif train --recipe config/training/nano.yaml --data DATA --out runs/nano --resume
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from segmif_ros.datasets.sample import Source
from segmif_ros.network.variants import build
from segmif_ros.training.augment import Example, make_example
from segmif_ros.training.losses import fusion_loss, segmentation_loss
from segmif_ros.training.recipe import Recipe

Batch = tuple[Tensor, Tensor, Tensor, Tensor]
"""rgb Bx3xHxW and thermal Bx1xHxW in [0, 1], labels BxHxW int64, target Bx1xHxW in [0, 1]."""


def train(
    recipe: Recipe,
    sources: dict[str, Source],
    out: Path,
    *,
    classes: int,
    resume: bool = False,
    start: Path | None = None,
) -> nn.Module:
    """Run a recipe and return the averaged network.

    Args:
        recipe: what to do.
        sources: data sets by the names used in `recipe.mix`.
        out: folder for checkpoint.pt and log.jsonl.
        classes: number of output classes.
        resume: continue from `out/checkpoint.pt`.
        start: checkpoint of an earlier run whose averaged weights to begin with.
    """
    torch.manual_seed(recipe.seed)
    out.mkdir(parents=True, exist_ok=True)
    network = build(recipe.variant, classes)
    network = network.to(memory_format=torch.channels_last)
    if start is not None:
        network.load_state_dict(torch.load(start, weights_only=True)["average"])
    average = copy.deepcopy(network).eval().requires_grad_(False)
    optimiser = torch.optim.AdamW(
        _groups(network, recipe.weight_decay), lr=recipe.lr, betas=(0.9, 0.99)
    )
    weights = torch.ones(classes)
    for label, weight in recipe.class_weights.items():
        weights[label] = weight
    first = 0
    if resume:
        state = torch.load(out / "checkpoint.pt", weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
    network.train()
    began = time.monotonic()
    with ThreadPoolExecutor(1) as ahead, (out / "log.jsonl").open("a") as log:
        batches = ahead.submit(draw_batch, recipe, sources, first)
        for step in tqdm(range(first, recipe.steps), initial=first, total=recipe.steps):
            rate = learning_rate(recipe, step)
            for group in optimiser.param_groups:
                group["lr"] = rate
            rgb, thermal, labels, target = batches.result()
            batches = ahead.submit(draw_batch, recipe, sources, step + 1)
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bf16):
                output = network(rgb, thermal)
            fusion = fusion_loss(output.luma.float(), target)
            segmentation = segmentation_loss(output.logits.float(), labels, weights)
            loss = fusion + recipe.segmentation_weight * segmentation
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            follow(average, network, min(recipe.ema, (1 + step) / (10 + step)))
            if step % 20 == 0:
                row = {"step": step, "fusion": fusion.item(), "segmentation": segmentation.item()}
                log.write(json.dumps({**row, "s": round(time.monotonic() - began, 1)}) + "\n")
                log.flush()
            if (step + 1) % 250 == 0 or step + 1 == recipe.steps:
                save(out / "checkpoint.pt", network, average, optimiser, step + 1)
    return average


def draw_batch(recipe: Recipe, sources: dict[str, Source], step: int) -> Batch:
    """Make the batch of one step; depends on seed and step only, so a resumed run is the same."""
    rng = np.random.default_rng((recipe.seed, step))
    names = sorted(recipe.mix)
    shares = np.array([recipe.mix[name] for name in names])
    examples: list[Example] = []
    for name in rng.choice(names, recipe.batch, p=shares / shares.sum()):
        source = sources[str(name)]
        sample = source[int(rng.integers(len(source)))]()
        examples.append(make_example(sample, recipe.augmentation, rng))
    rgb = torch.from_numpy(np.stack([e.rgb for e in examples])).permute(0, 3, 1, 2) / 255.0
    thermal = torch.from_numpy(np.stack([e.thermal for e in examples]))[:, None] / 255.0
    labels = torch.from_numpy(np.stack([e.labels for e in examples])).long()
    target = torch.from_numpy(np.stack([e.target for e in examples]))[:, None] / 255.0
    return rgb.contiguous(), thermal, labels, target


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up, then a cosine to 1 % of the peak."""
    if step < recipe.warmup:
        return recipe.lr * (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.lr * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * done)))


def follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the averaged weights a step towards the trained ones; buffers are copied."""
    with torch.no_grad():
        for mean, value in zip(average.parameters(), network.parameters(), strict=True):
            mean.lerp_(value, 1.0 - decay)
        for mean, value in zip(average.buffers(), network.buffers(), strict=True):
            mean.copy_(value)


def save(
    path: Path, network: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer, step: int
) -> None:
    """Write a checkpoint whole or not at all."""
    part = path.with_suffix(".part")
    torch.save(
        {
            "network": network.state_dict(),
            "average": average.state_dict(),
            "optimiser": optimiser.state_dict(),
            "step": step,
        },
        part,
    )
    part.replace(path)


def _groups(network: nn.Module, decay: float) -> Iterator[dict[str, object]]:
    """Norms and biases are not decayed."""
    named = list(network.named_parameters())
    yield {"params": [p for _, p in named if p.ndim > 1], "weight_decay": decay}
    yield {"params": [p for _, p in named if p.ndim <= 1], "weight_decay": 0.0}
