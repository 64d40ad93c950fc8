# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_training import RECIPE, source

from segmif_ros.training.batches import BatchesAhead, draw_batch, draw_examples
from segmif_ros.training.recipe import Recipe, Rounds

PAIRS = {"blocks": source()}


@pytest.mark.parametrize("seeding", ["batch", "example"])
def test_parts_of_a_batch_are_the_batch(seeding: str) -> None:
    recipe = replace(RECIPE, seeding=seeding)
    whole = draw_batch(recipe, PAIRS, 3)
    parts = [draw_batch(recipe, PAIRS, 3, slice(i, i + 2)) for i in (0, 2)]
    for tensor, *pieces in zip(whole, *parts, strict=True):
        assert torch.equal(torch.cat(pieces), tensor)


def test_seeding_by_example_makes_only_what_is_wanted() -> None:
    made = 0

    def load() -> object:
        nonlocal made
        made += 1
        return source()[0]()

    for seeding, wanted in (("batch", 4), ("example", 1)):
        made = 0
        recipe = replace(RECIPE, seeding=seeding)
        assert len(draw_examples(recipe, {"blocks": [load]}, 0, slice(0, 1))) == 1
        assert made == wanted


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_keep_the_order_of_steps(workers: int) -> None:
    with BatchesAhead(RECIPE, PAIRS, range(2, 6), workers=workers) as batches:
        for step in range(2, 6):
            taken, wanted = batches.take(), draw_batch(RECIPE, PAIRS, step)
            assert all(torch.equal(a, b) for a, b in zip(taken, wanted, strict=True))


def test_plain_pairs_come_in_their_order() -> None:
    recipe = replace(RECIPE, augmentation=replace(RECIPE.augmentation, plain=True))
    names = [[each.name for each in draw_examples(recipe, PAIRS, step)] for step in range(3)]
    assert [int(name[-1]) for step in names for name in step] == [0, 1, 2, 3, 4, 5] * 2
    (last,) = draw_examples(recipe, PAIRS, 0, slice(3, 4))
    assert last.name == names[0][3]


def test_a_phase_has_its_own_crop() -> None:
    rounds = Rounds(1, 2, 2, 2, fusion_crop=(64, 96), segmentation_crop=(96, 64))
    recipe = Recipe(objective="paper", batch=1, mix={"blocks": 1.0}, rounds=rounds)
    assert draw_batch(recipe, PAIRS, 1)[2].shape == (1, 64, 96)
    assert draw_batch(recipe, PAIRS, 2)[2].shape == (1, 96, 64)


def test_a_damaged_pair_is_reported_where_it_is_used() -> None:
    def broken() -> object:
        raise ValueError("pair 7 is damaged")

    with (
        BatchesAhead(RECIPE, {"blocks": [broken]}, range(2)) as batches,
        pytest.raises(ValueError, match="pair 7"),
    ):
        batches.take()
