# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from segmif_ros.datasets.sample import IGNORE, Sample
from segmif_ros.metrics.boxes import Box
from segmif_ros.training.augment import make_example, plain_example
from segmif_ros.training.recipe import Augmentation

PLAIN = Augmentation(
    crop=(64, 96), darkness=0, smoke=0, glare=0, drop_visible=0, drop_thermal=0, shift_px=0
)


def sample() -> Sample:
    bars = (np.arange(160) // 20 * 36).astype(np.uint8)
    return Sample(
        np.repeat(np.tile(bars, (120, 1))[..., None], 3, axis=2),
        np.tile(bars[::-1], (120, 1)),
        np.tile(np.arange(160, dtype=np.uint8) // 16, (120, 1)),
        "bars",
    )


@pytest.mark.parametrize("seed", range(8))
def test_shapes_and_ranges_hold_for_every_draw(seed: int) -> None:
    example = make_example(sample(), Augmentation(crop=(64, 96)), np.random.default_rng(seed))
    assert example.rgb.shape == (64, 96, 3)
    assert example.thermal.shape == example.labels.shape == example.target.shape == (64, 96)
    for image in (example.rgb, example.thermal, example.target):
        assert image.dtype == np.float32
        assert 0.0 <= image.min() <= image.max() <= 255.0
    assert set(np.unique(example.labels)) <= {*range(10), IGNORE}


def test_the_same_seed_gives_the_same_example() -> None:
    a, b = (make_example(sample(), Augmentation(), np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(a.rgb, b.rgb)
    assert np.array_equal(a.target, b.target)


def test_a_dropped_camera_is_blind_but_for_its_noise() -> None:
    blind = make_example(sample(), replace(PLAIN, drop_visible=1.0), np.random.default_rng(1))
    assert blind.rgb.std() < 8.0
    assert blind.thermal.std() > 20.0
    blind = make_example(sample(), replace(PLAIN, drop_thermal=1.0), np.random.default_rng(1))
    assert blind.thermal.std() < 8.0
    assert blind.rgb.std() > 20.0


def test_without_thermal_people_are_labelled_only_where_the_visible_picture_shows_them() -> None:
    rgb = np.full((120, 160, 3), 20, np.uint8)
    rgb[20:60:2, 20:40] = 120
    labels = np.full((120, 160), 1, np.uint8)
    labels[20:60, 20:40] = labels[20:60, 100:120] = 8
    boxes = (Box(8, 20, 20, 40, 60), Box(8, 100, 20, 120, 60))
    street = Sample(rgb, np.full((120, 160), 90, np.uint8), labels, "street", boxes=boxes)
    how = replace(PLAIN, crop=(120, 160), scale=(1.0, 1.0), blur_visible=0.0, noise=0.0)
    both = make_example(street, how, np.random.default_rng(3))
    assert (both.labels == 8).sum() == 1600
    assert len(both.boxes) == 2
    alone = make_example(street, replace(how, drop_thermal=1.0), np.random.default_rng(3))
    assert (alone.labels == 8).sum() == 800
    assert (alone.labels == IGNORE).sum() == 800
    assert alone.rgb[20:60][alone.labels[20:60] == 8].std() > 25.0
    [(label, *sides)] = alone.boxes.tolist()
    assert label == 8
    assert sides in ([20, 20, 60, 40], [20, 120, 60, 140])  # mirrored or not


def test_darkness_darkens_and_keeps_the_labels() -> None:
    day = make_example(sample(), PLAIN, np.random.default_rng(2))
    night = make_example(sample(), replace(PLAIN, darkness=1.0), np.random.default_rng(2))
    assert night.rgb.mean() < 0.6 * day.rgb.mean()
    assert np.array_equal(night.labels, day.labels)
    assert night.labels.shape == (64, 96)


def test_a_wet_road_mirrors_and_a_sky_burns_out_where_the_labels_say_so() -> None:
    rgb = np.full((120, 160, 3), 60, np.uint8)
    rgb[50:70] = 200
    labels = np.repeat(np.array([7] * 20 + [3] * 50 + [1] * 50, np.uint8)[:, None], 160, axis=1)
    street = Sample(rgb, np.full((120, 160), 90, np.uint8), labels, "street")
    how = replace(PLAIN, crop=(120, 160), scale=(1.0, 1.0), blur_visible=0.0, noise=0.0)

    def rows(**changes: float) -> np.ndarray:
        made = make_example(street, replace(how, **changes), np.random.default_rng(4))
        return made.rgb[..., 0].mean(axis=1)

    dry, wet, burnt = rows(), rows(wet=1.0), rows(overexposed=1.0)
    assert np.ptp(dry[70:]) < 0.1
    assert wet[72:80].mean() > 1.1 * wet[115:].mean()
    assert np.ptp(wet[:50]) < 0.1
    assert abs(dry[:15].mean() - dry[40:50].mean()) < 0.1
    assert burnt[:15].mean() > 1.5 * burnt[40:50].mean()
    assert np.ptp(burnt[75:]) < 0.1


def test_a_shutter_drift_is_slow_over_the_picture_or_a_jump_of_all_of_it() -> None:
    steady = replace(
        PLAIN, thermal_gain=(1.0, 1.0), thermal_offset=(0.0, 0.0), stripes=0, blur_thermal=0,
        noise=0, scale=(1.0, 1.0),
    )  # fmt: skip
    grey = Sample(sample().rgb, np.full((120, 160), 128, np.uint8), None, "grey")
    fields = [
        make_example(grey, replace(steady, ffc=1.0), np.random.default_rng(seed)).thermal - 128.0
        for seed in range(12)
    ]
    jumps = [field for field in fields if float(np.ptp(field)) < 0.01]
    drifts = [field for field in fields if float(np.ptp(field)) > 5.0]
    assert len(jumps) + len(drifts) == 12
    assert jumps
    assert drifts
    assert all(abs(float(field.mean())) <= 30.0 for field in jumps)
    for field in drifts:
        assert abs(float(field.mean())) < 0.05 * float(np.ptp(field)) + 1.0
        assert float(np.abs(np.diff(field, axis=1)).max()) < 0.1 * float(np.ptp(field))


def test_what_is_switched_off_draws_no_random_number() -> None:
    with_fields, today = np.random.default_rng(4), np.random.default_rng(4)
    make_example(sample(), Augmentation(crop=(64, 96), ffc=0.0, sharpen=0.2), with_fields)
    make_example(sample(), Augmentation(crop=(64, 96)), today)
    assert with_fields.random() == today.random()


def test_a_plain_example_is_the_window_in_the_middle() -> None:
    pair = sample()
    example = plain_example(pair, (64, 96))
    window = (slice(28, 92), slice(32, 128))
    assert np.array_equal(example.rgb, pair.rgb[window].astype(np.float32))
    assert np.array_equal(example.thermal, pair.thermal[window].astype(np.float32))
    assert pair.labels is not None
    assert np.array_equal(example.labels, pair.labels[window])
    assert example.name == "bars"
    assert plain_example(pair, (240, 160)).rgb.shape == (240, 160, 3)


def test_the_saliency_target_is_the_guidance_of_the_pair() -> None:
    import torch

    from segmif_ros.network.guidance import guidance

    pair = sample()
    example = plain_example(pair, (120, 160), "saliency")
    planes = (pair.thermal, np.ascontiguousarray(pair.rgb[..., 0]))
    wanted = guidance(*(torch.from_numpy(each)[None, None] / 255.0 for each in planes))
    np.testing.assert_allclose(example.target, 255.0 * wanted[0, 0].numpy(), atol=1.0)


def test_the_target_can_request_more_detail_and_contrast_than_the_inputs_have() -> None:
    def target(**more: float) -> np.ndarray:
        how = replace(PLAIN, **more)
        return make_example(sample(), how, np.random.default_rng(2)).target

    def edges(image: np.ndarray) -> float:
        return float(np.abs(np.diff(image, axis=1)).mean())

    plain, sharp, strong = target(), target(sharpen=0.3), target(contrast=0.1)
    assert edges(sharp) > 1.05 * edges(plain)
    assert strong.std() > 1.02 * plain.std()
    assert 0.0 <= sharp.min() <= sharp.max() <= 255.0


BOXED = replace(
    sample(), boxes=(Box(8, 40, 30, 50, 60), Box(9, 130, 100, 160, 120), Box(13, 0, 0, 3, 2))
)


@pytest.mark.parametrize("seed", range(8))
def test_boxes_go_with_the_picture(seed: int) -> None:
    """The labels are columns of 16 pixels, so a box says which ones it must lie on."""
    example = make_example(BOXED, replace(PLAIN, scale=(0.8, 1.2)), np.random.default_rng(seed))
    for label, top, left, bottom, right in example.boxes:
        assert label in (8, 9)  # the third is too small for rows and columns
        assert 0 <= top < bottom <= 64
        assert 0 <= left < right <= 96
        columns = example.labels[:, int(left) : int(right)]
        wanted = {2, 3} if label == 8 else {8, 9}
        assert set(np.unique(columns)) <= wanted


def test_focus_lays_windows_over_boxes() -> None:
    def share(focus: float) -> float:
        how = replace(PLAIN, scale=(1.6, 1.6), focus=focus)
        drawn = [make_example(BOXED, how, np.random.default_rng(seed)) for seed in range(40)]
        return sum(bool(len(example.boxes)) for example in drawn) / len(drawn)

    assert share(1.0) > share(0.0) + 0.1


def test_without_focus_no_random_number_is_drawn_for_it() -> None:
    plain, boxed = (
        make_example(pair, PLAIN, np.random.default_rng(3)) for pair in (sample(), BOXED)
    )
    assert np.array_equal(plain.rgb, boxed.rgb)
