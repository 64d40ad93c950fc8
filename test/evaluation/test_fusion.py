# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from segmif_ros.evaluation.fusion import (
    FusionScores,
    average_gradient,
    entropy,
    fusion_scores,
    gradient_preservation,
    mutual_information,
    spatial_frequency,
    structural_similarity,
    sum_of_correlations,
    visual_information_fidelity,
)
from segmif_ros.evaluation.tally import ScoreError


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray]:
    """Two unlike pictures with structure at several scales, float64 in [0, 255]."""
    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(2):
        layers = [
            cv2.resize(rng.random((96 // cell, 128 // cell)), (128, 96)) for cell in (32, 8, 2)
        ]
        picture = layers[0] + 0.5 * layers[1] + 0.25 * layers[2]
        pictures.append(np.round(picture / picture.max() * 255.0))
    return pictures[0], pictures[1]


def test_entropy_counts_levels() -> None:
    assert entropy(np.zeros((8, 8))) == 0.0
    assert entropy(np.arange(256.0).reshape(16, 16)) == pytest.approx(8.0)


def test_frequency_and_gradient_of_a_ramp() -> None:
    ramp = np.tile(np.arange(0.0, 60.0, 3.0), (10, 1))
    assert spatial_frequency(ramp) == pytest.approx(3.0)
    assert average_gradient(ramp) == pytest.approx(3.0 / np.sqrt(2.0))


def test_information_about_oneself_is_ones_entropy(images: tuple[np.ndarray, ...]) -> None:
    assert mutual_information(images[0], images[0]) == pytest.approx(entropy(images[0]))
    noise = np.random.default_rng(1).permutation(images[0].ravel()).reshape(images[0].shape)
    assert mutual_information(images[0], noise) < mutual_information(images[0], images[0])


def test_fidelity_is_one_for_a_copy_and_falls_with_blur(images: tuple[np.ndarray, ...]) -> None:
    picture = images[0]
    assert visual_information_fidelity(picture, picture) == pytest.approx(1.0, abs=1e-6)
    scores = [
        visual_information_fidelity(picture, cv2.GaussianBlur(picture, (0, 0), sigma))
        for sigma in (0.5, 1.0, 2.0)
    ]
    assert 1.0 > scores[0] > scores[1] > scores[2] > 0.0
    # More contrast than the source is more than all of its information.
    assert visual_information_fidelity(picture, (picture - 128) * 1.5 + 128) > 1.0


def test_structure_is_one_for_a_copy_and_falls_with_noise(images: tuple[np.ndarray, ...]) -> None:
    picture = images[0]
    noise = np.random.default_rng(2).normal(0, 10, picture.shape)
    assert structural_similarity(picture, picture) == pytest.approx(1.0)
    assert structural_similarity(picture, picture + noise) < 0.9


def test_edges_are_all_kept_by_a_copy_of_equal_sources(images: tuple[np.ndarray, ...]) -> None:
    picture = images[0]
    best = gradient_preservation(picture, picture, picture)
    assert best == pytest.approx(0.9994 / (1 + np.exp(-7.5)) * 0.9879 / (1 + np.exp(-4.4)), 1e-6)
    assert gradient_preservation(picture, picture, np.full(picture.shape, 9.0)) < 0.01


def test_an_average_correlates_with_both(images: tuple[np.ndarray, ...]) -> None:
    thermal, visible = images
    both = sum_of_correlations(thermal, visible, (thermal + visible) / 2.0)
    one = sum_of_correlations(thermal, visible, visible)
    assert both > one


def test_all_scores_are_there_and_finite(images: tuple[np.ndarray, ...]) -> None:
    thermal, visible = (x.astype(np.uint8) for x in images)
    scores = fusion_scores(thermal, visible, np.maximum(thermal, visible))
    assert list(scores) == ["EN", "SD", "SF", "AG", "MI", "SCD", "VIF", "Qabf", "SSIM"]
    assert all(np.isfinite(value) for value in scores.values())


def test_unequal_sizes_are_refused() -> None:
    small, large = np.zeros((8, 8), np.uint8), np.zeros((8, 9), np.uint8)
    with pytest.raises(ValueError, match=r"thermal \(8, 8\), visible \(8, 9\)"):
        fusion_scores(small, large, small)


def scored(scores: FusionScores, seed: int, split: str | None = None) -> None:
    rng = np.random.default_rng(seed)
    thermal, visible, other = (
        cv2.resize(rng.integers(0, 256, (12, 16)).astype(np.uint8), (64, 48)) for _ in range(3)
    )
    scores.add(thermal, visible, {"fused": cv2.max(thermal, visible), "other": other}, split)


def test_inputs_and_other_methods_have_rows_of_their_own(images: tuple[np.ndarray, ...]) -> None:
    thermal, visible = (x.astype(np.uint8) for x in images)
    scores = FusionScores()
    rows = scores.add(thermal, cv2.cvtColor(visible, cv2.COLOR_GRAY2RGB), {"fused": thermal})
    assert rows is not None
    assert list(rows) == ["visible", "thermal", "fused"]
    assert (
        rows["thermal"] == rows["fused"] == pytest.approx(fusion_scores(thermal, visible, thermal))
    )
    assert rows["visible"] == pytest.approx(fusion_scores(thermal, visible, visible))
    assert scores.summary()["fused"]["all"] == pytest.approx({**rows["fused"], "frames": 1})


def test_jobs_combine_to_the_very_same_means_in_any_order() -> None:
    everything, jobs = FusionScores(), [FusionScores() for _ in range(3)]
    for seed in range(6):
        for target in (everything, jobs[seed % 3]):
            scored(target, seed, "night" if seed < 2 else None)
    for order in ((0, 1, 2), (2, 0, 1)):
        total = FusionScores()
        for index in order:
            total.merge(FusionScores.from_state(json.loads(json.dumps(jobs[index].state()))))
        assert json.dumps(total.summary()) == json.dumps(everything.summary())
    table = everything.summary()
    assert list(table) == ["visible", "thermal", "fused", "other"]
    assert {split: row["frames"] for split, row in table["other"].items()} == {"all": 6, "night": 2}


def test_every_third_picture_is_scored() -> None:
    scores = FusionScores(every=3)
    for seed in range(7):
        scored(scores, seed)
    assert scores.summary()["fused"]["all"]["frames"] == 3
    with pytest.raises(ScoreError, match="every 1 and 3"):
        scores.merge(FusionScores())
    with pytest.raises(ValueError, match="every is 0"):
        FusionScores(0)
