# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import torch

from segmif_ros.datasets.sample import POSSIBLE, VAGUE
from segmif_ros.training.losses import (
    box_loss,
    first_round_loss,
    fusion_loss,
    gradient_magnitude,
    labelled_cross_entropy,
    overlap_loss,
    segmentation_loss,
    ssim,
)


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


def test_background_forbids_road_users_and_no_other_class() -> None:
    def loss(label: int) -> float:
        logits = torch.zeros(1, 15, 4, 4)
        logits[:, label] = 12.0
        return float(segmentation_loss(logits, labels(254), torch.ones(15)))

    assert all(loss(label) > 5.0 for label in (8, 9, 10, 11, 12, 13))
    assert all(loss(label) < 0.01 for label in (1, 3, 4, 5, 6, 7, 14))


def test_ssim_is_that_of_the_definition() -> None:
    """Wang et al. 2004: direct sums over every 11x11 window, zeros around the picture."""
    torch.manual_seed(0)
    a, b = torch.rand(2, 1, 1, 14, 17, dtype=torch.float64)
    line = torch.exp(-((torch.arange(11, dtype=torch.float64) - 5) ** 2) / 4.5)
    window = torch.outer(line, line) / line.sum() ** 2
    x, y = (torch.nn.functional.pad(image[0], (5, 5, 5, 5))[0] for image in (a, b))
    values = []
    for i in range(14):
        for j in range(17):
            u, v = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
            mean_u, mean_v = (window * u).sum(), (window * v).sum()
            spread = (window * (u * u + v * v)).sum() - mean_u**2 - mean_v**2
            both = (window * u * v).sum() - mean_u * mean_v
            top = (2 * mean_u * mean_v + 1e-4) * (2 * both + 9e-4)
            values.append(float(top / ((mean_u**2 + mean_v**2 + 1e-4) * (spread + 9e-4))))
    assert abs(float(ssim(a, b)) - sum(values) / len(values)) < 1e-6


def test_a_size_that_was_scored_first_can_be_trained_on() -> None:
    with torch.inference_mode():
        ssim(torch.rand(1, 1, 37, 41), torch.rand(1, 1, 37, 41))
    image = torch.rand(1, 1, 37, 41, requires_grad=True)
    ssim(image, torch.rand(1, 1, 37, 41)).backward()
    assert image.grad is not None


def test_the_first_round_counts_intensity_and_gradient() -> None:
    step = torch.zeros(1, 1, 16, 16)
    step[..., 8:] = 1.0
    flat = torch.full_like(step, 0.5)
    gradient = (gradient_magnitude(flat) - gradient_magnitude(step)).abs().mean()
    assert float(first_round_loss(flat, step)) == float(0.5 + gradient)
    assert float(first_round_loss(step, step)) == 0.0


def test_published_cross_entropy_ignores_what_is_not_labelled() -> None:
    logits = torch.randn(1, 9, 4, 4)
    assert float(labelled_cross_entropy(logits, labels(255), torch.ones(9))) == 0.0
    assert float(labelled_cross_entropy(logits, labels(254), torch.ones(9))) == 0.0
    loss = labelled_cross_entropy(torch.zeros(1, 9, 4, 4), labels(3), torch.ones(9))
    assert abs(float(loss) - math.log(9)) < 1e-5


def test_class_lists_shorter_than_fmbs_can_be_trained_on() -> None:
    loss = segmentation_loss(torch.zeros(1, 9, 4, 4), labels(3), torch.ones(9), overlap=1.0)
    assert math.log(9) < float(loss) < math.log(9) + 1.0


def test_overlap_counts_areas() -> None:
    truth = torch.zeros(1, 8, 8, dtype=torch.int64)
    truth[:, :, 4:] = 1
    truth[:, 0, 0] = 2
    exact = torch.nn.functional.one_hot(truth, 15).permute(0, 3, 1, 2).float()
    assert float(overlap_loss(exact, truth)) < 1e-6
    missed = exact.clone()
    missed[:, :, 0, 0] = exact[:, :, 1, 1]
    # One pixel of 64, but one class of three.
    assert 0.33 < float(overlap_loss(missed, truth)) < 0.36
    assert float(overlap_loss(exact, torch.full_like(truth, 255))) == 0.0


def test_an_id_below_254_allows_the_road_users_that_it_names() -> None:
    def cost(label: int, winner: int) -> float:
        logits = torch.full((1, 15, 8, 8), -10.0)
        logits[:, winner] = 5.0
        return float(segmentation_loss(logits, labels(label), torch.ones(15)))

    person, car, bicycle = 8, 9, 13
    for allowed in (person, car, bicycle):
        inside = 254 - POSSIBLE[allowed]
        for other in (person, car, bicycle):
            assert (cost(inside, other) > 1.0) is (other != allowed)
    assert cost(VAGUE, person) < 1e-3  # it may be any of the three


def box(label: int) -> torch.Tensor:
    """One box of 8x4 pixels, and a place without one."""
    return torch.tensor([[[label, 4, 6, 12, 10], [-1, 0, 0, 0, 0]]], dtype=torch.float32)


def test_a_box_requires_its_class_in_every_row_and_column() -> None:
    p = torch.full((1, 15, 16, 16), 1e-4)
    empty = float(box_loss(p, box(8)))
    p[0, 8, 4:8, 6:10] = 0.99
    half = float(box_loss(p, box(8)))
    p[0, 8, 4:12, 7:9] = 0.99
    p[0, 8, 8, 6:10] = 0.99
    cross = float(box_loss(p, box(8)))
    assert cross < 0.05 < half < empty
    assert float(box_loss(p, box(9))) == empty  # another class


def test_a_box_counts_alike_whatever_its_size_and_none_costs_nothing() -> None:
    p = torch.full((1, 15, 64, 64), 0.1)
    small = torch.tensor([[[8, 0, 0, 4, 4]]], dtype=torch.float32)
    large = torch.tensor([[[8, 0, 0, 60, 60]]], dtype=torch.float32)
    torch.testing.assert_close(box_loss(p, small), box_loss(p, large))
    assert float(box_loss(p, torch.full((1, 3, 5), -1.0))) == 0.0


def test_boxes_enter_the_loss_at_the_size_of_the_labels() -> None:
    logits = torch.zeros(1, 15, 16, 16)
    logits[:, 8, 2:6, 4:8] = 9.0
    known = labels(255)
    boxes = torch.tensor([[[8, 2, 4, 6, 8]]], dtype=torch.float32)
    fits = segmentation_loss(logits, known, torch.ones(15), boxes=boxes, boxed=1.0)
    moved = segmentation_loss(logits, known, torch.ones(15), boxes=boxes + 6, boxed=1.0)
    assert float(fits) < 1.0 < float(moved)
