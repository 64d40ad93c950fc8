# SPDX-License-Identifier: Apache-2.0
"""A training recipe: one YAML file, one frozen dataclass."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from segmif_ros.training.augment import Augmentation


class RecipeError(ValueError):
    """A recipe file names a field that does not exist or cannot be read."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything a run depends on besides the data.

    Attributes:
        variant: row of `network.variants.VARIANTS`.
        labels: class list under config/labels, without suffix.
        steps: optimiser steps.
        batch: examples a step.
        lr: peak learning rate (AdamW), warmed up and then annealed by a cosine.
        weight_decay: AdamW's.
        warmup: steps of linear warm-up.
        ema: decay of the averaged weights that are shipped.
        seed: seed of weights, order and augmentation.
        bf16: compute in bfloat16 where autocast allows it; twice as fast on CPUs with AMX.
        mix: share of each data source in a batch, by name.
        hold_out_every: of the blocks of 8 neighbouring road pairs, every n-th is kept from
            training, for choices that must not be made on the validation list; 0 trains on all.
        rig_scenes: how many seeds of the virtual rig to draw from.
        class_weights: weight by class id where it is not 1.
        segmentation_weight: weight of the segmentation loss against the fusion loss.
        augmentation: see `Augmentation`.
    """

    variant: str = "nano"
    labels: str = "fmb15"
    steps: int = 6000
    batch: int = 8
    lr: float = 2e-3
    weight_decay: float = 0.02
    warmup: int = 200
    ema: float = 0.998
    seed: int = 0
    bf16: bool = True
    mix: dict[str, float] = field(default_factory=dict)
    hold_out_every: int = 0
    rig_scenes: int = 600
    class_weights: dict[int, float] = field(default_factory=dict)
    segmentation_weight: float = 0.5
    augmentation: Augmentation = field(default_factory=Augmentation)

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """Read a recipe YAML.

        Raises:
            RecipeError: unreadable, or a field is unknown.
        """
        try:
            raw: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as err:
            raise RecipeError(f"recipe {path} cannot be read: {err}") from err
        if not isinstance(raw, dict):
            raise RecipeError(
                f"recipe {path} holds {type(raw).__name__}, expected fields with values; "
                "config/training has examples"
            )
        augmentation = raw.pop("augmentation", {})
        _check(path, raw, {f.name for f in fields(cls)})
        _check(path, augmentation, {f.name for f in fields(Augmentation)})
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in augmentation.items()
        }
        return cls(**raw, augmentation=Augmentation(**values))


def _check(path: Path, raw: dict[str, Any], known: set[str]) -> None:
    unknown = sorted(raw.keys() - known)
    if unknown:
        raise RecipeError(f"recipe {path}: unknown field {unknown[0]!r}, known: {sorted(known)}")
