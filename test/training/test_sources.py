# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dataset_layouts import make_fmb, make_mfnet, make_plain

from segmif_ros.datasets.sample import DatasetError
from segmif_ros.training.recipe import DataEntry, Recipe
from segmif_ros.training.sources import open_sources


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    (tmp_path / "msrs").mkdir()
    (tmp_path / "msrs" / "train.txt").write_text("".join(f"{i:05d}N\n" for i in range(80)))
    return tmp_path


def test_held_out_blocks_are_not_trained_on(drive: Path) -> None:
    everything = open_sources(Recipe(mix={"msrs": 1.0}), drive)["msrs"]
    assert len(everything) == 80
    kept = open_sources(Recipe(mix={"msrs": 1.0}, hold_out_every=5), drive)["msrs"]
    assert len(kept) == 80 - 2 * 8


def test_an_unknown_data_set_is_named(drive: Path) -> None:
    with pytest.raises(DatasetError, match="'fmb' of the recipe is unknown"):
        open_sources(Recipe(mix={"fmb": 1.0}), drive)


def test_an_entry_is_opened_in_the_classes_of_the_recipe(tmp_path: Path) -> None:
    make_mfnet(tmp_path / "mfnet")
    recipe = Recipe.from_mapping(
        {"labels": "fmb15", "mix": {"mfnet": {"kind": "mfnet", "split": "train", "share": 0.5}}}
    )
    assert recipe.mix == {"mfnet": 0.5}
    source = open_sources(recipe, tmp_path)["mfnet"]
    assert len(source) == 3
    labels = source[0]().labels
    assert labels is not None
    assert labels[0, :5].tolist() == [254, 9, 8, 13, 254]


def test_what_teaches_nothing_is_what_the_class_list_or_the_entry_says(tmp_path: Path) -> None:
    make_fmb(tmp_path / "FMB")

    def first(entry: DataEntry) -> list[int]:
        sources = open_sources(Recipe(mix={"fmb": 1.0}, data={"fmb": entry}), tmp_path)
        labels = sources["fmb"][0]().labels
        assert labels is not None
        return list(labels[0, :3])

    assert first(DataEntry("fmb", "FMB")) == [255, 1, 2]
    assert first(DataEntry("fmb", "FMB", ignore=())) == [0, 1, 2]
    assert first(DataEntry("fmb", "FMB", ignore=(1, 2))) == [0, 255, 255]


def test_a_plain_folder_says_what_its_labels_are(tmp_path: Path) -> None:
    make_plain(tmp_path / "own")
    entry = DataEntry("folder", "own", split="", annotated="mfnet9")
    sources = open_sources(Recipe(mix={"own": 1.0}, data={"own": entry}), tmp_path)
    with pytest.raises(DatasetError, match="holds id 9, 10, 11, 12, which class list 'mfnet9'"):
        sources["own"][0]()


def test_the_rig_speaks_the_classes_of_the_recipe(tmp_path: Path) -> None:
    recipe = Recipe(mix={"rig": 1.0}, rig_scenes=1, labels="mfnet9")
    own = open_sources(Recipe(mix={"rig": 1.0}, rig_scenes=1), tmp_path, tmp_path)["rig"][0]()
    sample = open_sources(recipe, tmp_path, tmp_path)["rig"][0]()
    assert own.labels is not None
    assert sample.labels is not None
    assert set(np.unique(sample.labels[own.labels == 9])) <= {1}
    assert set(np.unique(sample.labels[own.labels == 1])) == {255}
