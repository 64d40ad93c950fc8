# SPDX-License-Identifier: Apache-2.0
"""What is trained when, and how fast: one phase for `joint`, two a round for `paper`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from segmif_ros.training.recipe import Recipe

Kind = Literal["joint", "fusion", "segmentation"]


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of steps that trains the same weights with the same loss.

    Attributes:
        kind: what is trained: everything, or one of the two sub-networks.
        round: k of the published schedule, from 1; 0 for `joint`.
        first: its first step, counted over the whole run.
        end: the step after its last one.
        crop: (height, width) of its examples; None: the augmentation's own.
        scales: weights of the fusion and of the segmentation loss; 0 leaves a loss out.
    """

    kind: Kind
    round: int
    first: int
    end: int
    crop: tuple[int, int] | None
    scales: tuple[float, float]

    @property
    def name(self) -> str:
        """For logs: "joint", "fusion 1", "segmentation 1", ..."""
        return f"{self.kind} {self.round}" if self.round else self.kind


def phases(recipe: Recipe) -> list[Phase]:
    """Return the phases of a recipe in their order; the last one's end is the end of the run."""
    if recipe.objective == "joint":
        scales = (1.0, recipe.segmentation_weight)
        return [Phase("joint", 0, 0, recipe.steps, None, scales)]
    rounds, found, step = recipe.rounds, [], 0
    for k in range(1, rounds.count + 1):
        scales = (1.0, 0.0) if k == 1 else (rounds.fusion_weight / k, rounds.segmentation_weight)
        end = step + (rounds.first_fusion_steps if k == 1 else rounds.fusion_steps)
        found.append(Phase("fusion", k, step, end, rounds.fusion_crop, scales))
        step, end = end, end + rounds.segmentation_steps
        found.append(Phase("segmentation", k, step, end, rounds.segmentation_crop, (0.0, 1.0)))
        step = end
    return found


def phase_at(recipe: Recipe, step: int) -> Phase:
    """Return the phase that a step belongs to; steps after the end belong to the last one."""
    every = phases(recipe)
    return next((phase for phase in every if step < phase.end), every[-1])


def learning_rates(recipe: Recipe, phase: Phase, step: int) -> tuple[float, float]:
    """Return the rates of the body and of the segmentation head at a step of the whole run."""
    if phase.kind == "joint":
        rate = learning_rate(recipe, step)
        return rate, rate
    rounds, done = recipe.rounds, step - phase.first
    if phase.kind == "fusion":
        rate = rounds.fusion_lr / phase.round * _falling(done, rounds.fusion_horizon)
        return rate, rate
    # The published schedule counts segmentation steps over all rounds.
    done += (phase.round - 1) * rounds.segmentation_steps
    falling = _falling(done, rounds.segmentation_horizon)
    body, head = rounds.segmentation_lr * falling, rounds.head_lr * falling
    if done < rounds.warmup:
        risen = done / rounds.warmup
        body = rounds.warmup_lr + risen * (body - rounds.warmup_lr)
        head = rounds.warmup_lr + risen * (head - rounds.warmup_lr)
    return body, head


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up, then a cosine to 1 % of the peak (`joint`)."""
    if step < recipe.warmup:
        return recipe.lr * (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.lr * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * done)))


def _falling(done: int, horizon: int) -> float:
    return max(0.0, 1.0 - done / horizon)
