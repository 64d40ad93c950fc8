# SPDX-License-Identifier: Apache-2.0
"""A training recipe: one YAML file, one frozen dataclass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml

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

Part = TypeVar("Part")


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
    only: tuple[str, ...] = ()
    weighting: Weighting = field(default_factory=Weighting)
    target: Target = "pyramid"
    validation: Validation = field(default_factory=Validation)
    rounds: Rounds = field(default_factory=Rounds)
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for name, value, known in (
            ("objective", self.objective, get_args(Objective)),
            ("target", self.target, get_args(Target)),
            ("seeding", self.seeding, get_args(Seeding)),
        ):
            if value not in known:
                raise RecipeError(f"{name} is {value!r}, expected one of {known}")
        if self.only and self.objective != "joint":
            raise RecipeError(f"only {list(self.only)} goes with objective joint alone")
        if self.batch % self.accumulate:
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
            raw: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as err:
            raise RecipeError(f"recipe {path} cannot be read: {err}") from err
        try:
            return cls.from_mapping(raw)
        except (RecipeError, TypeError) as err:
            raise RecipeError(f"recipe {path}: {err}") from err

    @classmethod
    def from_mapping(cls, raw: Any) -> Recipe:
        """Make a recipe of what a YAML file holds.

        Raises:
            RecipeError: a field is unknown or has a value that cannot be.
        """
        values = dict(_mapping("a recipe", raw))
        _check("field", values, cls)
        data = {
            name: _part(f"mix.{name}", DataEntry, entry)
            for name, entry in _mapping("mix", values.get("mix", {})).items()
            if not isinstance(entry, int | float)
        }
        data.update(
            (name, _part(f"data.{name}", DataEntry, entry))
            for name, entry in _mapping("data", values.get("data", {})).items()
        )
        shares = {name: entry.share for name, entry in data.items()}
        values["data"] = data
        values["mix"] = {
            name: shares.get(name, entry) for name, entry in values.get("mix", {}).items()
        }
        validation = dict(_mapping("validation", values.get("validation", {})))
        if "data" in validation:
            validation["data"] = _part("validation.data", DataEntry, validation["data"])
        values["validation"] = _part("validation", Validation, validation)
        values["weighting"] = _part("weighting", Weighting, values.get("weighting", {}))
        values["only"] = tuple(values.get("only", ()))
        values["rounds"] = _part("rounds", Rounds, values.get("rounds", {}))
        values["augmentation"] = _part("augmentation", Augmentation, values.get("augmentation", {}))
        return cls(**values)


def _part(where: str, part: type[Part], raw: Any) -> Part:
    values = _mapping(where, raw)
    _check(f"field of {where}", values, part)
    try:
        return part(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    except TypeError as err:
        raise RecipeError(f"{where}: {err}") from err


def _mapping(where: str, raw: Any) -> Mapping[str, Any]:
    if not isinstance(raw, dict):
        raise RecipeError(
            f"{where} holds {type(raw).__name__}, expected fields with values; "
            "config/training has examples"
        )
    return raw


def _check(what: str, raw: Mapping[str, Any], part: Any) -> None:
    known = {f.name for f in fields(part)}
    unknown = sorted(map(str, raw.keys() - known))
    if unknown:
        raise RecipeError(f"unknown {what} {unknown[0]!r}, known: {sorted(known)}")
