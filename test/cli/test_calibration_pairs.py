# SPDX-License-Identifier: Apache-2.0
"""What int8 is calibrated on: pairs as the node would give them to the network."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from nano_bundle import SIZE, write_pairs

from segmif_ros.cli.quantise import folder_pairs, rig_pairs
from segmif_ros.recordings.clips import ClipError


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    write_pairs(tmp_path / "pairs", 3)
    return tmp_path / "pairs"


def test_pairs_are_spread_scaled_and_come_alone_as_well(pairs: Path) -> None:
    found = folder_pairs(pairs, (32, 48), 2)
    assert len(found) == 4
    for rgb, thermal in found:
        assert rgb.shape == (32, 48, 3)
        assert thermal.shape == (32, 48)
        assert rgb.flags.c_contiguous
        assert thermal.flags.c_contiguous
    first, last, without_rgb, without_thermal = found
    assert not np.array_equal(first[0], last[0])
    assert not without_rgb[0].any()
    assert np.array_equal(without_rgb[1], first[1])
    assert not without_thermal[1].any()
    assert np.array_equal(without_thermal[0], first[0])


def test_thermal_counts_are_rendered_as_the_node_does(pairs: Path) -> None:
    counts = np.linspace(20_000, 30_000, SIZE[0] * SIZE[1]).reshape(SIZE).astype(np.uint16)
    cv2.imwrite(str(pairs / "infrared" / "pair0.png"), counts)
    _, thermal = folder_pairs(pairs, SIZE, 3)[0]
    assert thermal.dtype == np.uint8
    assert thermal.min() < 10
    assert thermal.max() > 245


@pytest.mark.parametrize(("text", "said"), [("pair9", "lists pair9"), ("", "lists nothing")])
def test_names_that_are_no_pairs_are_refused(
    text: str, said: str, pairs: Path, tmp_path: Path
) -> None:
    (tmp_path / "names.txt").write_text(text)
    with pytest.raises(ClipError, match=said):
        folder_pairs(pairs, SIZE, 3, tmp_path / "names.txt")


def test_the_rig_gives_pairs_without_pictures() -> None:
    found = rig_pairs(SIZE, 1)
    assert len(found) == 3
    assert found[0][0].shape == (*SIZE, 3)
    assert found[0][1].std() > 5.0
