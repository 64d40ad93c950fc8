# SPDX-License-Identifier: Apache-2.0
"""The whole chain on arrays: order of the stages, sizes, thresholds, times."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from segmif_ros.bundle import Bundle
from segmif_ros.engines import open_engine
from segmif_ros.engines.base import EngineError, Inference
from segmif_ros.frames import Image8, Pair, Result, ThermalImage
from segmif_ros.perceiver import Perceiver
from segmif_ros.registration import Calibration, Registration, RegistrationError
from segmif_ros.thermal import ThermalError, ThermalNormaliser, ThermalSettings

SIZE = (480, 640)


def pair_of(rgb: Image8, thermal: ThermalImage) -> Pair:
    return Pair(rgb, thermal, 1_000_000_007, 1_000_000_003, "rgb_optical")


def rgb_of(size: tuple[int, int] = SIZE) -> Image8:
    return np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)


class SpyEngine:
    """An engine of a small size that keeps what it was given."""

    name = "spy"
    size = (8, 12)

    def __init__(self) -> None:
        self.closed = 0
        self.rgb: Image8 = np.empty(0, np.uint8)
        self.thermal: Image8 = np.empty(0, np.uint8)

    def infer(self, rgb: Image8, thermal: Image8) -> Inference:
        assert rgb.flags.c_contiguous
        assert thermal.flags.c_contiguous
        self.rgb, self.thermal = rgb, thermal
        mask = np.zeros(self.size, np.uint8)
        mask[:, 6:] = 13
        return Inference(rgb, mask, thermal)

    def describe(self) -> Mapping[str, str]:
        return {}

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def perceiver(loaded_bundle: Bundle) -> Iterator[Perceiver]:
    made = Perceiver(open_engine("onnxruntime", loaded_bundle, threads=1))
    yield made
    made.close()


def test_a_pair_of_the_engines_size_gives_the_known_answer(perceiver: Perceiver) -> None:
    rgb, thermal = rgb_of(), np.zeros(SIZE, np.uint8)
    thermal[:, 320:] = 200
    out = perceiver.perceive(pair_of(rgb, thermal))
    np.testing.assert_array_equal(out.fused, rgb)
    np.testing.assert_array_equal(out.mask, np.where(thermal > 127, 8, 1))
    np.testing.assert_array_equal(out.confidence, thermal)
    np.testing.assert_array_equal(out.thermal, thermal)


def test_stamp_and_frame_are_those_of_the_rgb_image(perceiver: Perceiver) -> None:
    out = perceiver.perceive(pair_of(rgb_of(), np.zeros(SIZE, np.uint8)))
    assert (out.stamp_ns, out.frame_id) == (1_000_000_007, "rgb_optical")


def test_every_stage_is_timed(perceiver: Perceiver) -> None:
    out = perceiver.perceive(pair_of(rgb_of(), np.zeros(SIZE, np.uint16)))
    assert list(out.timings_ms) == ["thermal", "registration", "inference"]
    assert all(time >= 0.0 for time in out.timings_ms.values())
    assert sum(out.timings_ms.values()) > 0.0


@pytest.mark.parametrize(
    ("rgb_size", "thermal_size"),
    [((960, 1280), (512, 640)), ((240, 320), (60, 80)), ((481, 637), (480, 640))],
)
def test_other_sizes_come_back_at_the_size_of_the_rgb_image(
    perceiver: Perceiver, rgb_size: tuple[int, int], thermal_size: tuple[int, int]
) -> None:
    rgb = cv2.GaussianBlur(rgb_of(rgb_size), (0, 0), 8)
    thermal = np.zeros(thermal_size, np.uint8)
    thermal[:, thermal_size[1] // 2 :] = 255
    out = perceiver.perceive(pair_of(rgb, thermal))
    assert out.fused.shape == (*rgb_size, 3)
    assert out.mask.shape == out.confidence.shape == out.thermal.shape == rgb_size
    # Nearest neighbour for ids: no third id may appear between 1 and 8.
    assert set(np.unique(out.mask)) == {1, 8}
    border = np.argmax(out.mask[rgb_size[0] // 2] == 8)
    assert abs(int(border) - rgb_size[1] / 2) <= rgb_size[1] / 80
    assert cv2.absdiff(out.fused, rgb).mean() < 2.0


def test_thermal_is_normalised_then_registered_then_seen_by_the_engine() -> None:
    engine = SpyEngine()
    thermal = np.full((8, 12), 1000, np.uint16)
    thermal[2, 3] = 2000
    perceiver = Perceiver(
        engine,
        ThermalNormaliser(ThermalSettings(mode="range", low=0.0, high=2000.0)),
        Registration(Calibration((8, 12), (8, 12), np.array([[1.0, 0, 4], [0, 1, 1], [0, 0, 1]]))),
    )
    out = perceiver.perceive(pair_of(rgb_of((8, 12)), thermal))
    assert engine.thermal[3, 7] == 255
    assert engine.thermal[5, 5] == 128
    assert not engine.thermal[0].any()  # black outside the view, not a rendered temperature
    assert not engine.thermal[:, :4].any()
    np.testing.assert_array_equal(out.thermal, engine.thermal)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_radiometric_frames_are_stretched(perceiver: Perceiver, dtype: type) -> None:
    thermal = np.full(SIZE, 7300, dtype)
    thermal[100:300, 100:300] = 9000
    out = perceiver.perceive(pair_of(rgb_of(), thermal))
    assert (out.mask[150:250, 150:250] == 8).all()
    assert (out.mask[350:] == 1).all()


def test_doubtful_pixels_become_unlabelled(loaded_bundle: Bundle) -> None:
    thermal = np.tile(np.arange(256, dtype=np.uint8), (480, 3))[:, :640]
    engine = open_engine("onnxruntime", loaded_bundle, threads=1)
    out = Perceiver(engine, confidence_threshold=0.6).perceive(pair_of(rgb_of(), thermal))
    np.testing.assert_array_equal(out.mask == 255, out.confidence < 153)
    np.testing.assert_array_equal(out.mask[out.confidence >= 153], 8)


@pytest.mark.parametrize(("threshold", "unlabelled"), [(0.0, 0), (1.0, 254), (0.5, 127)])
def test_the_threshold_counts_in_probability(threshold: float, unlabelled: int) -> None:
    engine = SpyEngine()
    perceiver = Perceiver(engine, confidence_threshold=threshold)
    mask = perceiver.perceive(pair_of(rgb_of((8, 12)), np.full((8, 12), unlabelled, np.uint8))).mask
    assert set(np.unique(mask)) == ({255} if unlabelled else {0, 13})


def test_class_0_is_a_class_and_no_hole() -> None:
    perceiver = Perceiver(SpyEngine(), confidence_threshold=0.5)
    mask = perceiver.perceive(pair_of(rgb_of((8, 12)), np.full((8, 12), 255, np.uint8))).mask
    assert (mask[:, :6] == 0).all()
    assert (mask[:, 6:] == 13).all()


def test_the_threshold_may_change_between_frames() -> None:
    perceiver = Perceiver(SpyEngine())
    pair = pair_of(rgb_of((8, 12)), np.full((8, 12), 10, np.uint8))
    assert set(np.unique(perceiver.perceive(pair).mask)) == {0, 13}
    perceiver.confidence_threshold = 0.5
    assert set(np.unique(perceiver.perceive(pair).mask)) == {255}


def test_views_into_messages_need_no_copy_by_the_caller(perceiver: Perceiver) -> None:
    padded_rgb, padded_thermal = rgb_of((480, 700)), rgb_of((480, 700))[..., 0].copy()
    rgb, thermal = padded_rgb[:, :640], padded_thermal[:, :640]
    for view in (rgb, thermal):
        view.flags.writeable = False
    out = perceiver.perceive(pair_of(rgb, thermal))
    np.testing.assert_array_equal(out.fused, rgb)
    np.testing.assert_array_equal(out.mask, np.where(thermal > 127, 8, 1))


def test_each_stage_refuses_what_it_cannot_use(perceiver: Perceiver, loaded_bundle: Bundle) -> None:
    good = np.zeros(SIZE, np.uint8)
    with pytest.raises(ThermalError, match="float64"):
        perceiver.perceive(pair_of(rgb_of(), np.zeros(SIZE, np.float64)))
    with pytest.raises(EngineError, match=r"rgb of shape \(480, 640, 4\)"):
        perceiver.perceive(pair_of(np.zeros((960, 1280, 4), np.uint8), good))
    with pytest.raises(EngineError, match="type uint16"):
        perceiver.perceive(pair_of(np.zeros((960, 1280, 3), np.uint16), good))
    calibration = Calibration(SIZE, (256, 320), np.diag([2.0, 1.875, 1.0]))
    strict = Perceiver(open_engine("null", loaded_bundle), registration=Registration(calibration))
    with pytest.raises(RegistrationError, match="calibrate again"):
        strict.perceive(pair_of(rgb_of(), good))
    out = perceiver.perceive(pair_of(rgb_of(), good))  # and the next good pair passes
    assert isinstance(out, Result)


@pytest.mark.parametrize(
    ("engine", "rgb_size", "threshold", "dtype"),
    [
        ("null", SIZE, 0.0, np.uint16),
        ("null", (600, 800), 0.5, np.float32),
        ("onnxruntime", SIZE, 0.5, np.uint8),
        ("onnxruntime", (600, 800), 0.0, np.uint16),
        ("openvino", (600, 800), 0.5, np.uint16),
    ],
)
def test_no_image_is_allocated_per_frame(
    engine: str,
    rgb_size: tuple[int, int],
    threshold: float,
    dtype: type,
    loaded_bundle: Bundle,
) -> None:
    calibration = Calibration(rgb_size, (512, 640), np.diag([1.2, 1.1, 1.0]))
    perceiver = Perceiver(
        open_engine(engine, loaded_bundle, threads=1),
        registration=Registration(calibration),
        confidence_threshold=threshold,
    )
    rgb = rgb_of(rgb_size)
    thermal = np.random.default_rng(3).normal(200.0, 9.0, (512, 640)).astype(dtype)
    pairs = [Pair(rgb, thermal, number * 33_000_000, number * 33_000_000) for number in range(6)]
    perceiver.perceive(pairs[0])
    tracemalloc.start()
    try:
        perceiver.perceive(pairs[1])
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for pair in pairs[2:]:
            perceiver.perceive(pair)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
        perceiver.close()
    # The smallest image is 480 * 640 bytes; the grid that percentiles are taken from is far less.
    assert peak < SIZE[0] * SIZE[1]


@pytest.mark.parametrize("rgb_size", [SIZE, (300, 400)])
def test_results_are_valid_until_the_next_pair(
    perceiver: Perceiver, rgb_size: tuple[int, int]
) -> None:
    perceiver.confidence_threshold = 0.5
    dark, bright = np.full(SIZE, 20, np.uint8), np.full(SIZE, 220, np.uint8)
    first = perceiver.perceive(pair_of(rgb_of(rgb_size), dark))
    kept = replace(first, mask=first.mask.copy(), confidence=first.confidence.copy())
    second = perceiver.perceive(pair_of(rgb_of(rgb_size), bright))
    assert (kept.mask == 255).all()
    assert (kept.confidence == 20).all()
    assert (second.mask == 8).all()
    assert (second.confidence == 220).all()
    for name in ("fused", "mask", "confidence"):
        assert np.shares_memory(getattr(first, name), getattr(second, name))


def test_the_pair_itself_is_never_written_to(perceiver: Perceiver) -> None:
    perceiver.confidence_threshold = 0.9
    rgb, thermal = rgb_of(), np.random.default_rng(2).integers(0, 4000, SIZE, np.uint16)
    before = rgb.copy(), thermal.copy()
    for _ in range(3):
        out = perceiver.perceive(pair_of(rgb, thermal))
        perceiver.perceive(Pair(None, thermal, 2, 2))
        perceiver.perceive(Pair(rgb, None, 3, 3))
    np.testing.assert_array_equal(rgb, before[0])
    np.testing.assert_array_equal(thermal, before[1])
    assert not np.shares_memory(out.fused, rgb)


def test_two_perceivers_never_share_their_results(loaded_bundle: Bundle) -> None:
    made = [Perceiver(open_engine("onnxruntime", loaded_bundle, threads=1)) for _ in range(2)]
    pair = pair_of(rgb_of((300, 400)), np.zeros((300, 400), np.uint16))
    one, other = (each.perceive(pair) for each in made)
    for name in ("fused", "mask", "confidence", "thermal"):
        assert not np.shares_memory(getattr(one, name), getattr(other, name))


def test_closing_the_perceiver_closes_its_engine() -> None:
    engine = SpyEngine()
    Perceiver(engine).close()
    assert engine.closed == 1


@pytest.mark.data
def test_a_real_pair_keeps_its_people(perceiver: Perceiver, shared_data: Path) -> None:
    folder = shared_data / "m3svd_frames"
    visible = sorted((folder / "visible").rglob("*.*"))[0]
    infrared = folder / "infrared" / visible.relative_to(folder / "visible")
    candidates = list(infrared.parent.glob(f"{infrared.stem}.*"))
    assert candidates, f"no thermal frame for {visible.name}"
    rgb = cv2.cvtColor(cv2.imread(str(visible)), cv2.COLOR_BGR2RGB)
    thermal = cv2.imread(str(candidates[0]), cv2.IMREAD_GRAYSCALE)
    out = perceiver.perceive(pair_of(rgb, thermal))
    assert out.mask.shape == rgb.shape[:2]
    assert 0 < np.count_nonzero(out.mask == 8) < out.mask.size


def test_rgb_alone_is_the_fused_image_and_the_thermal_input_is_black() -> None:
    engine = SpyEngine()
    rgb = rgb_of((16, 24))
    out = Perceiver(engine).perceive(Pair(rgb, None, 7, 0, "rgb_optical"))
    assert out.fused is rgb
    assert engine.thermal.shape == engine.size
    assert not engine.thermal.any()
    assert engine.rgb.any()
    assert out.mask.shape == out.confidence.shape == out.thermal.shape == (16, 24)
    assert not out.thermal.any()
    assert (out.stamp_ns, out.frame_id) == (7, "rgb_optical")


def test_thermal_alone_is_grey_in_the_geometry_of_the_rgb_camera() -> None:
    engine = SpyEngine()
    homography = np.array([[2.0, 0.0, 4.0], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0]])
    registration = Registration(Calibration((16, 24), (8, 10), homography, "made up"))
    thermal = np.full((8, 10), 90, np.uint8)
    alone = Pair(None, thermal, 5, 5, "rgb_optical", rgb_size=(16, 24))
    out = Perceiver(engine, registration=registration).perceive(alone)
    np.testing.assert_array_equal(out.fused, np.repeat(out.thermal[..., None], 3, axis=2))
    np.testing.assert_array_equal(out.thermal, registration.apply(thermal, (16, 24)))
    assert (out.thermal[:, :3] == 0).all(), "where the thermal camera does not see"
    assert not engine.rgb.any()
    assert engine.thermal.any()
    assert out.mask.shape == (16, 24)


def test_thermal_alone_stays_in_its_own_geometry_until_the_rgb_camera_is_known() -> None:
    registration = Registration(Calibration((16, 24), (8, 10), np.eye(3), "made up"))
    thermal = np.full((8, 10), 90, np.uint8)
    out = Perceiver(SpyEngine(), registration=registration).perceive(
        Pair(None, thermal, 5, 5, "thermal_optical")
    )
    np.testing.assert_array_equal(out.fused, np.full((8, 10, 3), 90, np.uint8))
    assert out.mask.shape == (8, 10)


def test_a_pair_without_any_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="it has none"):
        Pair(None, None, 1, 1)


class BrighteningEngine(SpyEngine):
    """Adds 40 to what it sees, as far as bytes go."""

    def infer(self, rgb: Image8, thermal: Image8) -> Inference:
        plain = super().infer(rgb, thermal)
        return Inference(cv2.add(rgb, np.full_like(rgb, 40)), plain.mask, plain.confidence)


@pytest.mark.parametrize("rgb_size", [(8, 12), (97, 161), (480, 640), (5, 7)])
def test_the_fused_picture_keeps_every_pixel_of_the_camera(rgb_size: tuple[int, int]) -> None:
    rgb = rgb_of(rgb_size) // 2
    rgb.setflags(write=False)
    out = Perceiver(BrighteningEngine()).perceive(pair_of(rgb, np.zeros(rgb_size, np.uint8)))
    assert np.array_equal(out.fused, rgb + 40)


def test_what_the_change_takes_beyond_black_and_white_is_cut() -> None:
    rgb = np.where(np.arange(24)[None, :, None] < 12, 250, 60).astype(np.uint8)
    rgb = np.ascontiguousarray(np.broadcast_to(rgb, (16, 24, 3)))
    out = Perceiver(BrighteningEngine()).perceive(pair_of(rgb, np.zeros((16, 24), np.uint8)))
    assert out.fused[:, :10].min() == 255
    assert np.all(out.fused[:, 14:] == 100)
