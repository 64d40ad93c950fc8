# SPDX-License-Identifier: Apache-2.0
"""Networks small enough to train in a test, and pairs that they can learn.

Run as a script it trains a few steps, alone or as one of several processes:

    python test/helpers/tiny_training.py OUT [STEPS]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from segmif_ros.datasets.sample import Sample
from segmif_ros.network.compact import CompactPlan, CompactSegMiF
from segmif_ros.network.mix_transformer import EncoderShape
from segmif_ros.network.segmif import SegMiF
from segmif_ros.network.variants import VARIANTS, Variant
from segmif_ros.training.loop import Options, train
from segmif_ros.training.recipe import Augmentation, Recipe

CLASSES = 15
RECIPE = Recipe(
    variant="tiny",
    steps=6,
    batch=4,
    warmup=2,
    bf16=False,
    mix={"blocks": 1.0},
    augmentation=Augmentation(crop=(64, 64)),
)
OPTIONS = Options(device="cpu", log_every=1)


def tiny(classes: int) -> nn.Module:
    """`nano` in miniature."""
    shape = EncoderShape((8, 8, 16, 16), (0, 2, 2, 2), (1, 1, 1, 1), (1, 2, 1, 1))
    plan = CompactPlan(shape, detail=8, trunk=8, growth=4, layers=1, heads=2, head_width=16)
    return CompactSegMiF(plan, classes)


def steady(classes: int) -> nn.Module:
    """The same without dropout, so that two processes compute what one does."""
    network = tiny(classes)
    network.dropout.p = 0.0
    return network


def cascade(classes: int) -> nn.Module:
    """The published cascade in miniature."""
    shape = EncoderShape((8, 16, 16, 16), (1, 2, 2, 2), (1, 1, 1, 1))
    return SegMiF(shape, classes, channels=16, growth=4, head_width=16)


def add_variants() -> None:
    """Give the miniatures their names."""
    VARIANTS["tiny"] = Variant("for tests", tiny)
    VARIANTS["tiny-steady"] = Variant("for tests", steady)
    VARIANTS["tiny-cascade"] = Variant("for tests", cascade)


def blocks(seed: int, size: tuple[int, int] = (64, 64)) -> Sample:
    """Four quarters of one class each; colour and warmth follow from the class."""
    rng = np.random.default_rng(seed)
    quarters = rng.permutation(np.arange(1, 9, dtype=np.uint8))[:4].reshape(2, 2)
    labels = np.kron(quarters, np.ones((size[0] // 2, size[1] // 2), np.uint8))
    colours = np.random.default_rng(0).integers(30, 225, (CLASSES, 3), np.uint8)
    return Sample(colours[labels], (labels * 25).astype(np.uint8), labels, f"blocks-{seed}")


def source(count: int = 6) -> list[Callable[[], Sample]]:
    """Return `count` such pairs."""
    return [lambda seed=seed: blocks(seed) for seed in range(count)]  # type: ignore[misc]


def main() -> None:
    """Train a few steps and leave log and checkpoint behind."""
    out, steps = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    add_variants()
    recipe = Recipe(
        variant="tiny-steady",
        steps=steps,
        batch=4,
        warmup=2,
        bf16=False,
        mix={"blocks": 1.0},
        augmentation=Augmentation(crop=(64, 64)),
    )
    train(recipe, {"blocks": source()}, out, classes=CLASSES, options=OPTIONS)


if __name__ == "__main__":
    main()
