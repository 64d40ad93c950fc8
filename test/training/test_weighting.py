# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest

from segmif_ros.training.recipe import Weighting
from segmif_ros.training.recipe_parts import RecipeError
from segmif_ros.training.weighting import LossRatioWeighting, ratio_weights


def test_weights_are_twice_a_softmax_of_the_ratios() -> None:
    a, b = ratio_weights((0.5, 1.0), 2.0)
    assert a == pytest.approx(2 * math.exp(0.25) / (math.exp(0.25) + math.exp(0.5)))
    assert a + b == pytest.approx(2.0)
    assert ratio_weights((3.0, 3.0), 2.0) == (1.0, 1.0)


def test_the_released_temperature_is_a_constant() -> None:
    a, b = ratio_weights((0.2, 1.4), 1000.0)
    assert max(abs(a - 1.0), abs(b - 1.0)) <= 0.0005 * 1.2 + 1e-9


def test_the_loss_that_falls_more_slowly_gets_more_weight() -> None:
    weighting = LossRatioWeighting(Weighting("loss_ratio", temperature=2.0, window=2))
    for fusion, segmentation in ((4.0, 2.0), (4.0, 2.0), (2.0, 2.0)):
        weighting.observe(fusion, segmentation)
        assert weighting.weights == (1.0, 1.0)
    weighting.observe(2.0, 2.0)
    assert weighting.weights == ratio_weights((0.5, 1.0), 2.0)
    assert weighting.weights[1] > 1.1


def test_a_constant_weighting_stays_and_a_missing_loss_moves_nothing() -> None:
    constant = LossRatioWeighting(Weighting())
    missing = LossRatioWeighting(Weighting("loss_ratio", window=1))
    for value in (4.0, 2.0, 1.0):
        constant.observe(value, 1.0)
        missing.observe(value, 0.0)
    assert constant.weights == missing.weights == (1.0, 1.0)


def test_a_stored_state_goes_on() -> None:
    settings = Weighting("loss_ratio", window=2)
    whole, half = LossRatioWeighting(settings), LossRatioWeighting(settings)
    losses = [(4.0, 3.0), (3.0, 2.9), (2.0, 2.5), (1.5, 2.4), (1.0, 2.3), (0.9, 2.2)]
    for pair in losses:
        whole.observe(*pair)
    for pair in losses[:3]:
        half.observe(*pair)
    resumed = LossRatioWeighting(settings)
    resumed.load_state_dict(half.state_dict())
    for pair in losses[3:]:
        resumed.observe(*pair)
    assert resumed.weights == whole.weights != (1.0, 1.0)


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(RecipeError, match="temperature 0"):
        Weighting("loss_ratio", temperature=0.0)
