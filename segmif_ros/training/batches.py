# SPDX-License-Identifier: Apache-2.0
"""The phases of a training, and the tensors of each step: they depend on seed and step only."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from segmif_ros.datasets.sample import Source
from segmif_ros.training.augment import Example, make_example, plain_example
from segmif_ros.training.recipe import Recipe

Kind = Literal["joint", "fusion", "segmentation"]


@dataclass(frozen=True, slots=True)
class Phase:
    """A range of steps with the same trained weights and the same loss.

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


Batch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""rgb Bx3xHxW, thermal Bx1xHxW and target Bx1xHxW in [0, 1], labels BxHxW int64, and boxes
BxMx5 as `losses.box_loss` takes them; order: rgb, thermal, labels, target, boxes."""

ALL = slice(None)


def draw_batch(
    recipe: Recipe, sources: Mapping[str, Source], step: int, part: slice = ALL
) -> Batch:
    """Make the batch of one step, or a part of it; a resumed run draws the same."""
    return stack(draw_examples(recipe, sources, step, part))


def draw_examples(
    recipe: Recipe, sources: Mapping[str, Source], step: int, part: slice = ALL
) -> list[Example]:
    """Draw the examples of one step.

    Args:
        recipe: shares, seed, size and augmentation.
        sources: data sets by the names used in `recipe.mix`.
        step: counted over the whole run.
        part: the requested examples of the batch. With seeding "batch" the others are drawn and
            discarded, because all use one stream of random numbers.
    """
    how = recipe.augmentation
    crop = phase_at(recipe, step).crop
    if crop is not None:
        how = replace(how, crop=crop)
    if how.plain:
        pairs = [load for name in sorted(recipe.mix) for load in sources[name]]
        turns = range(step * recipe.batch, (step + 1) * recipe.batch)[part]
        return [plain_example(pairs[i % len(pairs)](), how.crop, recipe.target) for i in turns]
    rng = np.random.default_rng((recipe.seed, step))
    names = sorted(recipe.mix)
    shares = np.array([recipe.mix[name] for name in names])
    drawn = rng.choice(names, recipe.batch, p=shares / shares.sum())

    def example(name: str, stream: np.random.Generator) -> Example:
        source = sources[name]
        sample = source[int(stream.integers(len(source)))]()
        return make_example(sample, how, stream, recipe.target)

    if recipe.seeding == "batch":
        return [example(str(name), rng) for name in drawn][part]
    return [
        example(str(drawn[i]), np.random.default_rng((recipe.seed, step, i)))
        for i in range(recipe.batch)[part]
    ]


def stack(examples: Iterable[Example]) -> Batch:
    """Stack examples of one size as tensors."""
    examples = list(examples)
    rgb = torch.from_numpy(np.stack([e.rgb for e in examples])).permute(0, 3, 1, 2) / 255.0
    thermal = torch.from_numpy(np.stack([e.thermal for e in examples]))[:, None] / 255.0
    labels = torch.from_numpy(np.stack([e.labels for e in examples])).long()
    target = torch.from_numpy(np.stack([e.target for e in examples]))[:, None] / 255.0
    boxes = torch.full((len(examples), max(len(e.boxes) for e in examples), 5), -1.0)
    for row, example in zip(boxes, examples, strict=True):
        row[: len(example.boxes)] = torch.from_numpy(example.boxes)
    return rgb.contiguous(), thermal, labels, target, boxes


class BatchesAhead:
    """Prefetches the batches of the next steps in threads."""

    def __init__(
        self,
        recipe: Recipe,
        sources: Mapping[str, Source],
        steps: range,
        part: slice = ALL,
        workers: int = 1,
    ) -> None:
        """`steps` are those of the run; `part` is this process's share of each batch."""
        self._recipe, self._sources, self._part = recipe, sources, part
        self._steps = iter(steps)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="batch")
        self._coming: deque[Future[Batch]] = deque()
        for _ in range(workers):
            self._submit()

    def __enter__(self) -> BatchesAhead:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def take(self) -> Batch:
        """Return the batch of the next step."""
        batch = self._coming.popleft().result()
        self._submit()
        return batch

    def _submit(self) -> None:
        step = next(self._steps, None)
        if step is not None:
            self._coming.append(
                self._pool.submit(draw_batch, self._recipe, self._sources, step, self._part)
            )
