# SPDX-License-Identifier: Apache-2.0
"""Regions of a mask become objects with boxes, scores and thermal values."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from segmif_ros.bundle import LabelClass
from segmif_ros.objects.regions import find_objects, iou, split_upright

CLASSES = (
    LabelClass(1, "road", (0, 0, 0)),
    LabelClass(8, "person", (0, 0, 1)),
    LabelClass(9, "car", (0, 0, 2)),
)
SIZE = (480, 640)


def mask_of(*boxes: tuple[int, int, int, int, int]) -> np.ndarray:
    """Road with boxes (label, left, top, right, bottom)."""
    mask = np.ones(SIZE, np.uint8)
    for label, left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = label
    return mask


def person(image: np.ndarray, x: int, foot: int, height: int, value: float) -> None:
    """A head on a body that is 0.36 as wide as tall."""
    head, half = round(0.09 * height), round(0.18 * height)
    cv2.circle(image, (x, foot - height + head), head, value, -1)
    cv2.ellipse(
        image, (x, foot - 43 * height // 100), (half, 43 * height // 100), 0, 0, 360, value, -1
    )


def test_an_object_has_the_box_area_centre_and_score_of_its_pixels() -> None:
    confidence = np.full(SIZE, 51, np.uint8)
    confidence[100:140, 200:300] = 204
    (car,) = find_objects(mask_of((9, 200, 100, 300, 140)), confidence, CLASSES)
    assert (car.name, car.label, car.box, car.area) == ("car", 9, (200, 100, 300, 140), 4000)
    assert car.centre == (249.5, 119.5)
    assert car.score == pytest.approx(0.8)
    assert (car.thermal_median, car.thermal_maximum, car.id) == (None, None, 0)


def test_surfaces_and_specks_are_no_objects_and_the_largest_comes_first() -> None:
    mask = mask_of((9, 10, 10, 15, 15), (9, 100, 100, 130, 120), (8, 300, 100, 340, 220))
    found = find_objects(mask, np.full(SIZE, 200, np.uint8), CLASSES)
    assert [each.name for each in found] == ["person", "car"]
    assert not find_objects(np.ones(SIZE, np.uint8), mask, CLASSES)


def test_a_belt_does_not_cut_a_person_in_two_and_its_pixels_do_not_count() -> None:
    mask = mask_of((8, 300, 100, 330, 200))
    mask[150:153] = 1
    (found,) = find_objects(mask, np.full(SIZE, 200, np.uint8), CLASSES)
    assert found.box == (300, 100, 330, 200)
    assert found.area == 30 * 97


def test_thermal_values_leave_out_what_the_camera_does_not_see() -> None:
    temperature = np.full(SIZE, 20.0, np.float32)
    temperature[100:220, 300:320] = 30.0
    temperature[100:220, 320:340] = np.nan
    temperature[150, 310] = 36.5
    mask = mask_of((8, 300, 100, 340, 220), (9, 500, 100, 560, 140))
    temperature[100:140, 500:560] = np.nan
    whole, car = find_objects(mask, np.full(SIZE, 200, np.uint8), CLASSES, temperature)
    assert (whole.thermal_median, whole.thermal_maximum) == (30.0, 36.5)
    assert (car.thermal_median, car.thermal_maximum) == (None, None)


@pytest.mark.parametrize("gap", [52, 64])
def test_touching_people_are_cut_apart_by_the_cold_between_them(gap: int) -> None:
    heat = np.full(SIZE, 12.0, np.float32)
    mask = np.ones(SIZE, np.uint8)
    for x in (300, 300 + gap):
        person(heat, x, 300, 140, 30.0)
        person(mask, x, 300, 140, 8)
    mask[200:300, 300 : 300 + gap] = 8  # the network's mask has grown together
    found = find_objects(mask, np.full(SIZE, 200, np.uint8), CLASSES, cv2.blur(heat, (5, 5)))
    boxes = sorted(each.box for each in found)
    truth = np.array([(x - 25, 160, x + 26, 300) for x in (300, 300 + gap)], float)
    assert len(boxes) == 2
    assert iou(np.array(boxes, float), truth).diagonal().min() > 0.7


@pytest.mark.parametrize("height", [40, 140, 300])
def test_one_person_stays_one(height: int) -> None:
    heat, mask = np.full(SIZE, 12.0, np.float32), np.ones(SIZE, np.uint8)
    person(heat, 300, 350, height, 30.0)
    person(mask, 300, 350, height, 8)
    for temperature in (cv2.blur(heat, (5, 5)), None):
        found = find_objects(mask, np.full(SIZE, 200, np.uint8), CLASSES, temperature)
        assert len(found) == 1


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (200, 1), (3, 9), (30, 640)])
def test_any_region_can_be_cut_and_nothing_is_lost(size: tuple[int, int]) -> None:
    random = np.random.default_rng(3)
    shape = random.random(size) < 0.7
    for heat in (None, random.random(size, np.float32), np.full(size, np.nan, np.float32)):
        spans = split_upright(shape, heat)
        assert spans[0].start == 0
        assert spans[-1].stop == size[1]
        assert all(a.stop == b.start for a, b in pairwise(spans))
