# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_training import CLASSES, OPTIONS, RECIPE, blocks, cascade, source, tiny

from segmif_ros.datasets.sample import DatasetError, Sample
from segmif_ros.training.loop import train
from segmif_ros.training.overfit import (
    TARGET,
    in_turn,
    labelled_pairs,
    overfit_recipe,
    without_noise,
)


def test_the_loop_overfits_four_pairs(tmp_path: Path) -> None:
    pairs = labelled_pairs({"blocks": source()}, 4)
    recipe = overfit_recipe(replace(RECIPE, lr=1e-2), pairs, CLASSES)
    train(
        recipe, {"overfit": in_turn(pairs)}, tmp_path, classes=CLASSES,
        validation=in_turn(pairs), options=OPTIONS,
    )  # fmt: skip
    best = torch.load(tmp_path / "best.pt", weights_only=True)
    assert best["score"] >= TARGET
    assert best["step"] < recipe.steps, "it stops when it knows them"


def test_pairs_are_taken_from_every_source_in_its_turn() -> None:
    unlabelled = Sample(blocks(0).rgb, blocks(0).thermal, None, "bare")
    sources = {
        "a": [lambda: blocks(10), lambda: blocks(11), lambda: blocks(12)],
        "b": [lambda: unlabelled, lambda: blocks(20)],
    }
    names = [pair.name for pair in labelled_pairs(sources, 3)]
    assert names == ["blocks-10", "blocks-11", "blocks-20"]
    with pytest.raises(DatasetError, match="only 4 labelled pairs in a, b"):
        labelled_pairs(sources, 5)


def test_nothing_is_augmented_and_rare_classes_count() -> None:
    pairs = [blocks(1)]
    recipe = overfit_recipe(RECIPE, pairs, CLASSES)
    assert recipe.augmentation.plain
    assert recipe.batch == 1
    assert pairs[0].labels is not None
    assert set(recipe.class_weights) == set(pairs[0].labels.ravel().tolist())
    assert all(weight == 1.0 for weight in recipe.class_weights.values())


@pytest.mark.parametrize("build", [tiny, cascade])
def test_without_noise_training_is_the_same_every_time(build) -> None:
    network = build(CLASSES).train()
    without_noise(network)
    pair = torch.rand(2, 3, 64, 64), torch.rand(2, 1, 64, 64)
    first, second = network(*pair), network(*pair)
    assert torch.equal(first.logits, second.logits)
    assert torch.equal(first.luma, second.luma)
