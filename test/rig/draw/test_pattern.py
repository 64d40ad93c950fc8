# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from segmif_ros.rig.cameras.cameras import Rig
from segmif_ros.rig.draw.pattern import Pattern
from segmif_ros.rig.scene.labels import Label


@pytest.mark.parametrize(("encoding", "dtype"), [("mono16", np.uint16), ("mono8", np.uint8)])
def test_neighbouring_pictures_differ_and_fit_the_cameras(encoding: str, dtype: type) -> None:
    pattern = Pattern(Rig.default(), encoding=encoding)
    assert pattern.prepare(lambda *_: False)
    rgb, labels = pattern.visible(7)
    thermal = pattern.thermal(7)
    assert (rgb.shape, rgb.dtype, labels.shape) == ((480, 640, 3), np.uint8, (480, 640))
    assert (thermal.shape, thermal.dtype) == ((512, 640), dtype)
    assert (rgb != pattern.visible(8)[0]).mean() > 0.5
    assert (thermal != pattern.thermal(8)).mean() > 0.5
    assert (labels == Label.UNLABELLED).all()
    if encoding == "mono16":
        assert 27_000 < thermal.min() < thermal.max() < 31_000


def test_numbers_may_be_large() -> None:
    pattern = Pattern(Rig.aligned(), encoding="mono8")
    number = 10**12
    np.testing.assert_array_equal(pattern.thermal(number), pattern.thermal(number + 160))
