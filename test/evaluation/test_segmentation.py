# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest

from segmif_ros.evaluation.segmentation import Box, BoxScores, Confusion


def test_iou_equals_its_definition() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, (30, 40)).astype(np.uint8)
    truth[:3] = 255
    guess = rng.integers(0, 4, (30, 40)).astype(np.uint8)
    confusion = Confusion(4)
    confusion.add(truth, guess)
    known = truth != 255
    for label in range(4):
        a, b = (truth == label) & known, (guess == label) & known
        assert confusion.iou()[label] == pytest.approx((a & b).sum() / (a | b).sum())
    assert confusion.accuracy() == pytest.approx((truth == guess)[known].mean())
    assert confusion.mean_iou() == pytest.approx(confusion.iou()[1:].mean())


def test_images_add_up() -> None:
    rng = np.random.default_rng(1)
    pairs = [[rng.integers(0, 3, (8, 8)).astype(np.uint8) for _ in range(2)] for _ in range(3)]
    apart, together = Confusion(3), Confusion(3)
    for truth, guess in pairs:
        apart.add(truth, guess)
    together.add(*(np.concatenate(side) for side in zip(*pairs, strict=True)))
    assert np.array_equal(apart.matrix, together.matrix)


def test_absent_classes_do_not_count() -> None:
    confusion = Confusion(5)
    confusion.add(np.full((4, 4), 2, np.uint8), np.full((4, 4), 2, np.uint8))
    assert confusion.mean_iou() == 1.0
    assert math.isnan(confusion.iou()[3])
    assert math.isnan(Confusion(5).mean_iou())


def test_unlabelled_predictions_are_wrong_not_missing() -> None:
    confusion = Confusion(3)
    confusion.add(np.full((2, 2), 1, np.uint8), np.array([[1, 1], [255, 255]], np.uint8))
    assert confusion.iou()[1] == pytest.approx(0.5)


def test_boxes_are_hit_from_a_fifth_of_their_area() -> None:
    boxes = [Box(8, 0, 0, 10, 10), Box(8, 20, 0, 30, 10)]
    mask = np.zeros((20, 40), np.uint8)
    mask[0:2, 0:10] = 8  # exactly a fifth of the first
    mask[0:1, 20:30] = 8  # a tenth of the second
    mask[15:16, 0:10] = 8  # outside both
    scores = BoxScores()
    scores.add(boxes, mask, [8, 9])
    person = scores.summary()[8]
    assert person == {"boxes": 2, "hit": 0.5, "inside": pytest.approx(0.75)}
    car = scores.summary()[9]
    assert car["boxes"] == 0
    assert math.isnan(car["hit"])
    assert math.isnan(car["inside"])
