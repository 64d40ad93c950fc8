# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import cv2
import numpy as np
import pytest

from segmif_ros.metrics.segmentation import boundary_counts, boundary_distance


def eroded_away(region: np.ndarray, distance: int) -> np.ndarray:
    """The paper's own definition: pad by one, erode 3x3 so many times, take what is lost."""
    padded = cv2.copyMakeBorder(region.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    inner = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=distance)[1:-1, 1:-1]
    return region & (inner == 0)


def blobs(seed: int, classes: int, size: tuple[int, int] = (60, 80)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, classes, (6, 8)).astype(np.uint8)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_NEAREST)


@pytest.mark.parametrize("dilation", [0.01, 0.02, 0.1])
def test_every_class_gets_what_erosion_of_its_mask_leaves(dilation: float) -> None:
    truth, guess = blobs(0, 4), blobs(1, 4)
    distance = boundary_distance((60, 80), dilation)
    both, in_truth, in_guess = boundary_counts(truth, guess, 4, dilation=dilation)
    for label in range(4):
        a, b = (eroded_away(mask == label, distance) for mask in (truth, guess))
        assert both[label] == (a & b).sum()
        assert in_truth[label] == a.sum()
        assert in_guess[label] == b.sum()


def test_no_outline_runs_along_what_is_not_known() -> None:
    """A class that ends where the truth ends has not ended there."""
    truth = np.full((60, 80), 1, np.uint8)
    truth[:, 50:] = 255
    both, in_truth, in_guess = boundary_counts(truth, np.full_like(truth, 1), 2)
    distance = boundary_distance((60, 80))
    frame = 60 * 50 - (60 - 2 * distance) * (50 - distance)
    assert both.tolist() == in_truth.tolist() == in_guess.tolist() == [0, frame]


def test_ignored_ids_are_not_known() -> None:
    truth, guess = blobs(2, 4), blobs(3, 4)
    hidden = np.where(truth == 2, 255, truth).astype(np.uint8)
    by_id = boundary_counts(truth, guess, 4, ignored=(2, 255))
    assert np.array_equal(by_id, boundary_counts(hidden, guess, 4))
    assert not np.array_equal(by_id, boundary_counts(truth, guess, 4))


def test_distance_is_a_share_of_the_diagonal() -> None:
    assert boundary_distance((480, 640)) == 16
    assert boundary_distance((8, 8)) == 1
