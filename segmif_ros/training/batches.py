# SPDX-License-Identifier: Apache-2.0
"""From data sets to the tensors of one step; a batch depends on the seed and the step only."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from segmif_ros.datasets.sample import Source
from segmif_ros.training.augment import Example, make_example, plain_example
from segmif_ros.training.recipe import Recipe
from segmif_ros.training.schedule import phase_at

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
        part: which examples of the batch are wanted. With seeding "batch" the others are made and
            thrown away, because all come from one stream of random numbers.
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
    """Bring examples of one size together as tensors."""
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
    """Draws the batches of the coming steps in threads while the network works on this one."""

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
