# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import cv2
import numpy as np
import pytest
from time_code_reader import read_bars

from segmif_ros.rig.cameras.cameras import Rig
from segmif_ros.rig.draw.pattern import WRAP_MS, Pattern, write_code
from segmif_ros.rig.scene.scene import Label


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


RNG = np.random.default_rng(3)


@pytest.mark.parametrize("shape", [(120, 160), (120, 160, 3), (480, 640, 3), (61, 83)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("number", [0, 1, 123_456, WRAP_MS - 1])
def test_what_is_written_is_read(shape: tuple[int, ...], dtype: type, number: int) -> None:
    picture = RNG.integers(20, 200, shape, dtype)
    coded = write_code(picture, number)
    assert read_bars(coded) == (number, number)
    middle = slice(shape[0] // 5, -shape[0] // 5)
    np.testing.assert_array_equal(coded[middle], picture[middle])
    assert coded.min() >= 20


def test_it_survives_scaling_down_and_up() -> None:
    coded = write_code(RNG.integers(0, 256, (120, 160, 3), np.uint8), 7_654_321)
    small = cv2.resize(coded, (80, 60), interpolation=cv2.INTER_AREA)
    large = cv2.resize(small, (160, 120), interpolation=cv2.INTER_LINEAR)
    assert read_bars(small) == read_bars(large) == (7_654_321, 7_654_321)
    assert read_bars(coded[::2, ::2]) == (7_654_321, 7_654_321)


def test_numbers_begin_again_after_the_last() -> None:
    assert read_bars(write_code(RNG.integers(0, 256, (60, 80), np.uint8), WRAP_MS + 5)) == (5, 5)


def test_torn_pictures_have_two_numbers_and_others_none() -> None:
    picture = RNG.integers(0, 256, (120, 160), np.uint8)
    torn = np.vstack([write_code(picture, 100)[:60], write_code(picture, 133)[60:]])
    assert read_bars(torn) == (100, 133)
    assert read_bars(np.zeros((120, 160), np.uint8)) == (None, None)
    assert read_bars(np.full((120, 160, 3), 255, np.uint8)) == (None, None)
    found = [read_bars(RNG.integers(0, 256, (120, 160), np.uint8)) for _ in range(50)]
    assert sum(top is not None for top, _ in found) <= 3
