# SPDX-License-Identifier: Apache-2.0
"""The parts of a recipe that have fields of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Objective = Literal["joint", "paper"]
Target = Literal["pyramid", "saliency"]
Seeding = Literal["batch", "example"]
WeightingKind = Literal["constant", "loss_ratio"]


class RecipeError(ValueError):
    """A recipe cannot be read, or names a field or value that does not exist."""


@dataclass(frozen=True, slots=True)
class DataEntry:
    """One data set on disk.

    Attributes:
        kind: layout as `datasets` knows it (`fmb`, `mfnet`, `msrs`, `pst900`, `folder`, `bag`,
            `rig`), or "auto" to look.
        path: below the data folder of the command line; default: the kind.
        split: which part of it; "" for a data set that is not divided.
        share: share in a batch, against the other entries.
        annotated: class list of the labels of a plain folder or a bag; the others know theirs.
        ignore: ids of the recipe's class list that teach nothing; None takes what that list says.
    """

    kind: str = "auto"
    path: str = ""
    split: str = "train"
    share: float = 1.0
    annotated: str = "fmb15"
    ignore: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Weighting:
    """How the two losses are balanced.

    Attributes:
        kind: "constant": 1 and 1. "loss_ratio": the loss that falls more slowly gets more weight,
            see `weighting.LossRatioWeighting`.
        temperature: how far weights may move: 2 moves them, 1000 (the released value) does not.
        window: steps over which a loss is averaged before two averages are compared.
    """

    kind: WeightingKind = "constant"
    temperature: float = 2.0
    window: int = 50

    def __post_init__(self) -> None:
        if not self.temperature > 0.0 or self.window < 1:
            raise RecipeError(
                f"weighting has temperature {self.temperature} and window {self.window}, expected "
                "above 0 and at least 1"
            )


@dataclass(frozen=True, slots=True)
class Validation:
    """How the best weights are found; never on a test split.

    Attributes:
        every: steps between two scores; 0 never scores, and the last weights are the result.
        pairs: most pairs to score, evenly spread over the data.
        data: what to score on; None takes what `hold_out_every` keeps from training.
        stop_at: end the run when mIoU reaches this; 0 runs to the end.
    """

    every: int = 0
    pairs: int = 40
    data: DataEntry | None = None
    stop_at: float = 0.0

    def __post_init__(self) -> None:
        if self.data is not None and self.data.split.startswith("test"):
            raise RecipeError(
                f"validation.data has split {self.data.split!r}: weights chosen on a test split "
                "cannot be scored on it any more; name a validation split, or leave data out and "
                "set hold_out_every"
            )


@dataclass(frozen=True, slots=True)
class Rounds:
    """The published schedule: in each round fusion is trained, then segmentation on what it fuses.

    Learning rates fall linearly to 0 over a horizon that is longer than the training.

    Attributes:
        count: rounds k = 1 ... count.
        first_fusion_steps: steps of fusion in round 1.
        fusion_steps: steps of fusion in a later round.
        segmentation_steps: steps of segmentation in every round.
        fusion_crop: (height, width) that fusion is trained on.
        segmentation_crop: (height, width) that segmentation is trained on.
        fusion_lr: rate of fusion in round 1; divided by k in round k, and restarted in each.
        fusion_horizon: steps over which it would reach 0.
        segmentation_lr: rate of the encoder.
        head_lr: rate of the segmentation head.
        segmentation_horizon: steps over which both would reach 0; goes on over all rounds.
        warmup: steps in which segmentation warms up from `warmup_lr`, once.
        warmup_lr: see `warmup`.
        fusion_weight: weight of the fusion loss from round 2; divided by k in round k.
        segmentation_weight: weight of the segmentation loss in fusion, from round 2.
    """

    count: int = 7
    first_fusion_steps: int = 6000
    fusion_steps: int = 4000
    segmentation_steps: int = 10_000
    fusion_crop: tuple[int, int] = (320, 320)
    segmentation_crop: tuple[int, int] = (480, 480)
    fusion_lr: float = 1e-4
    fusion_horizon: int = 20_000
    segmentation_lr: float = 8e-5
    head_lr: float = 8e-4
    segmentation_horizon: int = 160_000
    warmup: int = 3000
    warmup_lr: float = 1e-6
    fusion_weight: float = 0.4
    segmentation_weight: float = 0.8
