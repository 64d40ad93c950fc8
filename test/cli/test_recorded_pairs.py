# SPDX-License-Identifier: Apache-2.0
"""Which recorded images are a pair."""

from __future__ import annotations

import numpy as np

from segmif_ros.cli.recorded_pairs import _matched

MS = 1_000_000


def stamps(*milliseconds: float) -> np.ndarray:
    return np.array([round(each * MS) for each in milliseconds], np.int64)


def test_the_nearest_stamp_is_the_partner_in_whatever_order_images_came() -> None:
    matched, nearest = _matched(stamps(1000, 1100, 1400), stamps(1095, 1010, 1040, 2000))
    assert matched.tolist() == [0, 1]
    assert nearest[matched].tolist() == [1, 0]


def test_stamps_that_were_never_set_make_no_pair() -> None:
    matched, nearest = _matched(stamps(0, 0, 1000), stamps(0, 1001))
    assert matched.tolist() == [2]
    assert nearest[2] == 1


def test_without_images_of_a_camera_there_is_no_pair() -> None:
    for rgb, thermal in ((stamps(), stamps(1)), (stamps(1), stamps())):
        matched, nearest = _matched(rgb, thermal)
        assert len(matched) == 0
        assert len(nearest) == len(rgb)


def test_an_hour_of_images_needs_no_table_of_all_against_all() -> None:
    rgb = np.arange(1, 108_001, dtype=np.int64) * 33 * MS
    thermal = rgb + 5 * MS
    matched, nearest = _matched(rgb, thermal)
    assert len(matched) == len(rgb)
    np.testing.assert_array_equal(nearest, np.arange(len(rgb)))
