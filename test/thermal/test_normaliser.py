# SPDX-License-Identifier: Apache-2.0
"""Thermal rendering: the network's input, whatever the camera delivers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from segmif_ros.frames import PictureState
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
    assert steady < 2.0
    assert jump(follow_at_once()) > 10.0


def test_running_limits_reach_a_new_scene_and_can_be_forgotten() -> None:
    normaliser = ThermalNormaliser(ThermalSettings(smoothing=0.5))
    normaliser.normalise(ramp(1000, 2000, np.uint16))
    first = normaliser.limits
    normaliser.normalise(ramp(5000, 6000, np.uint16))
    assert first is not None
    assert normaliser.limits is not None
    assert normaliser.limits[0] == pytest.approx(first[0] + 2000.0, abs=5.0)
    for _ in range(60):
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
        ({"scale": 0.0}, "scale 0.0"),
        ({"scale": float("nan")}, "scale nan"),
        ({"offset": float("inf")}, "offset inf"),
        ({"plateau": 0.5}, "plateau 0.5"),
        ({"clahe": -1.0}, "clahe -1.0"),
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


ADAPTIVE = ("percentile", "plateau")


def street(dtype: type, *, hot: bool) -> NDArray[np.generic]:
    """A noisy wall, always the same, and perhaps an engine far above it."""
    frame = np.random.default_rng(7).normal(8000.0, 100.0, SIZE)
    if hot:
        frame[200:400, 200:400] = 16_000.0
    if dtype is np.float32:
        frame = frame / 100.0 - 50.0
    elif dtype is np.uint8:
        frame = frame / 80.0
    return frame.astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("mode", ADAPTIVE)
def test_no_background_pixel_flickers_when_a_hot_object_comes_and_goes(
    mode: str, dtype: type
) -> None:
    cold, warm = street(dtype, hot=False), street(dtype, hot=True)
    normaliser = ThermalNormaliser(ThermalSettings(mode=mode))
    before = first = normaliser.normalise(cold)
    for number in range(80):
        after = normaliser.normalise(warm if number < 40 else cold)
        change = np.abs(after[:200].astype(int) - before[:200])
        assert change.max() < 2, number
        before = after
        if number == 39:
            assert abs(float(after[:200].mean()) - float(first[:200].mean())) > 2.0
    assert normaliser.limits is not None


@pytest.mark.parametrize("mode", ADAPTIVE)
def test_a_dark_scene_with_a_hot_object_is_steady_too(mode: str) -> None:
    """The median lies at the black end there; that must not pass for a changed scene."""
    rng = np.random.default_rng(9)
    frame = rng.normal(8000.0, 20.0, SIZE)
    frame[100:200, 100:200] = 12_000.0
    entered = frame.copy()
    entered[300:400, 300:400] = 16_000.0
    normaliser = ThermalNormaliser(ThermalSettings(mode=mode))
    before = normaliser.normalise(frame.astype(np.uint16))
    for _ in range(20):
        after = normaliser.normalise(entered.astype(np.uint16))
        assert np.abs(after[:300].astype(int) - before[:300]).max() < 2
        before = after


@pytest.mark.parametrize("mode", ADAPTIVE)
def test_a_scene_that_left_the_window_is_reached_soon(mode: str) -> None:
    normaliser = ThermalNormaliser(ThermalSettings(mode=mode))
    normaliser.normalise(ramp(1000, 2000, np.uint16))
    assert normaliser.normalise(ramp(5000, 6000, np.uint16)).min() >= 100
    for _ in range(60):
        out = normaliser.normalise(ramp(5000, 6000, np.uint16))
    assert out.min() < 5
    assert 100 < np.median(out) < 155


def test_plateau_gives_crowded_values_more_contrast_but_not_any_amount() -> None:
    rng = np.random.default_rng(2)
    frame = rng.uniform(2000.0, 12_000.0, SIZE)
    crowd = rng.uniform(5000.0, 5200.0, (240, 640))
    frame[240:] = crowd
    frame = frame.astype(np.uint16)
    flat = follow_at_once().normalise(frame)
    for plateau in (1.0, 3.0, 10.0):
        settings = ThermalSettings(mode="plateau", plateau=plateau, smoothing=1.0)
        out = ThermalNormaliser(settings).normalise(frame)
        gain = np.ptp(out[240:].astype(float)) / np.ptp(flat[240:].astype(float))
        assert 0.5 * plateau < gain < plateau + 2.5, plateau
        order = np.argsort(frame.ravel(), kind="stable")
        assert (np.diff(out.ravel()[order].astype(int)) >= 0).all()


@pytest.mark.parametrize(
    ("dtype", "value", "noise"),
    [(np.uint16, 7000, 3), (np.uint16, 0, 3), (np.uint16, 65_535, 3), (np.uint8, 120, 2)],
)
@pytest.mark.parametrize("mode", ADAPTIVE)
def test_flat_scenes_stay_flat(mode: str, dtype: type, value: int, noise: int) -> None:
    rng = np.random.default_rng(5)
    full = int(np.iinfo(dtype).max)
    for spread in (0, noise):
        wanted = value + rng.integers(-spread, spread + 1, SIZE)
        out = ThermalNormaliser(ThermalSettings(mode=mode)).normalise(
            np.clip(wanted, 0, full).astype(dtype)
        )
        assert int(np.ptp(out)) <= 60
        if 0 < value < full and spread == 0:
            assert abs(float(out.mean()) - 127.5) < 8.0


def test_plateau_of_degrees_survives_nan_and_infinity_and_names_its_limits_in_degrees() -> None:
    frame = ramp(10.0, 35.0, np.float32)
    frame[0, :3] = np.nan, np.inf, -np.inf
    normaliser = ThermalNormaliser(ThermalSettings(mode="plateau"))
    out = normaliser.normalise(frame)
    np.testing.assert_array_equal(out[0, :3], [0, 255, 0])
    assert normaliser.limits == pytest.approx((10.25, 34.925), abs=0.1)
    with pytest.raises(ThermalError, match="without one finite value"):
        normaliser.normalise(np.full(SIZE, np.nan, np.float32))


@pytest.mark.parametrize(
    ("scale", "offset", "dtype", "pixels"),
    [
        (0.01, -273.15, np.uint16, [27_315, 28_315, 29_315]),  # centi-kelvin, TLinear high gain
        (0.04, -273.15, np.uint16, [6829, 7079, 7329]),  # TLinear of 0.04 K
        (0.5, -10.0, np.uint8, [20, 40, 60]),
        (1.0, -273.15, np.float32, [273.15, 283.15, 293.15]),
    ],
)
def test_range_takes_degrees_of_counts(
    scale: float, offset: float, dtype: type, pixels: list[float]
) -> None:
    """0, 10 and 20 degrees become black, half and white, whatever the camera counts in."""
    settings = ThermalSettings(mode="range", low=0.0, high=20.0, scale=scale, offset=offset)
    out = ThermalNormaliser(settings).normalise(np.array([pixels], dtype))
    np.testing.assert_allclose(out.astype(int), [[0, 127, 255]], atol=1)


@pytest.mark.parametrize("mode", THERMAL_MODES)
def test_clahe_raises_local_contrast_on_top_of_every_mode(mode: str) -> None:
    rng = np.random.default_rng(1)
    frame = (100 + 4 * np.sin(np.arange(640) / 6.0) + rng.normal(0, 1, SIZE)).astype(np.uint8)
    settings = ThermalSettings(mode=mode, low=0.0, high=255.0)
    plain = ThermalNormaliser(settings).normalise(frame)
    local = ThermalNormaliser(replace(settings, clahe=3.0)).normalise(frame)
    assert local.dtype == np.uint8
    assert local.shape == SIZE
    assert local.std() > 1.15 * plain.std()


FRAME_NS = 33_333_333


def film_with_a_shutter(jump: float) -> list[NDArray[np.uint16]]:
    """One live second, two of a frozen frame, two live ones that lie `jump` counts higher."""
    rng = np.random.default_rng(4)

    def live(shift: float) -> NDArray[np.uint16]:
        return (rng.normal(8000.0 + shift, 200.0, (120, 160))).astype(np.uint16)

    before = [live(0.0) for _ in range(30)]
    return before + [before[-1]] * 60 + [live(jump) for _ in range(60)]


@pytest.mark.parametrize("jump", [300.0, -300.0])
@pytest.mark.parametrize("mode", ADAPTIVE)
def test_a_shutter_is_bridged(mode: str, jump: float) -> None:
    """The rendering holds while frozen, then follows: not at once, yet faster than usual."""
    film = film_with_a_shutter(jump)
    watched, blind = (ThermalNormaliser(ThermalSettings(mode=mode)) for _ in range(2))
    medians, blind_medians, held = [], [], []
    for number, frame in enumerate(film):
        medians.append(float(np.median(watched.normalise(frame, number * FRAME_NS))))
        blind_medians.append(float(np.median(blind.normalise(frame))))
        if watched.freeze.state is PictureState.SHUTTER:
            held.append(watched.limits)
    assert watched.freeze.closures == 1
    assert watched.freeze.last_jump == pytest.approx(jump, abs=30.0)
    assert 50 <= len(held) < 60
    assert len(set(held)) == 1
    assert len(set(medians[40:90])) == 1
    frozen = medians[89]
    after = np.array(medians[90:])
    assert abs(after[0] - frozen) > 20.0  # the jump shows first
    assert np.abs(np.diff(after)).max() < 16.0  # then no step of its own
    excess = np.abs(after - frozen)
    blind_excess = np.abs(np.array(blind_medians[90:]) - frozen)
    assert excess[15] < 0.5 * excess[0]
    assert excess[15] < 0.75 * blind_excess[15]


@pytest.mark.data
@pytest.mark.parametrize("mode", ADAPTIVE)
def test_real_frames_are_drawn_with_contrast_in_every_adaptive_mode(
    mode: str, shared_data: Path
) -> None:
    for path in sorted((shared_data / "thermal16").glob("*_raw16.png")):
        frame = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        out = ThermalNormaliser(ThermalSettings(mode=mode)).normalise(frame)
        assert out.std() > 20, path.name
        assert np.percentile(out, 99.5) > 200, path.name


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


@pytest.mark.parametrize("hole", [np.nan, np.inf, np.finfo(np.float32).max])
@pytest.mark.parametrize("mode", ["percentile", "plateau"])
def test_a_hole_in_the_picture_leaves_the_rest_its_contrast(mode: str, hole: float) -> None:
    image = np.random.default_rng(4).normal(20.0, 5.0, (64, 80)).astype(np.float32)
    holes = image.copy()
    holes[:10] = hole
    settings = ThermalSettings(mode)
    plain = ThermalNormaliser(settings).normalise(image[10:])
    seen = ThermalNormaliser(settings).normalise(holes)[10:]
    assert np.abs(seen.astype(int) - plain).max() <= 2


def test_a_frame_of_nothing_but_the_largest_float_is_refused() -> None:
    with pytest.raises(ThermalError, match="without one finite value"):
        ThermalNormaliser().normalise(np.full(SIZE, 3e38, np.float32))


def test_a_scene_that_the_smallest_span_keeps_grey_is_reported() -> None:
    """A camera of 0.1 K a count that sees 4 K: 40 counts."""
    normaliser = follow_at_once()
    normaliser.normalise(ramp(2900, 2940, np.uint16))
    assert "thermal_minimum_span, 100" in normaliser.hint
    preset = follow_at_once(minimum_span=10.0)
    out = preset.normalise(ramp(2900, 2940, np.uint16))
    assert preset.hint == ""
    assert int(out.max()) - int(out.min()) > 240
    wide = follow_at_once()
    wide.normalise(ramp(7000, 9000, np.uint16))
    assert wide.hint == ""
    eight = ThermalNormaliser()
    eight.normalise(ramp(100, 110, np.uint8))
    assert eight.hint == "", "8 bits are left alone"
