# SPDX-License-Identifier: Apache-2.0
"""The losses of one phase, their balance, and their number format."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from segmif_ros.network.guidance import guidance, luma
from segmif_ros.network.segmif import SegMiF
from segmif_ros.training.batches import Batch, Phase
from segmif_ros.training.losses import (
    Known,
    count_known,
    first_round_loss,
    fusion_loss,
    labelled_cross_entropy,
    later_round_loss,
    segmentation_loss,
)
from segmif_ros.training.recipe import RecipeError, Weighting

Pair = tuple[float, float]


class LossRatioWeighting:
    """Weights of the fusion and of the segmentation loss while they fall at different speeds.

    Loss-ratio weighting (Liu, Johns and Davison, "End-to-end multi-task learning with attention",
    2019) as SegMiF uses it:

        r_i = L_i(now) / L_i(before),   w_i = K softmax(r / T)_i,   K = 2 losses

    The released SegMiF code compares two single steps and has T = 1000, which keeps both weights
    within 0.0005 |r_0 - r_1| of 1: a constant. Here two averages over a window of steps are
    compared, because the ratio of two single batches is mostly noise, and T = 2.

    Attributes:
        weights: of the next step; they add up to 2 and begin at 1 and 1.
    """

    def __init__(self, settings: Weighting) -> None:
        self._settings = settings
        self.weights: Pair = (1.0, 1.0)
        self._sums: Pair = (0.0, 0.0)
        self._count = 0
        self._before: Pair | None = None

    def observe(self, fusion: float, segmentation: float) -> None:
        """Add the unweighted losses of one step."""
        if self._settings.kind == "constant":
            return
        self._sums = (self._sums[0] + fusion, self._sums[1] + segmentation)
        self._count += 1
        if self._count < self._settings.window:
            return
        now = (self._sums[0] / self._count, self._sums[1] / self._count)
        # A batch without labels has a segmentation loss of 0: there is nothing to compare.
        if self._before is not None and min(*self._before, *now) > 0.0:
            ratios = (now[0] / self._before[0], now[1] / self._before[1])
            self.weights = ratio_weights(ratios, self._settings.temperature)
        self._before, self._sums, self._count = now, (0.0, 0.0), 0

    def state_dict(self) -> dict[str, Any]:
        """Return the state for `load_state_dict`."""
        return {
            "weights": list(self.weights),
            "sums": list(self._sums),
            "count": self._count,
            "before": None if self._before is None else list(self._before),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.weights = _pair(state["weights"])
        self._sums, self._count = _pair(state["sums"]), int(state["count"])
        self._before = None if state["before"] is None else _pair(state["before"])


def ratio_weights(ratios: Pair, temperature: float) -> Pair:
    """Return 2 softmax(ratios / temperature)."""
    high = max(ratios)
    a, b = (math.exp((ratio - high) / temperature) for ratio in ratios)
    return 2.0 * a / (a + b), 2.0 * b / (a + b)


def _pair(values: Any) -> Pair:
    first, second = values
    return float(first), float(second)


PrecisionName = Literal["auto", "fp32", "bf16", "fp16"]
_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Precision:
    """Number format of the network's forward pass; losses and weights stay float32.

    Attributes:
        name: "fp32", "bf16" or "fp16".
        device: type of the device, "cpu" or "cuda".
    """

    name: str
    device: str

    @classmethod
    def choose(cls, wanted: PrecisionName, device: torch.device, *, bf16: bool) -> Precision:
        """Choose for a device.

        Args:
            wanted: from the command line; "auto" follows the recipe.
            device: where the network runs.
            bf16: of the recipe; a GPU without bfloat16 uses float16.
        """
        name: str = wanted
        if wanted == "auto":
            name = "bf16" if bf16 else "fp32"
            if name == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
                name = "fp16"
        return cls(name, device.type)

    def autocast(self) -> torch.autocast:
        """Context in which the network is to be called."""
        # For float32 the type is not used, but a CPU warns about types it does not know.
        kind = _TYPES[self.name] if self.name != "fp32" else torch.bfloat16
        return torch.autocast(self.device, kind, enabled=self.name != "fp32")

    def scaler(self) -> torch.amp.GradScaler:
        """Scale losses up so that float16 gradients do not vanish; idle in other formats."""
        return torch.amp.GradScaler(self.device, enabled=self.name == "fp16")


LossPair = tuple[Tensor, Tensor]
"""Fusion and segmentation loss, each a scalar."""


class JointObjective(nn.Module):
    """Both sub-networks end to end: recipe `joint`."""

    label_stride = 2
    """Labels are read on every second pixel."""

    def __init__(
        self,
        network: nn.Module,
        weights: Tensor,
        precision: Precision,
        overlap: float,
        only: Sequence[str],
        boxed: float = 0.0,
    ) -> None:
        super().__init__()
        self.network = network
        self.precision = precision
        self.overlap, self.boxed = overlap, boxed
        self.only = tuple(only)
        self.register_buffer("weights", weights, persistent=False)

    def train(self, mode: bool = True) -> JointObjective:
        """Set training mode; parts that are not trained stay in eval mode."""
        super().train(mode)
        if self.only:
            self.network.eval()
            for name in self.only:
                self.network.get_submodule(name).train(mode)
        return self

    def forward(self, batch: Batch, known: Known) -> LossPair:
        """Return the losses of a batch or a part of it; `known` is that of the whole."""
        rgb, thermal, labels, target, boxes = batch
        with self.precision.autocast():
            output = self.network(rgb, thermal)
        return (
            fusion_loss(output.luma.float(), target),
            segmentation_loss(
                output.logits.float(),
                labels,
                self.weights,
                known,
                overlap=self.overlap,
                boxes=boxes,
                boxed=self.boxed,
            ),
        )


class FusionObjective(nn.Module):
    """The fusion network alone, the segmentation network frozen: fusion rounds of `paper`.

    The encoder's features are taken without gradient. From round 2 the frozen segmentation network
    scores the fused image, without dropout and with its running statistics: the released code
    leaves both on, which adds noise to a score without a gradient.
    """

    label_stride = 1

    def __init__(
        self, network: SegMiF, weights: Tensor, precision: Precision, *, first_round: bool
    ) -> None:
        super().__init__()
        self.network = network
        self.precision = precision
        self.first_round = first_round
        self.register_buffer("weights", weights, persistent=False)

    def train(self, mode: bool = True) -> FusionObjective:
        """Switch the fusion network only."""
        super().train(mode)
        self.network.encoder.eval()
        self.network.head.eval()
        return self

    def forward(self, batch: Batch, known: Known) -> LossPair:
        """Return the losses of a batch or a part of it; `known` is that of the whole."""
        rgb, thermal, labels, target, _ = batch
        with self.precision.autocast():
            fused = fuse(self.network, rgb, thermal)
        if self.first_round:
            return first_round_loss(fused.float(), target), fused.new_zeros((), dtype=torch.float32)
        with self.precision.autocast():
            logits = self.network.segment(coloured(rgb, fused))
        return (
            later_round_loss(fused.float(), target),
            labelled_cross_entropy(logits.float(), labels, self.weights, known),
        )


class SegmentationObjective(nn.Module):
    """The segmentation network on images of the frozen fusion network: the rest of `paper`.

    The released scripts pass the fused images as 8-bit files, written once per round; here they
    are computed in memory with the current encoder, as in a bundle.
    """

    label_stride = 1

    def __init__(self, network: SegMiF, weights: Tensor, precision: Precision) -> None:
        super().__init__()
        self.network = network
        self.precision = precision
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, batch: Batch, known: Known) -> LossPair:
        """Return the losses of a batch or a part of it; `known` is that of the whole."""
        rgb, thermal, labels, target, _ = batch
        with self.precision.autocast():
            with torch.no_grad():
                fused = fuse(self.network, rgb, thermal)
            logits = self.network.segment(coloured(rgb, fused))
        return (
            later_round_loss(fused.float(), target),
            labelled_cross_entropy(logits.float(), labels, self.weights, known),
        )


Objective = JointObjective | FusionObjective | SegmentationObjective


def objective_of(
    phase: Phase,
    network: nn.Module,
    weights: Tensor,
    precision: Precision,
    overlap: float,
    only: Sequence[str] = (),
    boxed: float = 0.0,
) -> Objective:
    """Build the objective of a phase, and freeze the other weights.

    Raises:
        RecipeError: the published rounds need the published cascade, or `only` names a part that
            the network has not.
    """
    network.requires_grad_(True)
    if phase.kind == "joint":
        parts = {name for name, _ in network.named_children()}
        unknown = sorted(set(only) - parts)
        if unknown:
            raise RecipeError(f"only names {unknown[0]!r}, the network has {sorted(parts)}")
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(not only or name.split(".")[0] in only)
        return JointObjective(network, weights, precision, overlap, only, boxed)
    if not isinstance(network, SegMiF):
        raise RecipeError(
            "objective 'paper' trains two sub-networks by turns, and this variant has its encoder "
            "in both; take a cascade such as paper-b3 or b1, or objective joint"
        )
    if phase.kind == "fusion":
        network.requires_grad_(False)
        network.fusion.requires_grad_(True)
        return FusionObjective(network, weights, precision, first_round=phase.round == 1)
    network.fusion.requires_grad_(False)
    return SegmentationObjective(network, weights, precision)


def fuse(network: SegMiF, rgb: Tensor, thermal: Tensor) -> Tensor:
    """Fused luma Bx1xHxW; the encoder's features are taken without gradient or dropped paths."""
    visible = luma(rgb)
    training = network.encoder.training
    network.encoder.eval()
    with torch.no_grad():
        guide = guidance(thermal, visible)
        semantic = network.encoder(guide.expand(-1, 3, -1, -1), stages=2)
    network.encoder.train(training)
    return network.fusion(thermal, visible, semantic)


def coloured(rgb: Tensor, fused: Tensor) -> Tensor:
    """Replace the luma of a picture without clamping, which would stop the gradient."""
    return rgb + (fused - luma(rgb))


def parameter_groups(network: nn.Module, phase: Phase, decay: float) -> Iterator[dict[str, Any]]:
    """Yield the trained parameters for AdamW: norms and biases are not decayed.

    Groups with `head` true belong to the segmentation head, which may have a rate of its own.
    """
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    heads = {name for name in trained if phase.kind == "segmentation" and name.startswith("head.")}
    for head, names in ((False, trained.keys() - heads), (True, heads)):
        mine = [p for name, p in trained.items() if name in names]
        if mine:
            yield {"params": [p for p in mine if p.ndim > 1], "weight_decay": decay, "head": head}
            yield {"params": [p for p in mine if p.ndim <= 1], "weight_decay": 0.0, "head": head}


def known_of(objective: Objective, labels: Tensor) -> Known:
    """Count the loss terms of a batch's labels under an objective."""
    return count_known(labels, objective.weights, stride=objective.label_stride)
