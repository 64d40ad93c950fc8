# SPDX-License-Identifier: Apache-2.0
"""Overfits a few pairs: the first test of a new data set or network.

If this fails, the labels are inconsistent, the class list does not match, or the network has an
error; longer training does not help.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from torch import nn

from segmif_ros.datasets.sample import VAGUE, DatasetError, Sample, Source
from segmif_ros.network.mix_transformer import Block
from segmif_ros.training.recipe import Augmentation, Recipe, Validation, Weighting

TARGET = 0.95
"""mIoU on the training pairs from which the test passes."""
_MOST_STEPS = 300
_CHECK_EVERY = 25


def overfit_recipe(recipe: Recipe, pairs: list[Sample], classes: int) -> Recipe:
    """Return the recipe that overfits a few pairs.

    The network, the losses and the loop are unchanged. There is no augmentation and no dropout,
    every step uses all pairs, the rate is doubled, the average has a short memory, and rare classes
    have larger weights, because all classes count equally in mIoU.

    Args:
        recipe: the original recipe.
        pairs: from `labelled_pairs`.
        classes: of the network.
    """
    counts = np.zeros(classes)
    for pair in pairs:
        assert pair.labels is not None
        counts += np.bincount(pair.labels[pair.labels < VAGUE], minlength=classes)[:classes]
    weights = np.sqrt(counts.max() / np.maximum(counts, 1.0))
    return replace(
        recipe,
        objective="joint",
        batch=len(pairs),
        accumulate=1,
        steps=_MOST_STEPS,
        lr=2.0 * recipe.lr,
        warmup=20,
        ema=0.9,
        weight_decay=0.0,
        mix={"overfit": 1.0},
        data={},
        class_weights={i: float(w) for i, w in enumerate(weights) if counts[i]},
        segmentation_weight=1.0,
        overlap_weight=1.0,
        only=(),
        weighting=Weighting(),
        validation=Validation(every=_CHECK_EVERY, pairs=len(pairs), stop_at=TARGET),
        augmentation=Augmentation(crop=recipe.augmentation.crop, plain=True),
    )


def labelled_pairs(sources: Mapping[str, Source], count: int) -> list[Sample]:
    """Return labelled pairs, evenly spread over each of a recipe's sources, sources by turns.

    Raises:
        DatasetError: there are not so many.
    """
    found: list[Sample] = []
    for column in itertools.zip_longest(*(_spread(source, count) for source in sources.values())):
        for load in column:
            sample = load() if load is not None else None
            if sample is not None and _is_labelled(sample):
                found.append(sample)
            if len(found) == count:
                return found
    raise DatasetError(
        f"--overfit {count}: only {len(found)} labelled pairs in {', '.join(sources)}"
    )


def without_noise(network: nn.Module) -> None:
    """Switch off dropout and dropped paths, in place."""
    for module in network.modules():
        if isinstance(module, nn.Dropout2d):
            module.p = 0.0
        elif isinstance(module, Block):
            module.drop_path = 0.0


def _spread(source: Source, count: int) -> list[Callable[[], Sample]]:
    """The whole source, evenly spread places first: neighbours are nearly the same picture."""
    first = dict.fromkeys(np.linspace(0, len(source) - 1, count).round().astype(int).tolist())
    return [source[i] for i in dict.fromkeys([*first, *range(len(source))])]


def in_turn(pairs: list[Sample]) -> list[Callable[[], Sample]]:
    """Return pairs as a source."""
    return [lambda pair=pair: pair for pair in pairs]  # type: ignore[misc]


def _is_labelled(sample: Sample) -> bool:
    return sample.labels is not None and bool((sample.labels < VAGUE).any())
