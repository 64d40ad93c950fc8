# SPDX-License-Identifier: Apache-2.0
"""A training recipe: one YAML file, one frozen dataclass."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from segmif_ros.documents import DocumentError, conform, read_yaml

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
        annotated: class list of the labels of a plain folder or a bag; the others define theirs.
        ignore: ids of the recipe's class list without a loss; None uses the `ignore` of that list.
    """

    kind: str = "auto"
    path: str = ""
    split: str = "train"
    share: float = 1.0
    annotated: str = "fmb15"
    ignore: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Weighting:
    """Balance of the two losses.

    Attributes:
        kind: "constant": 1 and 1. "loss_ratio": the loss that falls more slowly gets more weight,
            see `objective.LossRatioWeighting`.
        temperature: range of the weights: 2 changes them, 1000 (the released value) hardly.
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
    """Selection of the best weights; never on a test split.

    Attributes:
        every: steps between two scores; 0 never scores, and the last weights are the result.
        pairs: most pairs to score, evenly spread over the data.
        data: pairs to score; None uses those that `hold_out_every` excludes from training.
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
    """The published schedule: in each round fusion is trained, then segmentation on its output.

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
        segmentation_horizon: steps over which both would reach 0; continues over all rounds.
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


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Probabilities in [0, 1] and strengths of the augmentations.

    Attributes:
        crop: (height, width) of what the network trains on, multiples of 64.
        scale: range of the random zoom.
        darkness: visible pictures turned into night.
        smoke: visible pictures covered by smoke.
        glare: visible pictures with a blinding light.
        overexposed: visible pictures whose known sky is white and shines over its edges.
        wet: visible pictures whose known road mirrors what stands on it.
        drop_visible: visible camera blanked: black, as the node blanks a lost camera, or one grey.
        drop_thermal: thermal camera blanked, likewise.
        shift_px: largest misregistration of thermal, pixels.
        sharpen: share of its own fine detail that is added to the fusion target; compensates what
            a small network smooths.
        brighter: share of the way from the pyramid target to the brighter camera, see
            `target.fusion_target`.
        contrast: share of its difference from the brightness around (24 px) that is added to the
            fusion target.
        blur_visible: visible pictures out of focus.
        blur_thermal: thermal pictures out of focus.
        noise: pictures of either camera with sensor noise.
        stripes: thermal pictures with column noise.
        ffc: thermal pictures that drifted since the camera's last shutter (flat-field correction),
            or that it has just made jump. At 0 no random number is drawn for it.
        thermal_gain: range of the contrast of thermal.
        thermal_offset: range of what is added to thermal, grey levels.
        focus: windows that are laid over a random box of the pair, if it has boxes.
        plain: nothing changed and nothing random: the window of `crop` in the middle of every
            pair, pairs in their order, and no dropout.
    """

    crop: tuple[int, int] = (256, 320)
    scale: tuple[float, float] = (0.7, 1.6)
    darkness: float = 0.3
    smoke: float = 0.12
    glare: float = 0.08
    overexposed: float = 0.0
    wet: float = 0.0
    drop_visible: float = 0.08
    drop_thermal: float = 0.08
    shift_px: float = 1.5
    sharpen: float = 0.0
    contrast: float = 0.0
    brighter: float = 0.0
    blur_visible: float = 0.2
    blur_thermal: float = 0.3
    noise: float = 0.5
    stripes: float = 0.15
    ffc: float = 0.0
    thermal_gain: tuple[float, float] = (0.7, 1.4)
    thermal_offset: tuple[float, float] = (-25.0, 50.0)
    focus: float = 0.0
    plain: bool = False


@dataclass(frozen=True, slots=True)
class Recipe:
    """All inputs of a run besides the data.

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
            "saliency" (`network.guidance`, what the paper's code calls Mask2).
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
        """Make a recipe of the content of a YAML file.

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
