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
