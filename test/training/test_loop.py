# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from segmif_ros.datasets.sample import Sample
from segmif_ros.training.augment import Augmentation
from segmif_ros.training.loop import draw_batch, learning_rate, train
from segmif_ros.training.recipe import Recipe, RecipeError

RECIPE = Recipe(
    steps=4,
    batch=2,
    warmup=2,
    bf16=False,
    mix={"a": 1.0},
    augmentation=Augmentation(crop=(64, 64)),
)


def source() -> list:
    rng = np.random.default_rng(0)
    pairs = [
        Sample(
            rng.integers(0, 256, (80, 80, 3), np.uint8),
            rng.integers(0, 256, (80, 80), np.uint8),
            rng.integers(1, 15, (80, 80)).astype(np.uint8),
            str(i),
        )
        for i in range(3)
    ]
    return [lambda pair=pair: pair for pair in pairs]


def test_a_batch_depends_on_seed_and_step_only() -> None:
    first, again, other = (draw_batch(RECIPE, {"a": source()}, step) for step in (7, 7, 8))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_a_finished_run_leaves_a_checkpoint_that_resumes_to_itself(tmp_path: Path) -> None:
    average = train(RECIPE, {"a": source()}, tmp_path, classes=15)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["step"] == 4
    for name, value in average.state_dict().items():
        assert torch.equal(state["average"][name], value), name
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0]
    resumed = train(RECIPE, {"a": source()}, tmp_path, classes=15, resume=True)
    for a, b in zip(resumed.parameters(), average.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_rate_warms_up_and_anneals() -> None:
    rates = [learning_rate(Recipe(steps=100, warmup=10, lr=1.0), step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates[9] == pytest.approx(1.0)
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    assert rates[-1] < 0.02


def test_a_recipe_with_a_typing_error_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("stepz: 4\n")
    with pytest.raises(RecipeError, match="unknown field 'stepz'"):
        Recipe.load(path)
    path.write_text("augmentation: {crops: [1, 2]}\n")
    with pytest.raises(RecipeError, match="unknown field 'crops'"):
        Recipe.load(path)
    path.write_text("just text\n")
    with pytest.raises(RecipeError, match="holds str, expected fields"):
        Recipe.load(path)
    path.write_text("steps: [\n")
    with pytest.raises(RecipeError, match="cannot be read"):
        Recipe.load(path)
