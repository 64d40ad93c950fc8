# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from segmif_ros.network.variants import VARIANTS
from segmif_ros.training.recipe import DataEntry, Recipe, RecipeError, Validation

RECIPES = sorted((Path(__file__).parents[2] / "config" / "training").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_can_be_read(path: Path) -> None:
    recipe = Recipe.load(path)
    assert recipe.variant in VARIANTS
    assert sum(recipe.mix.values()) == pytest.approx(1.0)


def test_an_entry_of_the_mix_says_where_a_data_set_lies(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "mix: {rig: 0.3, fmb: {kind: fmb, path: FMB, share: 0.7}}\n"
        "validation: {every: 10, data: {kind: fmb, path: FMB, split: val}}\n"
    )
    recipe = Recipe.load(path)
    assert recipe.mix == {"rig": 0.3, "fmb": 0.7}
    assert recipe.data == {"fmb": DataEntry("fmb", "FMB", "train", 0.7)}
    assert recipe.validation == Validation(10, data=DataEntry("fmb", "FMB", "val"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("stepz: 4", "unknown field 'stepz'"),
        ("augmentation: {crops: [1, 2]}", "unknown field 'augmentation.crops'"),
        ("mix: {fmb: {pth: x}}", "unknown field 'mix.fmb.pth'"),
        ("weighting: {kind: dwa}", "weighting.kind is 'dwa'"),
        ("validation: {data: {split: test}}", "split 'test': weights chosen on a test split"),
        ("objective: both", "objective is 'both'"),
        ("{batch: 8, accumulate: 3}", "batch is 8 and accumulate 3"),
        ("mix: [rig]", r"mix is \['rig'\], expected fields with values"),
        ("just text", "the content is 'just text', expected fields"),
        ("steps: [", "no YAML"),
        ("steps: 4.5", "steps is 4.5, expected 'int'"),
        ("lr: fast", "lr is 'fast', expected 'float'"),
        ("mix: {fmb: {split: .inf}}", "a number is inf"),
        ("mix: {fmb: {split: 3}}", r"mix\[...\].split of {'fmb': .*: expected 'str', got 'int'"),
        ("augmentation: {crop: [256]}", "augmentation.crop is"),
        ("{batch: 8, accumulate: 0}", "batch is 8 and accumulate 0"),
        ("class_weights: {person: 2}", "class_weights is"),
        ("validation: {data: {split: test, kind: 2001-99-99}}", "a test split"),
        ("only: fusion", "only is 'fusion', expected a list"),
    ],
)
def test_a_recipe_with_a_mistake_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text + "\n")
    with pytest.raises(RecipeError, match=reason) as refusal:
        Recipe.load(path)
    assert str(path) in str(refusal.value)
