# SPDX-License-Identifier: Apache-2.0
"""Thermal rendering: what the network sees, whatever the camera delivers."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from segmif_ros.thermal import (
    THERMAL_MODES,
    ThermalError,
    ThermalNormaliser,
    ThermalSettings,
)

SIZE = (480, 640)


def ramp(low: float, high: float, dtype: type) -> NDArray[np.generic]:
    """Values that rise evenly from low to high over the whole frame."""
    return np.linspace(low, high, SIZE[0] * SIZE[1]).reshape(SIZE).astype(dtype)


def follow_at_once(**settings: float) -> ThermalNormaliser:
    return ThermalNormaliser(ThermalSettings(mode="percentile", smoothing=1.0, **settings))


@pytest.mark.parametrize("mode", ["auto", "passthrough"])
def test_8_bit_frames_pass_without_a_copy(mode: str) -> None:
    frame = np.random.default_rng(0).integers(0, 256, SIZE, np.uint8)
    assert ThermalNormaliser(ThermalSettings(mode=mode)).normalise(frame) is frame


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [(0, 16383, np.uint16), (20_000, 65_535, np.uint16), (-20.0, 180.0, np.float32)],
)
def test_percentiles_become_black_and_white(low: float, high: float, dtype: type) -> None:
    normaliser = follow_at_once(low_percentile=1.0, high_percentile=99.0)
    out = normaliser.normalise(ramp(low, high, dtype))
    assert out.dtype == np.uint8
    assert out.shape == SIZE
    assert normaliser.limits is not None
    span = high - low
    black, white = normaliser.limits
    assert black == pytest.approx(low + 0.01 * span, abs=span / 200)
    assert white == pytest.approx(high - 0.01 * span, abs=span / 200)
    # A linear ramp stays linear between the limits and saturates outside of them.
    values = np.linspace(low, high, out.size).reshape(SIZE)
    expected = np.clip((values - black) / (white - black), 0.0, 1.0) * 255.0
    assert np.abs(out - expected).max() < 1.0
    assert (np.diff(out.ravel().astype(int)) >= 0).all()


def test_limits_hardly_depend_on_the_grid_they_are_taken_on() -> None:
    rng = np.random.default_rng(3)
    frame = rng.normal(8000.0, 900.0, (512, 640)).astype(np.uint16)
    normaliser = follow_at_once()
    normaliser.normalise(frame)
    exact = np.percentile(frame, (1.0, 99.7))
    assert normaliser.limits == pytest.approx(tuple(exact), abs=0.02 * (exact[1] - exact[0]))


@pytest.mark.parametrize("shape", [(1, 1), (60, 80), (1, 200_000), (1024, 1280)])
def test_frames_of_any_size_are_rendered(shape: tuple[int, int]) -> None:
    frame = np.full(shape, 5000, np.uint16)
    frame.flat[0] = 9000
    assert ThermalNormaliser().normalise(frame).shape == shape


def test_nan_is_black_and_infinity_saturates() -> None:
    frame = ramp(0.0, 100.0, np.float32)
    frame[0, 0], frame[0, 1], frame[0, 2] = np.nan, np.inf, -np.inf
    frame[100:150] = frame[362:412] = np.nan
    before = frame.copy()
    out = follow_at_once(minimum_span=1.0).normalise(frame)
    np.testing.assert_array_equal(out[0, :3], [0, 255, 0])
    assert (out[100:150] == 0).all()
    assert abs(int(out[256, 0]) - 127) <= 12
    np.testing.assert_array_equal(frame, before)  # the caller's frame is not touched


def test_a_frame_without_a_finite_value_is_refused_and_changes_nothing() -> None:
    normaliser = follow_at_once()
    normaliser.normalise(ramp(0.0, 100.0, np.float32))
    limits = normaliser.limits
    with pytest.raises(ThermalError, match="without one finite value"):
        normaliser.normalise(np.full(SIZE, np.nan, np.float32))
    assert normaliser.limits == limits


def test_a_flat_scene_stays_grey_and_its_noise_small() -> None:
    rng = np.random.default_rng(5)
    frame = (7000 + rng.integers(-2, 3, SIZE)).astype(np.uint16)
    out = follow_at_once(minimum_span=100.0).normalise(frame)
    assert abs(float(out.mean()) - 127.5) < 6.0
    assert int(np.ptp(out)) <= 12


def test_by_itself_the_smallest_span_fits_counts_and_degrees() -> None:
    """A street of 15 degrees Celsius fills the picture; centi-kelvin noise still does not."""
    degrees = follow_at_once().normalise(ramp(10.0, 25.0, np.float32))
    assert int(np.ptp(degrees)) == 255
    counts = follow_at_once().normalise(ramp(7000, 7010, np.uint16))
    assert 20 <= int(np.ptp(counts)) <= 30
    flat = follow_at_once().normalise(ramp(20.0, 20.1, np.float32))
    assert int(np.ptp(flat)) <= 15


def test_a_constant_frame_is_mid_grey() -> None:
    out = follow_at_once(minimum_span=100.0).normalise(np.full(SIZE, 7000, np.uint16))
    assert set(np.unique(out)) <= {127, 128}


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_range_maps_its_ends_to_black_and_white(dtype: type) -> None:
    normaliser = ThermalNormaliser(ThermalSettings(mode="range", low=1000.0, high=2000.0))
    frame = np.array([[0, 1000, 1200, 2000, 60_000]], dtype)
    np.testing.assert_array_equal(normaliser.normalise(frame), [[0, 0, 51, 255, 255]])
    assert normaliser.limits is None


def test_range_works_on_8_bit_and_on_degrees_below_zero() -> None:
    eight = ThermalNormaliser(ThermalSettings(mode="range", low=50.0, high=100.0))
    np.testing.assert_array_equal(
        eight.normalise(np.array([[0, 50, 60, 100, 255]], np.uint8)), [[0, 0, 51, 255, 255]]
    )
    celsius = ThermalNormaliser(ThermalSettings(mode="range", low=-40.0, high=60.0))
    np.testing.assert_array_equal(
        celsius.normalise(np.array([[-50.0, -40.0, -20.0, 60.0]], np.float32)), [[0, 0, 51, 255]]
    )


def test_a_narrow_range_far_from_zero_keeps_its_precision() -> None:
    normaliser = ThermalNormaliser(ThermalSettings(mode="range", low=60_000.0, high=60_004.0))
    frame = np.arange(59_999, 60_006, dtype=np.uint16)[None]  # a count is 63.75 grey levels
    np.testing.assert_array_equal(normaliser.normalise(frame), [[0, 0, 64, 128, 191, 255, 255]])


def test_the_background_stays_steady_when_a_hot_object_enters() -> None:
    rng = np.random.default_rng(7)

    def scene(*, engine: bool) -> NDArray[np.uint16]:
        frame = rng.normal(8000.0, 100.0, SIZE)
        if engine:
            frame[200:300, 200:300] = 16_000.0
        return frame.astype(np.uint16)

    def jump(normaliser: ThermalNormaliser) -> float:
        for _ in range(5):
            before = normaliser.normalise(scene(engine=False))
        after = normaliser.normalise(scene(engine=True))
        return abs(float(np.median(after[:150])) - float(np.median(before[:150])))

    steady = jump(ThermalNormaliser(ThermalSettings(mode="percentile", smoothing=0.02)))
    assert steady < 30.0
    assert jump(follow_at_once()) > 3.0 * steady


def test_running_limits_reach_a_new_scene_and_can_be_forgotten() -> None:
    normaliser = ThermalNormaliser(ThermalSettings(smoothing=0.5))
    normaliser.normalise(ramp(1000, 2000, np.uint16))
    first = normaliser.limits
    normaliser.normalise(ramp(5000, 6000, np.uint16))
    assert first is not None
    assert normaliser.limits is not None
    assert normaliser.limits[0] == pytest.approx(first[0] + 2000.0, abs=5.0)
    for _ in range(20):
        normaliser.normalise(ramp(5000, 6000, np.uint16))
    assert normaliser.limits[0] == pytest.approx(5010.0, abs=5.0)
    normaliser.reset()
    assert normaliser.limits is None


def test_another_type_of_frame_starts_with_limits_of_its_own() -> None:
    """A camera that changes from counts to degrees must not be judged by its old unit."""
    normaliser = ThermalNormaliser(ThermalSettings(smoothing=0.1, minimum_span=1.0))
    normaliser.normalise(ramp(28_000, 31_000, np.uint16))
    out = normaliser.normalise(ramp(7.0, 37.0, np.float32))
    assert normaliser.limits == pytest.approx((7.3, 36.9), abs=0.15)
    assert int(np.ptp(out)) == 255


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_views_into_messages_are_rendered_like_their_copies(dtype: type) -> None:
    rng = np.random.default_rng(11)
    padded = rng.integers(0, 250, (120, 200)).astype(dtype)
    view = padded[:, :160]
    view.flags.writeable = False
    settings = ThermalSettings(mode="range", low=10.0, high=200.0)
    np.testing.assert_array_equal(
        ThermalNormaliser(settings).normalise(view),
        ThermalNormaliser(settings).normalise(view.copy()),
    )


@pytest.mark.parametrize(
    ("frame", "named"),
    [
        (np.zeros((4, 4, 3), np.uint8), "(4, 4, 3)"),
        (np.zeros((4, 4, 1), np.uint16), "(4, 4, 1)"),
        (np.zeros(16, np.uint16), "(16,)"),
        (np.zeros((0, 4), np.uint16), "(0, 4)"),
        (np.zeros((4, 4), np.int16), "int16"),
        (np.zeros((4, 4), np.float64), "float64"),
        (np.zeros((4, 4), ">u2"), ">u2"),
    ],
)
def test_frames_of_another_kind_are_refused(frame: NDArray[np.generic], named: str) -> None:
    with pytest.raises(ThermalError) as caught:
        ThermalNormaliser().normalise(frame)
    assert named in str(caught.value)
    assert "expected HxW of uint8, uint16 or float32" in str(caught.value)


def test_passthrough_of_16_bit_says_which_modes_would_do() -> None:
    normaliser = ThermalNormaliser(ThermalSettings(mode="passthrough"))
    with pytest.raises(ThermalError, match="uint16 frames; set thermal_mode to 'percentile'"):
        normaliser.normalise(np.zeros(SIZE, np.uint16))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"mode": "agc"}, "'agc'"),
        ({"low_percentile": -1.0}, "-1.0"),
        ({"low_percentile": 60.0, "high_percentile": 60.0}, "60.0 and 60.0"),
        ({"high_percentile": 100.5}, "100.5"),
        ({"high_percentile": float("nan")}, "nan"),
        ({"smoothing": 0.0}, "smoothing 0.0"),
        ({"smoothing": 1.1}, "smoothing 1.1"),
        ({"minimum_span": -1.0}, "minimum_span -1.0"),
        ({"minimum_span": float("nan")}, "minimum_span nan"),
        ({"mode": "range", "low": 5.0, "high": 5.0}, "5.0..5.0"),
        ({"mode": "range", "high": float("inf")}, "0.0..inf"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, object], named: str) -> None:
    with pytest.raises(ThermalError) as caught:
        ThermalSettings(**settings)  # type: ignore[arg-type]
    assert named in str(caught.value)
    assert "expected" in str(caught.value)


def test_every_mode_is_accepted_and_renders_8_bit() -> None:
    for mode in THERMAL_MODES:
        out = ThermalNormaliser(ThermalSettings(mode=mode)).normalise(np.zeros(SIZE, np.uint8))
        assert out.dtype == np.uint8


@pytest.mark.data
def test_real_radiometric_frames_use_the_whole_range(shared_data: Path) -> None:
    paths = sorted((shared_data / "thermal16").glob("*_raw16.png"))
    assert len(paths) >= 10
    for path in paths:
        frame = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert frame.dtype == np.uint16, path.name
        normaliser = ThermalNormaliser()
        out = normaliser.normalise(frame)
        assert normaliser.limits is not None
        low, high = normaliser.limits
        assert frame.min() - 50 <= low < high <= frame.max() + 50, path.name
        dark, bright = np.percentile(out, (2, 99.5))
        assert dark < 40, path.name
        assert bright > 200, path.name
        assert out.std() > 20, path.name
        # Order is kept: hotter is never darker.
        flat = np.argsort(frame.ravel(), kind="stable")
        assert (np.diff(out.ravel()[flat].astype(int)) >= 0).all(), path.name


def test_a_cold_sky_leaves_the_grey_levels_to_the_street() -> None:
    """A third of the picture at -30 C, street around 15 C, a person at 33 C, in 0.01 K."""
    rng = np.random.default_rng(0)
    frame = rng.normal(28_815, 60, (480, 640)).astype(np.uint16)
    frame[:160] = 24_315
    frame[300:400, 300:330] = 30_615
    out = ThermalNormaliser().normalise(frame)
    assert (out[:160] == 0).all()
    assert 100 <= out[200:].mean() <= 155
    assert out[300:400, 300:330].min() > 240
