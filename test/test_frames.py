# SPDX-License-Identifier: Apache-2.0
"""What passes between the rooms is immutable."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from segmif_ros.frames import UNLABELLED, Pair, Result

IMAGE = np.zeros((2, 3), np.uint8)
COLOUR = np.zeros((2, 3, 3), np.uint8)


def test_frames_are_frozen_and_hold_no_copies() -> None:
    pair = Pair(COLOUR, IMAGE, 1, 2)
    assert pair.rgb is COLOUR
    with pytest.raises(FrozenInstanceError):
        pair.stamp_ns = 5  # type: ignore[misc]


def test_frames_compare_and_hash_by_identity() -> None:
    """Comparing arrays element by element would raise in a set or in a queue."""
    first, second = Pair(COLOUR, IMAGE, 1, 2), Pair(COLOUR, IMAGE, 1, 2)
    assert first != second
    assert len({first, second, first}) == 2


def test_perceptions_do_not_share_their_timings() -> None:
    first = Result(COLOUR, IMAGE, IMAGE, IMAGE, 1)
    second = Result(COLOUR, IMAGE, IMAGE, IMAGE, 1)
    assert first.timings_ms is not second.timings_ms


def test_unlabelled_is_the_last_id_that_mono8_holds() -> None:
    assert np.iinfo(np.uint8).max == UNLABELLED
