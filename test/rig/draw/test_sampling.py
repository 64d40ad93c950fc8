# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np

from segmif_ros.rig.draw.sampling import training_frame


def test_a_seed_is_a_frame() -> None:
    first, again, other = (training_frame(seed) for seed in (12, 12, 13))
    assert first.rgb.shape == (480, 640, 3)
    assert first.thermal.shape == first.labels.shape == (480, 640)
    assert np.array_equal(first.rgb, again.rgb)
    assert np.array_equal(first.thermal, again.thermal)
    assert not np.array_equal(first.rgb, other.rgb)
    assert set(np.unique(first.labels)) <= {*range(1, 15), 255}


def test_distractors_change_the_pictures_and_are_no_road_users() -> None:
    plain, hard = training_frame(180005), training_frame(180005, distractors=True)
    new = (plain.thermal.astype(int) - hard.thermal > 300) | (
        hard.thermal.astype(int) - plain.thermal > 300
    )
    assert new.mean() > 0.002
    assert not np.isin(hard.labels[new & (plain.labels < 8)], range(8, 14)).any()
    hot = hard.thermal[hard.labels == 14].max() / 100.0
    assert hot > plain.thermal[plain.labels == 14].max() / 100.0 + 5.0
    road = (plain.labels == 1) & (hard.labels == 1)
    painted = np.abs(plain.rgb[road].astype(int) - hard.rgb[road]).max(axis=1) > 30
    assert painted.sum() > 100
