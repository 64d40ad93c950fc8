# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import torch

from segmif_ros.training.losses import fusion_loss, gradient_magnitude, segmentation_loss, ssim


def test_a_perfect_picture_costs_nothing() -> None:
    image = torch.rand(2, 1, 32, 32)
    assert float(fusion_loss(image, image)) < 1e-6
    assert float(ssim(image, image)) > 0.9999


def test_a_darker_picture_costs_its_difference() -> None:
    image = torch.rand(1, 1, 32, 32) * 0.5 + 0.25
    assert float(fusion_loss(image - 0.1, image)) > 2 * 0.1


def test_gradient_of_a_step_is_sobels() -> None:
    step = torch.zeros(1, 1, 8, 8)
    step[..., 4:] = 1.0
    gradient = gradient_magnitude(step)[0, 0]
    assert float(gradient[4, 3]) == 4.0
    assert float(gradient[4, 4]) == 4.0
    assert float(gradient[4, 1]) == 0.0


def labels(value: int) -> torch.Tensor:
    return torch.full((1, 16, 16), value, dtype=torch.int64)


def test_ignored_pixels_cost_nothing() -> None:
    logits = torch.randn(1, 15, 4, 4)
    assert float(segmentation_loss(logits, labels(255), torch.ones(15))) == 0.0


def test_known_pixels_cost_their_cross_entropy() -> None:
    loss = segmentation_loss(torch.zeros(1, 15, 4, 4), labels(3), torch.ones(15))
    assert abs(float(loss) - math.log(15)) < 1e-5


def test_background_forbids_three_classes_and_no_other() -> None:
    def loss(label: int) -> float:
        logits = torch.zeros(1, 15, 4, 4)
        logits[:, label] = 12.0
        return float(segmentation_loss(logits, labels(254), torch.ones(15)))

    assert all(loss(label) > 5.0 for label in (8, 9, 13))
    assert all(loss(label) < 0.01 for label in (1, 3, 6, 7, 14))
