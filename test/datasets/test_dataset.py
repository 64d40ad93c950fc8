# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from segmif_ros.datasets.dataset import held_out


def test_whole_blocks_are_held_out_and_none_by_default() -> None:
    assert held_out(160, 0) == []
    kept = held_out(160, 5)
    assert len(kept) == 32
    assert kept[:9] == [32, 33, 34, 35, 36, 37, 38, 39, 72]
    assert held_out(36, 5) == [32, 33, 34, 35]
