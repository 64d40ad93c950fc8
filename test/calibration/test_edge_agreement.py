# SPDX-License-Identifier: Apache-2.0
"""Edges must agree where the pictures do, and padding must count for nothing."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.calibration.edge_agreement import Level, has_data


def blocks() -> NDArray[np.uint8]:
    random = np.random.default_rng(0)
    picture = np.full((240, 320), 90, np.uint8)
    for _ in range(40):
        x, y = random.integers(20, 280), random.integers(20, 200)
        picture[y : y + random.integers(8, 40), x : x + random.integers(8, 40)] = random.integers(
            1, 256
        )
    return picture


def test_agreement_is_best_where_the_pictures_agree() -> None:
    picture = blocks()
    level = Level([picture], [255 - picture], 160)
    shift = np.array([[1.0, 0, 3], [0, 1, 0], [0, 0, 1]])
    assert level.agreement(np.eye(3)) > 0.9
    assert level.agreement(shift) < 0.8


def test_each_half_reaches_all_over_the_picture() -> None:
    picture = blocks()
    halves = Level([picture], [picture], 160).checkerboard()
    np.testing.assert_array_equal(halves[0] + halves[1], 1.0)
    for half in halves:
        assert 0.4 < half[:60, :80].mean() < 0.6


def test_padding_is_distinguished_from_a_black_sky() -> None:
    picture = blocks()
    picture[:90] = 0
    turn = cv2.getRotationMatrix2D((159.5, 119.5), 3.0, 0.98)
    data = has_data(np.asarray(cv2.warpAffine(picture, turn, (320, 240))))
    assert not data[120, 0]
    assert data[20:80, 60:260].all()
    assert data[100:220, 20:300].mean() > 0.97
    assert has_data(blocks()).all()


def test_the_edge_of_the_padding_is_no_edge() -> None:
    picture = np.full((240, 320), 90, np.uint8)
    picture[80:160, 240:290] = 200
    picture[:, :20] = 0
    field = Level([picture], [picture], 160).thermal[0]
    assert np.abs(field[:, :90]).max() < 0.01
    assert np.abs(field[:, 110:]).max() > 0.5
