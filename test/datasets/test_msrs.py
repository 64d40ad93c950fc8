# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from segmif_ros.datasets.msrs import msrs_pairs
from segmif_ros.datasets.opening import open_dataset
from segmif_ros.datasets.sample import CAR, PERSON, DatasetError

SIZE = (40, 80)


@pytest.fixture
def msrs(tmp_path: Path) -> Path:
    """One day pair: a person box, a car box without mask, city labels everywhere."""
    for folder in ("visible", "infrared", "boxes", "mask_mfnet9", "mask_city"):
        (tmp_path / folder).mkdir()
    (tmp_path / "train.txt").write_text("1D.png\n")
    cv2.imwrite(str(tmp_path / "visible" / "1D.jpg"), np.full((*SIZE, 3), 90, np.uint8))
    cv2.imwrite(str(tmp_path / "infrared" / "1D.png"), np.full(SIZE, 30, np.uint8))
    # person: columns 20-40, rows 10-30; car: columns 60-80, rows 0-20.
    (tmp_path / "boxes" / "1D.txt").write_text("0 0.375 0.5 0.25 0.5\n2 0.875 0.25 0.25 0.5\n")
    mfnet = np.zeros(SIZE, np.uint8)
    mfnet[15:25, 25:35] = 2
    mfnet[35:40, 0:5] = 3  # a bicycle without a box
    cv2.imwrite(str(tmp_path / "mask_mfnet9" / "1D.png"), mfnet)
    city = np.full(SIZE, 1, np.uint8)
    city[0:5, 0:10] = 9  # a car without a box
    confidence = np.full(SIZE, 200, np.uint8)
    confidence[:, 50:55] = 100
    cv2.imwrite(str(tmp_path / "mask_city" / "1D.png"), city)
    cv2.imwrite(str(tmp_path / "mask_city" / "1D_conf.png"), confidence)
    return tmp_path


def test_pairs_are_listed_by_split(msrs: Path) -> None:
    (load,) = msrs_pairs(msrs, "train")
    sample = load()
    assert sample.rgb.shape == (*SIZE, 3)
    assert sample.labels is not None
    with pytest.raises(DatasetError, match=r"val\.txt is missing"):
        msrs_pairs(msrs, "val")


def test_pictures_may_be_png_or_jpeg(msrs: Path) -> None:
    rgb = cv2.imread(str(msrs / "visible" / "1D.jpg"))
    cv2.imwrite(str(msrs / "visible" / "1D.png"), rgb)
    (msrs / "visible" / "1D.jpg").unlink()
    (msrs / "infrared" / "1D.png").rename(msrs / "infrared" / "1D.jpeg")
    cv2.imwrite(str(msrs / "infrared" / "1D.jpeg"), np.full(SIZE, 30, np.uint8))
    dataset = open_dataset("auto", msrs, "train")
    assert (dataset.kind, dataset.unpaired) == ("msrs", ())
    sample = dataset[0]()
    assert np.array_equal(sample.rgb, rgb[..., ::-1])
    assert sample.boxes is not None
    assert {box.label for box in sample.boxes} == {PERSON, CAR}
    assert sample.machine_made


def test_a_mask_without_its_confidence_is_refused(msrs: Path) -> None:
    (msrs / "mask_city" / "1D_conf.png").unlink()
    with pytest.raises(DatasetError, match=r"1D\.png has no 1D_conf\.png beside it"):
        msrs_pairs(msrs, "train")[0]()
