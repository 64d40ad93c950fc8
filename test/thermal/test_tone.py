# SPDX-License-Identifier: Apache-2.0
"""Rendering values into grey levels: exact on every path, into the caller's array."""

from __future__ import annotations

import numpy as np
import pytest

from segmif_ros.frames import Buffers
from segmif_ros.thermal import ThermalNormaliser, ThermalSettings
from segmif_ros.thermal.tone import draw_curve, percentiles, stretch

VALUES = np.arange(65536, dtype=np.uint16).reshape(256, 256)


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (7300.0, 8300.0),
        (7300.4, 7800.9),  # half a grey level behind the point
        (7300.98, 7400.5),  # a narrow window: one count is more than two grey levels
        (7300.999, 7301.5),
        (-40.3, 65600.2),
        (0.0, 65535.0),
        (65534.5, 65535.5),
    ],
)
def test_counts_become_the_grey_levels_of_the_formula(low: float, high: float) -> None:
    exact = np.clip((VALUES.astype(np.float64) - low) * (255.0 / (high - low)), 0.0, 255.0)
    out = stretch(VALUES, low, high)
    # A tie may round either way.
    assert np.abs(out - exact).max() <= 0.5 + 1e-2
    np.testing.assert_array_equal(out[low >= VALUES], 0)
    np.testing.assert_array_equal(out[high <= VALUES], 255)
    np.testing.assert_allclose(out, stretch(VALUES.astype(np.float32), low, high), atol=1)


def test_what_is_no_number_is_black_and_the_infinite_saturates() -> None:
    image = np.array([[np.nan, -np.inf, np.inf, 15.0]], np.float32)
    np.testing.assert_array_equal(stretch(image, 10.0, 20.0), [[0, 0, 255, 128]])
    assert np.isnan(image[0, 0])  # the camera's frame is not written to


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("mode", ["percentile", "range", "plateau"])
@pytest.mark.parametrize("clahe", [0.0, 2.0])
def test_the_rendering_goes_into_the_array_that_was_given(
    dtype: type, mode: str, clahe: float
) -> None:
    frame = np.random.default_rng(1).integers(10, 250, (48, 64)).astype(dtype)
    settings = ThermalSettings(mode=mode, low=0.0, high=255.0, clahe=clahe)  # type: ignore[arg-type]
    expected = ThermalNormaliser(settings).normalise(frame)
    out = np.full((48, 64), 77, np.uint8)
    assert ThermalNormaliser(settings).normalise(frame, out=out) is out
    np.testing.assert_array_equal(out, expected)


def test_without_an_array_every_rendering_is_its_own() -> None:
    normaliser = ThermalNormaliser(ThermalSettings(mode="range", low=0.0, high=100.0))
    first = normaliser.normalise(np.full((8, 8), 20, np.uint16))
    normaliser.normalise(np.full((8, 8), 80, np.uint16))
    assert (first == 51).all()


def test_intermediate_results_are_reused() -> None:
    buffers = Buffers()
    stretch(VALUES, 7300.0, 8300.0, buffers=buffers)
    kept = buffers.take("above", VALUES.shape, np.uint16)
    stretch(VALUES[::-1], 7300.0, 8300.0, buffers=buffers)
    assert buffers.take("above", VALUES.shape, np.uint16) is kept


def test_a_curve_is_drawn_into_the_array_that_was_given() -> None:
    out = np.empty((256, 256), np.uint8)
    curve = np.linspace(0.0, 255.0, 65536, dtype=np.float32)
    assert np.shares_memory(draw_curve(VALUES, curve, out), out)
    np.testing.assert_array_equal(out, draw_curve(VALUES, curve))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_percentiles_are_those_of_numpy(dtype: type) -> None:
    rng = np.random.default_rng(0)
    top = 255 if dtype is np.uint8 else 65535
    shares = (0.0, 0.3, 1.0, 50.0, 99.7, 100.0)
    for spread, count in ((2, 1), (9, 2), (200, 101), (top, 5_000)):
        sample = (top - rng.integers(0, spread, (count, 3))).astype(dtype)
        assert percentiles(sample, shares) == pytest.approx(np.percentile(sample, shares))
