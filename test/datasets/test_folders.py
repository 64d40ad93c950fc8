# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from segmif_ros.datasets.folders import folder_pairs
from segmif_ros.datasets.opening import open_dataset
from segmif_ros.datasets.sample import DatasetError
from segmif_ros.registration import Registration

SIZE = (40, 80)


def test_folders_pair_by_name(tmp_path: Path) -> None:
    for folder, names in (("visible", "abc"), ("infrared", "bcd")):
        (tmp_path / folder / "clip").mkdir(parents=True)
        for name in names:
            cv2.imwrite(str(tmp_path / folder / "clip" / f"{name}.png"), np.zeros(SIZE, np.uint8))
    samples = [load() for load in folder_pairs(tmp_path)]
    assert [s.name for s in samples] == ["b", "c"]
    assert all(s.labels is None for s in samples)


def test_a_thermal_picture_of_another_size_is_scaled_as_the_node_does(tmp_path: Path) -> None:
    thermal = np.tile(np.arange(0, 160, 10, np.uint8), (8, 1))
    for folder, picture in (("visible", np.zeros((24, 48, 3), np.uint8)), ("infrared", thermal)):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "a.png"), picture)
    sample = folder_pairs(tmp_path)[0]()
    assert sample.thermal_size == (8, 16)
    assert np.array_equal(sample.thermal, Registration().apply(thermal, (24, 48)))
    labels = tmp_path / "labels" / "a.png"
    labels.parent.mkdir()
    cv2.imwrite(str(labels), np.zeros((8, 16), np.uint8))
    with pytest.raises(DatasetError, match=r"\(24, 48\).*\(8, 16\)"):
        open_dataset("auto", tmp_path)[0]()


def test_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="visible is not a folder"):
        folder_pairs(tmp_path)
    for folder in ("visible", "infrared"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "a.png"), np.zeros(SIZE, np.uint8))
    (tmp_path / "infrared" / "a.png").rename(tmp_path / "infrared" / "b.png")
    with pytest.raises(DatasetError, match="no pair"):
        folder_pairs(tmp_path)


def test_two_pictures_of_one_name_are_refused_and_folders_are_no_pictures(tmp_path: Path) -> None:
    for folder in ("visible", "infrared"):
        (tmp_path / folder / "odd.png").mkdir(parents=True)
        cv2.imwrite(str(tmp_path / folder / "a.png"), np.zeros(SIZE, np.uint8))
    assert len(folder_pairs(tmp_path)) == 1
    cv2.imwrite(str(tmp_path / "visible" / "a.jpg"), np.zeros(SIZE, np.uint8))
    with pytest.raises(DatasetError, match=r"a\.jpg and .*a\.png have the same name"):
        folder_pairs(tmp_path)
