# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from segmif_ros.bundle import LabelClass
from segmif_ros.datasets.classes import load_classes
from segmif_ros.report.confusion_picture import confusion_picture

THREE = tuple(LabelClass(i, f"class {i}", (250, 10 * i, 0)) for i in range(3))


def test_rows_without_truth_are_left_out() -> None:
    matrix = np.diag([5, 7, 0])
    full = confusion_picture(np.diag([5, 7, 9]), THREE)
    less = confusion_picture(matrix, THREE)
    assert less.shape[0] < full.shape[0]
    assert less.shape[1] <= full.shape[1]
    matrix[0, 2] = 1  # it occurs, so its column is shown
    assert confusion_picture(matrix, THREE).shape[0] == less.shape[0]


def test_rows_are_normalised() -> None:
    """A class of few pixels is drawn as one of many."""
    matrix = np.array([[80, 20, 0], [1, 4, 0], [0, 0, 3]])
    assert np.array_equal(
        confusion_picture(matrix, THREE),
        confusion_picture(matrix * np.array([[1000], [1], [7]]), THREE),
    )
    assert not np.array_equal(confusion_picture(matrix, THREE), confusion_picture(matrix.T, THREE))


def test_long_names_and_titles_fit() -> None:
    classes = load_classes("fmb15")
    picture = confusion_picture(np.ones((15, 15), np.int64), classes, "A title", "and more")
    assert picture.shape[0] > 700
    assert picture.shape[1] > 700
    paper = picture[0, 0]
    for edge in (picture[0], picture[-1], picture[:, 0], picture[:, -1]):
        assert (edge == paper).all()


def test_nothing_to_draw_is_said() -> None:
    with pytest.raises(ValueError, match="empty"):
        confusion_picture(np.zeros((3, 3), np.int64), THREE)
