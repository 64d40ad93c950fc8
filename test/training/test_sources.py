# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from segmif_ros.datasets.sample import DatasetError
from segmif_ros.training.recipe import Recipe
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
