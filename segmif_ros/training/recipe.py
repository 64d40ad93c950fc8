# SPDX-License-Identifier: Apache-2.0
"""A training recipe: one YAML file, one frozen dataclass."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from segmif_ros.documents import DocumentError, conform, read_yaml
from segmif_ros.training.augment import Augmentation
from segmif_ros.training.recipe_parts import (
    DataEntry,
    Objective,
    RecipeError,
    Rounds,
    Seeding,
    Target,
    Validation,
    Weighting,
)

__all__ = ["DataEntry", "Recipe", "RecipeError", "Rounds", "Validation", "Weighting"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything a run depends on besides the data.

    Attributes:
        variant: row of `network.variants.VARIANTS`.
        labels: class list under config/labels, without suffix.
        objective: "joint" trains both sub-networks end to end; "paper" alternates as published.
        steps: optimiser steps; for "paper" they follow from `rounds`.
        batch: examples a step, over all processes and parts.
        accumulate: parts that a process takes one after the other for one step, to save memory.
        lr: peak learning rate (AdamW), warmed up and then annealed by a cosine; for "paper" see
            `rounds`.
        weight_decay: AdamW's.
        warmup: steps of linear warm-up.
        ema: decay of the averaged weights that are shipped; 0 ships the trained ones.
        seed: seed of weights, order and augmentation.
        bf16: compute in bfloat16 where autocast allows it; twice as fast on CPUs with AMX. A GPU
            without bfloat16 takes float16 with a scaled loss.
        mix: share of each data source in a batch, by name.
        data: where sources are that are no short name, by the same name; in the file both are one
            entry of `mix`: `fmb: {kind: fmb, path: FMB, share: 0.6}`.
        seeding: "batch" draws a batch from one stream of random numbers; "example" gives each
            example its own, so that one of several processes draws only its part.
        hold_out_every: of the blocks of 8 neighbouring pairs of `msrs` and of `data`, every n-th is
            kept from training, for choices that must not be made on the validation list; 0 trains
            on all.
        rig_scenes: how many seeds of the virtual rig to draw from.
        class_weights: weight by class id where it is not 1.
        segmentation_weight: weight of the segmentation loss against the fusion loss.
        overlap_weight: weight of the Dice term inside the segmentation loss; 0 is cross entropy.
        box_weight: weight of the term that every box counts alike in, see `losses.box_loss`.
        only: parts of the network that are trained, by the names of its modules; the others keep
            their weights and statistics. Empty trains all; for "joint" only.
        weighting: how the two losses are balanced on the way, see `Weighting`.
        target: what the fused luma is pulled towards: "pyramid" (`target.fusion_target`) or
            "saliency" (`segmif_ros.guidance`, what the paper's code calls Mask2).
        validation: see `Validation`.
        rounds: see `Rounds`; read for "paper" only.
        augmentation: see `Augmentation`.
    """

    variant: str = "nano"
    labels: str = "fmb15"
    objective: Objective = "joint"
    steps: int = 6000
    batch: int = 8
    accumulate: int = 1
    lr: float = 2e-3
    weight_decay: float = 0.02
    warmup: int = 200
    ema: float = 0.998
    seed: int = 0
    bf16: bool = True
    mix: dict[str, float] = field(default_factory=dict)
    data: dict[str, DataEntry] = field(default_factory=dict)
    seeding: Seeding = "batch"
    hold_out_every: int = 0
    rig_scenes: int = 600
    class_weights: dict[int, float] = field(default_factory=dict)
    segmentation_weight: float = 0.5
    overlap_weight: float = 0.0
    box_weight: float = 0.0
    only: tuple[str, ...] = ()
    weighting: Weighting = field(default_factory=Weighting)
    target: Target = "pyramid"
    validation: Validation = field(default_factory=Validation)
    rounds: Rounds = field(default_factory=Rounds)
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if self.only and self.objective != "joint":
            raise RecipeError(f"only {list(self.only)} goes with objective joint alone")
        if self.batch < 1 or self.accumulate < 1 or self.batch % self.accumulate:
            raise RecipeError(
                f"batch is {self.batch} and accumulate {self.accumulate}; a batch must divide into "
                "equal parts"
            )

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """Read a recipe YAML.

        Raises:
            RecipeError: unreadable, or a field is unknown or has a value that cannot be.
        """
        try:
            return cls.from_mapping(read_yaml(path))
        except (DocumentError, RecipeError) as err:
            raise RecipeError(f"recipe {path}: {err}; config/training has examples") from err

    @classmethod
    def from_mapping(cls, raw: Any) -> Recipe:
        """Make a recipe of what a YAML file holds.

        Raises:
            RecipeError: a field is unknown or has a value that cannot be.
        """
        try:
            file = conform(raw, _RecipeFile)
        except DocumentError as err:
            raise RecipeError(str(err)) from err
        data = {name: each for name, each in file.mix.items() if isinstance(each, DataEntry)}
        data |= file.data
        mix = {name: data[name].share if name in data else each for name, each in file.mix.items()}
        values = {each.name: getattr(file, each.name) for each in fields(cls)}
        return cls(**{**values, "data": data, "mix": mix})


@dataclass(frozen=True, slots=True)
class _RecipeFile(Recipe):
    """A recipe as it is written: where a data set lies may stand beside its share."""

    mix: dict[str, float | DataEntry] = field(default_factory=dict)  # type: ignore[assignment]
