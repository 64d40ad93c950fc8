# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import numpy as np
import pytest

from segmif_ros.metrics.boxes import Box
from segmif_ros.metrics.calibration import BINS, CalibrationScores, confidence_table

NAMES = {1: "road", 8: "person"}


def made(accuracy: float, level: int, split: str | None = None) -> CalibrationScores:
    """A hundred rows of pixels of one confidence, so many of them right."""
    mask = np.full((100, 40), 8, np.uint8)
    truth = mask.copy()
    truth[round(100 * accuracy) :] = 3
    scores = CalibrationScores()
    confidence = np.full(mask.shape, level, np.uint8)
    scores.add(mask, confidence, truth=truth, classes=range(15), split=split)
    return scores


def test_the_error_is_the_gap_between_confidence_and_accuracy() -> None:
    figures = made(0.6, 204).summary(NAMES)["all"]["person"]
    assert (figures["pixels"], figures["accuracy"]) == (4000, 0.6)
    assert figures["confidence"] == pytest.approx(0.8)
    assert figures["error"] == pytest.approx(0.2)
    assert figures["bins"] == [[pytest.approx(0.8), 0.6, 1.0]]
    assert made(0.8, 204).summary(NAMES)["all"]["person"]["error"] == pytest.approx(0.0, abs=1e-9)


def test_bins_of_opposite_sign_do_not_cancel() -> None:
    scores = made(1.0, 128)
    scores.merge(made(0.0, 128 + 256 // BINS + 5))
    figures = scores.summary(NAMES)["all"]["person"]
    assert figures["error"] > 0.4
    assert len(figures["bins"]) == 2


def test_jobs_and_splits_add_up_exactly() -> None:
    one, other = made(0.6, 204, split="day"), made(0.3, 100, split="night")
    one.merge(CalibrationScores.from_state(json.loads(json.dumps(other.state()))))
    found = one.summary(NAMES)
    assert list(found) == ["all", "day", "night"]
    assert found["all"]["person"]["pixels"] == 8000
    assert found["night"]["person"]["accuracy"] == 0.3


def test_unknown_pixels_do_not_count_and_background_is_no_road_user() -> None:
    mask = np.array([[8, 8, 8, 1, 1]], np.uint8)
    truth = np.array([[8, 254, 255, 254, 1]], np.uint8)
    scores = CalibrationScores()
    full = np.full(mask.shape, 255, np.uint8)
    scores.add(mask, full, truth=truth, classes=range(15), boxed=[8])
    found = scores.summary(NAMES)["all"]
    assert (found["person"]["pixels"], found["person"]["accuracy"]) == (2, 0.5)
    assert (found["road"]["pixels"], found["road"]["accuracy"]) == (1, 1.0)


def test_inside_a_box_of_its_class_a_pixel_is_right() -> None:
    mask = np.zeros((10, 10), np.uint8)
    mask[:, :5], mask[:, 5:] = 8, 1
    scores = CalibrationScores()
    full = np.full(mask.shape, 255, np.uint8)
    scores.add(mask, full, boxes=[Box(8, 0, 0, 5, 5), Box(9, 0, 5, 5, 10)], boxed=[1, 8, 9])
    found = scores.summary(NAMES)["all"]
    assert found == {"person": found["person"]}, "roads have no boxes"
    assert (found["person"]["pixels"], found["person"]["accuracy"]) == (50, 0.5)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 3.0])
def test_the_temperature_of_made_up_odds_is_found(temperature: float) -> None:
    """Pixels whose chance to be right is that of their odds divided by a known temperature."""
    rng = np.random.default_rng(1)
    level = rng.integers(90, 250, (400, 400)).astype(np.uint8)
    chance = confidence_table({0: temperature}, 1)[0][level] / 255.0
    truth = np.where(rng.random(level.shape) < chance, 8, 3).astype(np.uint8)
    scores = CalibrationScores()
    mask = np.full(level.shape, 8, np.uint8)
    scores.add(mask, level, truth=truth, classes=range(15))
    fitted = scores.temperatures(NAMES)["person"]
    assert fitted == pytest.approx(temperature, rel=0.05)
    after = CalibrationScores()
    after.add(mask, confidence_table({0: fitted}, 1)[0][level], truth=truth, classes=range(15))
    assert after.summary(NAMES)["all"]["person"]["error"] < 0.02


def test_few_pixels_have_no_temperature() -> None:
    scores = CalibrationScores()
    mask = np.full((10, 10), 8, np.uint8)
    scores.add(mask, mask, truth=mask, classes=range(15))
    assert scores.temperatures(NAMES) == {}


def test_a_table_keeps_the_order_of_confidences() -> None:
    table = confidence_table({1: 2.0, 2: 0.5}, 4)
    assert (table[0] == np.arange(256)).all()
    assert (table[3] == np.arange(256)).all()
    assert (np.diff(table.astype(int), axis=1) >= 0).all()
    assert table[1, 230] < 230 < table[2, 230]
    assert table[1, 127] in (127, 128)
