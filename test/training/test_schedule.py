# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

import pytest

from segmif_ros.training.batches import learning_rate, learning_rates, phase_at, phases
from segmif_ros.training.recipe import Recipe

PAPER = Recipe(variant="paper-b3", objective="paper")


def test_joint_is_one_phase_with_a_warm_up_and_a_cosine() -> None:
    recipe = Recipe(steps=100, warmup=10, lr=1.0, segmentation_weight=0.5)
    (phase,) = phases(recipe)
    assert (phase.first, phase.end, phase.scales, phase.name) == (0, 100, (1.0, 0.5), "joint")
    rates = [learning_rate(recipe, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates[9] == pytest.approx(1.0)
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    assert rates[-1] < 0.02


def test_the_published_schedule_has_the_published_lengths() -> None:
    every = phases(PAPER)
    assert len(every) == 14
    assert sum(p.end - p.first for p in every if p.kind == "fusion") == 30_000
    assert every[-1].end == 100_000
    assert all(a.end == b.first for a, b in itertools.pairwise(every))
    assert [p.scales for p in every if p.kind == "fusion"][:3] == [
        (1.0, 0.0),
        (0.2, 0.8),
        pytest.approx((0.4 / 3, 0.8)),
    ]
    assert {p.crop for p in every} == {(320, 320), (480, 480)}
    assert phase_at(PAPER, 5_999).name == "fusion 1"
    assert phase_at(PAPER, 6_000).name == "segmentation 1"
    assert phase_at(PAPER, 10**9).name == "segmentation 7"


def test_the_published_rates() -> None:
    every = {phase.name: phase for phase in phases(PAPER)}

    def rates(name: str, done: int) -> tuple[float, float]:
        return learning_rates(PAPER, every[name], every[name].first + done)

    assert rates("fusion 1", 0) == (1e-4, 1e-4)
    assert rates("fusion 1", 5_000)[0] == pytest.approx(0.75e-4)
    assert rates("fusion 4", 0)[0] == pytest.approx(0.25e-4)
    assert rates("segmentation 1", 0) == pytest.approx((1e-6, 1e-6))
    assert rates("segmentation 1", 3_000) == pytest.approx((8e-5 * 157 / 160, 8e-4 * 157 / 160))
    # No second warm-up, and the decay goes on: the schedule ends at 70,000 of 160,000.
    assert rates("segmentation 2", 0)[1] == pytest.approx(8e-4 * 150 / 160)
    assert rates("segmentation 7", 10_000)[1] == pytest.approx(8e-4 * 90 / 160)
