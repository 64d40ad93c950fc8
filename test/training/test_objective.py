# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import tiny_training
import torch
from torch import Tensor, nn

from segmif_ros.network.variants import build
from segmif_ros.training.batches import draw_batch, phases
from segmif_ros.training.losses import Known, later_round_loss
from segmif_ros.training.objective import (
    LossRatioWeighting,
    Precision,
    known_of,
    objective_of,
    parameter_groups,
    ratio_weights,
)
from segmif_ros.training.recipe import Recipe, RecipeError, Weighting

PAPER = {phase.name: phase for phase in phases(Recipe(objective="paper"))}
FULL = Precision("fp32", "cpu")
BATCH = draw_batch(tiny_training.RECIPE, {"blocks": tiny_training.source()}, 0)


def moved(network: nn.Module) -> set[str]:
    """Top-level parts that a backward pass gave gradients to."""
    return {n.split(".")[0] for n, p in network.named_parameters() if p.grad is not None}


def losses(name: str, network: nn.Module) -> tuple[Tensor, Tensor]:
    objective = objective_of(PAPER[name], network, torch.ones(15), FULL, 0.0).train()
    return objective(BATCH, known_of(objective, BATCH[2]))


def test_fusion_rounds_move_the_fusion_network_only() -> None:
    network = tiny_training.cascade(15)
    fusion, segmentation = losses("fusion 1", network)
    assert float(segmentation) == 0.0
    fusion.backward()
    assert moved(network) == {"fusion"}


def test_from_round_two_segmentation_trains_fusion_too() -> None:
    network = tiny_training.cascade(15)
    before = {name: value.clone() for name, value in network.named_buffers()}
    fusion, segmentation = losses("fusion 2", network)
    assert fusion.item() > 0.0
    segmentation.backward()
    assert moved(network) == {"fusion"}
    assert not network.head.training
    assert all(torch.equal(before[name], value) for name, value in network.named_buffers())


def test_segmentation_rounds_leave_the_fusion_network_alone() -> None:
    network = tiny_training.cascade(15)
    fusion, segmentation = losses("segmentation 1", network)
    assert not fusion.requires_grad
    segmentation.backward()
    assert moved(network) == {"encoder", "head"}
    assert network.head.training
    groups = list(parameter_groups(network, PAPER["segmentation 1"], 0.01))
    assert [(g["head"], g["weight_decay"]) for g in groups] == [
        (False, 0.01), (False, 0.0), (True, 0.01), (True, 0.0),
    ]  # fmt: skip
    assert sum(len(g["params"]) for g in groups) == len(
        [p for n, p in network.named_parameters() if not n.startswith("fusion.")]
    )


def test_a_network_without_two_halves_cannot_take_turns() -> None:
    with pytest.raises(RecipeError, match="take a cascade such as paper-b3"):
        losses("fusion 1", tiny_training.tiny(15))


def test_a_later_round_costs_what_the_paper_says() -> None:
    target = torch.full((1, 1, 256, 256), 0.5)
    # Flat pictures: SSIM is its brightness term alone, but for the border, which sees zeros.
    loss = float(later_round_loss(torch.full_like(target, 0.6), target))
    term = (2 * 0.5 * 0.6 + 1e-4) / (0.5**2 + 0.6**2 + 1e-4)
    assert loss == pytest.approx(0.01 + 1.1 * (1 - term), abs=2e-3)
    assert float(later_round_loss(target, target)) < 1e-6


def test_parts_of_a_batch_share_the_divisor_of_the_whole() -> None:
    network = tiny_training.steady(15).eval()
    (phase,) = phases(tiny_training.RECIPE)
    objective = objective_of(phase, network, torch.ones(15), FULL, 0.0)
    known = known_of(objective, BATCH[2])
    whole = objective(BATCH, known)[1]
    parts = [objective(tuple(t[i : i + 1] for t in BATCH), known)[1] for i in range(4)]
    torch.testing.assert_close(sum(parts), whole)
    assert isinstance(known, Known)
    assert float(known.weight) == 4 * 32 * 32


def test_only_some_parts_move_and_the_rest_keeps_its_statistics() -> None:
    network = build("nano", 15)
    recipe = Recipe(only=("share", "offset"))
    objective = objective_of(
        phases(recipe)[0], network, torch.ones(15), FULL, 0.0, recipe.only
    ).train()
    before = {name: value.clone() for name, value in network.named_buffers()}
    fusion, _ = objective(BATCH, known_of(objective, BATCH[2]))
    fusion.backward()
    assert moved(network) == {"share", "offset"}
    assert all(torch.equal(before[name], value) for name, value in network.named_buffers())


def test_a_part_that_the_network_has_not_is_named() -> None:
    with pytest.raises(RecipeError, match="only names 'shares', the network has"):
        objective_of(phases(Recipe())[0], build("nano", 15), torch.ones(15), FULL, 0.0, ("shares",))
    with pytest.raises(RecipeError, match="joint"):
        Recipe(objective="paper", only=("fusion",))


CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("wanted", "device", "bf16", "gpu_has_bf16", "name"),
    [
        ("auto", CPU, True, False, "bf16"),
        ("auto", CPU, False, False, "fp32"),
        ("auto", GPU, True, True, "bf16"),
        ("auto", GPU, True, False, "fp16"),
        ("auto", GPU, False, False, "fp32"),
        ("fp32", GPU, True, True, "fp32"),
        ("fp16", CPU, True, True, "fp16"),
    ],
)
def test_the_recipe_decides_and_the_device_may_object(
    wanted, device, bf16, gpu_has_bf16, name, monkeypatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: gpu_has_bf16)
    assert Precision.choose(wanted, device, bf16=bf16).name == name


def test_matrix_products_follow_and_only_float16_is_scaled() -> None:
    a = torch.ones(4, 4)
    for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        precision = Precision(name, "cpu")
        with precision.autocast():
            assert (a @ a).dtype == kind
        assert precision.scaler().is_enabled() == (name == "fp16")


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
