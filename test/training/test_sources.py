# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from dataset_layouts import make_fmb, make_mfnet, make_plain

from segmif_ros.datasets.sample import DatasetError
from segmif_ros.training.recipe import DataEntry, Recipe, Validation
from segmif_ros.training.sources import open_sources, open_validation


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


def test_what_is_not_trained_on_is_what_the_class_list_or_the_entry_says(tmp_path: Path) -> None:
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


def test_the_rig_uses_the_classes_of_the_recipe(tmp_path: Path) -> None:
    recipe = Recipe(mix={"rig": 1.0}, rig_scenes=1, labels="mfnet9")
    own = open_sources(Recipe(mix={"rig": 1.0}, rig_scenes=1), tmp_path, tmp_path)["rig"][0]()
    sample = open_sources(recipe, tmp_path, tmp_path)["rig"][0]()
    assert own.labels is not None
    assert sample.labels is not None
    assert set(np.unique(sample.labels[own.labels == 9])) <= {1}
    assert set(np.unique(sample.labels[own.labels == 1])) == {255}


def test_the_held_out_part_is_what_a_run_is_scored_on(drive: Path) -> None:
    recipe = Recipe(mix={"msrs": 1.0}, hold_out_every=5, validation=Validation(every=10))
    kept = open_validation(recipe, drive)
    assert len(kept) == 2 * 8
    assert open_validation(Recipe(mix={"msrs": 1.0}), drive) == []
    with pytest.raises(DatasetError, match="nothing to score on"):
        open_validation(Recipe(mix={"msrs": 1.0}, validation=Validation(every=10)), drive)
    few = Recipe(mix={"msrs": 1.0}, hold_out_every=11, validation=Validation(every=10))
    with pytest.raises(DatasetError, match="hold_out_every 11 keeps each 11th block of 8"):
        open_validation(few, drive)


@pytest.mark.parametrize(
    ("entry", "sound"),
    [
        (DataEntry("fmb", "FMB", split=""), False),
        (DataEntry("fmb", "FMB/test", split=""), False),
        (DataEntry("mfnet", "MFNet", split=""), False),
        (DataEntry("mfnet", "MFNet", split="val"), True),
        (DataEntry("folder", "own", split=""), True),
    ],
)
def test_weights_are_not_chosen_on_test_pairs_whatever_they_are_called(
    entry: DataEntry, sound: bool, tmp_path: Path
) -> None:
    make_fmb(tmp_path / "FMB")
    make_mfnet(tmp_path / "MFNet")
    make_plain(tmp_path / "own")
    recipe = Recipe(mix={"rig": 1.0}, validation=Validation(every=1, data=entry))
    if sound:
        assert open_validation(recipe, tmp_path)
    else:
        with pytest.raises(DatasetError, match="takes test pairs of"):
            open_validation(recipe, tmp_path)


def test_the_rig_is_scored_on_scenes_of_its_own(tmp_path: Path) -> None:
    entry = DataEntry("rig", split="val")
    recipe = Recipe(
        mix={"rig": 1.0}, rig_scenes=2, seed=1, validation=Validation(10, pairs=1, data=entry)
    )
    (trained,) = open_sources(recipe, tmp_path).values()
    (scored,) = open_validation(recipe, tmp_path)
    assert len(trained) == 2
    assert scored().name == "rig-50000"


def test_an_entry_says_where_its_data_set_lies(tmp_path: Path) -> None:
    for folder in ("visible", "infrared", "labels"):
        (tmp_path / "mine" / folder).mkdir(parents=True)
        for i in range(24):
            image = np.full((32, 40), 3, np.uint8)
            assert cv2.imwrite(str(tmp_path / "mine" / folder / f"{i:02d}.png"), image)
    entry = DataEntry("folder", "mine", split="")
    recipe = Recipe(mix={"own": 1.0}, data={"own": entry}, hold_out_every=3)
    pairs = open_sources(recipe, tmp_path)["own"]
    assert len(pairs) == 16
    labels = pairs[0]().labels
    assert labels is not None
    assert set(np.unique(labels)) == {3}
