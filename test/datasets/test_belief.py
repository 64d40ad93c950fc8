# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from segmif_ros.datasets.belief import msrs_labels, street_labels
from segmif_ros.datasets.msrs import msrs_pairs
from segmif_ros.datasets.opening import open_dataset
from segmif_ros.datasets.sample import BACKGROUND, BICYCLE, CAR, IGNORE, PERSON, DatasetError
from segmif_ros.metrics.boxes import Box

SIZE = (40, 80)
ROAD, TRUCK, MOTORCYCLE = 1, 10, 12
BOXES = (Box(PERSON, 20, 10, 40, 30), Box(CAR, 60, 0, 80, 20))
ONLY_A_PERSON, ONLY_A_CAR = BACKGROUND - 1, BACKGROUND - 2
NINE = {CAR: 1, PERSON: 2, BICYCLE: 3}


def write(root: Path, kind: str, mask: np.ndarray, confidence: np.ndarray | int = 200) -> None:
    (root / kind).mkdir(exist_ok=True)
    cv2.imwrite(str(root / kind / "1N.png"), mask)
    if kind not in ("mask_mfnet9", "mask_sgfnet"):
        sure = np.broadcast_to(np.uint8(confidence), mask.shape)
        cv2.imwrite(str(root / kind / "1N_conf.png"), np.array(sure))


def street() -> np.ndarray:
    """Road everywhere, a car without a box, and half of the person."""
    mask = np.full(SIZE, ROAD, np.uint8)
    mask[0:5, 0:10] = CAR
    mask[10:30, 20:30] = PERSON
    return mask


def found(*objects: tuple[int, slice, slice]) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    for label, rows, columns in objects:
        mask[rows, columns] = NINE[label]
    return mask


def labels(root: Path) -> np.ndarray:
    return msrs_labels(root, "1N", SIZE, BOXES)


def test_boxes_say_which_road_users_a_pixel_is_not(tmp_path: Path) -> None:
    merged = labels(tmp_path)
    assert merged[35, 45] == BACKGROUND
    assert merged[20, 30] == ONLY_A_PERSON
    assert merged[10, 70] == ONLY_A_CAR
    assert merged[31, 41] == ONLY_A_PERSON  # the cameras do not see from one place
    both = (*BOXES, Box(BICYCLE, 20, 10, 25, 30))
    assert msrs_labels(tmp_path, "1N", SIZE, both)[20, 22] == BACKGROUND - 1 - 4


def test_no_road_user_outside_its_boxes(tmp_path: Path) -> None:
    write(tmp_path, "mask_street", street())
    merged = labels(tmp_path)
    assert merged[2, 2] == BACKGROUND
    write(tmp_path, "mask_mfnet9", found((BICYCLE, slice(35, 40), slice(0, 5))))
    assert labels(tmp_path)[37, 2] == ROAD


def test_a_street_teacher_is_used_in_a_box_only_if_it_found_the_object(tmp_path: Path) -> None:
    write(tmp_path, "mask_street", street())
    merged = labels(tmp_path)
    assert merged[20, 25] == PERSON
    assert merged[20, 35] == ROAD  # beside the person that it found
    assert merged[10, 70] == ONLY_A_CAR  # it calls the car a road


def test_what_is_uncertain_is_not_trained_on(tmp_path: Path) -> None:
    write(tmp_path, "mask_street", street(), np.where(np.arange(80) < 40, 200, 100))
    merged = labels(tmp_path)
    assert merged[35, 35] == ROAD
    assert merged[35, 45] == BACKGROUND


def test_where_the_best_teacher_looked_no_other_is_asked_about_road_users(tmp_path: Path) -> None:
    write(tmp_path, "mask_street", street())
    write(tmp_path, "mask_mfnet9", found((CAR, slice(0, 20), slice(60, 80))))
    assert labels(tmp_path)[10, 70] == CAR
    write(tmp_path, "mask_sgfnet", found((PERSON, slice(10, 30), slice(30, 40))))
    merged = labels(tmp_path)
    assert merged[10, 70] == ONLY_A_CAR
    assert merged[20, 35] == PERSON
    assert merged[20, 25] == ONLY_A_PERSON  # where only the street teacher sees one


def test_own_answers_fill_boxes_that_no_teacher_found(tmp_path: Path) -> None:
    own = np.full(SIZE, IGNORE, np.uint8)
    own[0:20, 60:80] = CAR
    own[10:30, 30:40] = PERSON
    write(tmp_path, "mask_own", own)
    write(tmp_path, "mask_street", street())
    merged = labels(tmp_path)
    assert merged[10, 70] == CAR
    assert merged[20, 35] == ROAD  # the street teacher found this person


def test_a_truck_in_a_box_of_a_car_is_what_people_call_it(tmp_path: Path) -> None:
    mask = street()
    mask[0:20, 60:80] = TRUCK
    mask[30:40, 0:20] = MOTORCYCLE
    write(tmp_path, "mask_street", mask)
    merged = labels(tmp_path)
    assert merged[10, 70] == CAR
    assert merged[35, 5] == BACKGROUND
    # Without boxes it stays a truck.
    other = street_labels(tmp_path, "1N", SIZE)
    assert other is not None
    assert other[10, 70] == TRUCK


def test_masks_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "mask_street", street())
    (tmp_path / "mask_street" / "1N_conf.png").unlink()
    with pytest.raises(DatasetError, match=r"has no 1N_conf\.png beside it"):
        labels(tmp_path)
    write(tmp_path, "mask_street", street()[:20])
    with pytest.raises(DatasetError, match="registered masks fit"):
        labels(tmp_path)
    write(tmp_path, "mask_street", np.full(SIZE, 77, np.uint8))
    with pytest.raises(DatasetError, match=r"holds id 77"):
        labels(tmp_path)


def test_only_training_sees_what_a_pixel_is_not(tmp_path: Path) -> None:
    for folder in ("visible", "infrared", "boxes", "mask_mfnet9"):
        (tmp_path / folder).mkdir()
    (tmp_path / "train.txt").write_text("1N\n")
    cv2.imwrite(str(tmp_path / "visible" / "1N.png"), np.full((*SIZE, 3), 90, np.uint8))
    cv2.imwrite(str(tmp_path / "infrared" / "1N.png"), np.full(SIZE, 30, np.uint8))
    (tmp_path / "boxes" / "1N.txt").write_text("0 0.375 0.5 0.25 0.5\n")
    write(tmp_path, "mask_mfnet9", found((PERSON, slice(15, 25), slice(25, 35))))
    trained = msrs_pairs(tmp_path, "train")[0]()
    assert set(np.unique(trained.labels)) == {PERSON, ONLY_A_PERSON, BACKGROUND}
    assert trained.boxes == (Box(PERSON, 20, 10, 40, 30),)
    scored = open_dataset("msrs", tmp_path, "train")[0]()
    assert set(np.unique(scored.labels)) == {PERSON, IGNORE, BACKGROUND}
