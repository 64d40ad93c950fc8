# SPDX-License-Identifier: Apache-2.0
"""Arrays that are reused as long as they fit."""

from __future__ import annotations

import numpy as np
import pytest

from segmif_ros.frames import Buffers


def test_the_same_name_gives_the_same_array_with_what_was_in_it() -> None:
    buffers = Buffers()
    buffers.take("a", (4, 6))[:] = 7
    again = buffers.take("a", (4, 6))
    assert again.dtype == np.uint8
    assert (again == 7).all()
    assert again.flags.c_contiguous


@pytest.mark.parametrize(("shape", "dtype"), [((6, 4), np.uint8), ((4, 6), np.uint16)])
def test_another_size_or_type_is_a_new_array(shape: tuple[int, int], dtype: type) -> None:
    buffers = Buffers()
    old = buffers.take("a", (4, 6))
    new = buffers.take("a", shape, dtype)
    assert (new.shape, new.dtype) == (shape, dtype)
    assert not np.shares_memory(old, new)
    assert buffers.take("a", shape, dtype) is new


def test_two_names_and_two_owners_never_share() -> None:
    buffers, other = Buffers(), Buffers()
    arrays = [buffers.take("a", (4, 6)), buffers.take("b", (4, 6)), other.take("a", (4, 6))]
    assert len({array.ctypes.data for array in arrays}) == 3
