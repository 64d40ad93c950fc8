# SPDX-License-Identifier: Apache-2.0
"""Everything a run needs to go on as if it had never stopped, in one file."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segmif_ros.bundle import Bundle, BundleError
from segmif_ros.datasets.sample import Source
from segmif_ros.export.bundle_weights import BundleWeightsError, read_weights
from segmif_ros.network.weights_file import WeightsFileError, load_stored, state_dict_of
from segmif_ros.outputs import written_aside
from segmif_ros.share import resolve_model
from segmif_ros.training.objective import LossRatioWeighting
from segmif_ros.training.ranks import Ranks
from segmif_ros.training.recipe import Recipe

_EXPECTED = "give a checkpoint.pt or best.pt that `segmif train` wrote"


class CheckpointError(ValueError):
    """A checkpoint cannot be read or does not fit; the message names the file."""


@dataclass(slots=True)
class Best:
    """The best score so far and when it was reached; higher is better."""

    score: float = float("-inf")
    step: int = -1


@dataclass(slots=True)
class RunState:
    """What changes while a run goes on.

    Attributes:
        network: trained weights.
        average: their running average, which is what a run is for.
        optimiser: of the current phase.
        scaler: loss scale of float16.
        weighting: balance of the losses.
        best: best validation so far.
        step: steps done.
        taught: digest of the labels by source, see `labels_digest`.
    """

    network: nn.Module
    average: nn.Module
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    weighting: LossRatioWeighting
    best: Best = field(default_factory=Best)
    step: int = 0
    taught: dict[str, str] = field(default_factory=dict)


def labels_digest(source: Source) -> str:
    """Return the SHA-256 of the labels and boxes of up to 32 pairs, spread over a source."""
    found = hashlib.sha256()
    for place in np.unique(np.linspace(0, len(source) - 1, 32).round().astype(int)):
        sample = source[place]()
        found.update(b"" if sample.labels is None else sample.labels.tobytes())
        found.update(repr(sample.boxes).encode())
    return found.hexdigest()


def save(path: Path, state: RunState, recipe: Recipe, classes: int, ranks: Ranks) -> None:
    """Write a checkpoint whole or not at all; every rank has to call this, rank 0 writes."""
    rng = {"cpu": ranks.gather(torch.get_rng_state())}
    if ranks.device.type == "cuda":
        rng["cuda"] = ranks.gather(torch.cuda.get_rng_state())
    if ranks.rank == 0:
        _write(
            path,
            {
                **_facts(recipe, classes),
                "network": state.network.state_dict(),
                "average": state.average.state_dict(),
                "optimiser": state.optimiser.state_dict(),
                "scaler": state.scaler.state_dict(),
                "weighting": state.weighting.state_dict(),
                "best": {"score": state.best.score, "step": state.best.step},
                "rng": rng,
                "step": state.step,
                "taught": state.taught,
            },
        )


def save_best(path: Path, state: RunState, recipe: Recipe, classes: int) -> None:
    """Write the averaged weights with their score, for `segmif export` and `--start`."""
    _write(
        path,
        {
            **_facts(recipe, classes),
            "average": state.average.state_dict(),
            "score": state.best.score,
            "step": state.step,
        },
    )


def read(path: Path) -> dict[str, Any]:
    """Load a checkpoint of a run; "average" are its weights, float32 and finite.

    Raises:
        CheckpointError: missing, damaged, or no checkpoint of `segmif train`.
    """
    try:
        stored = load_stored(path)
        if not isinstance(stored, dict) or "average" not in stored:
            raise CheckpointError(f"{path} has no averaged weights; {_EXPECTED}")
        return {**stored, "average": state_dict_of(stored["average"], path)}
    except WeightsFileError as err:
        raise CheckpointError(f"{err}; {_EXPECTED}") from err


def step_of(path: Path) -> int:
    """Return how many steps a run has done.

    Raises:
        CheckpointError: see `read`.
    """
    return int(read(path).get("step", 0))


def restore(
    path: Path, state: RunState, ranks: Ranks, *, labels: str, fresh_optimiser: set[int]
) -> None:
    """Put a run back where its checkpoint was written.

    Args:
        path: checkpoint.pt of the run.
        state: a run of the same recipe, not begun.
        ranks: this process among all; random numbers go on only with the same number of them.
        labels: class list of the recipe; another one of the same length would fit unnoticed.
        fresh_optimiser: steps at which a phase begins, so that the stored optimiser is over.

    Raises:
        CheckpointError: the file does not fit the recipe.
    """
    stored = read(path)
    if stored.get("labels", labels) != labels:
        raise CheckpointError(
            f"{path} learnt class list {stored['labels']!r}, the recipe names {labels!r}; resume "
            "with the recipe that it was begun with, or start again with --start"
        )
    try:
        state.network.load_state_dict(stored["network"])
        state.average.load_state_dict(stored["average"])
        state.step = int(stored["step"])
        if state.step not in fresh_optimiser:
            state.optimiser.load_state_dict(stored["optimiser"])
        if "rng" not in stored:
            print(f"{path} is of an older version: random numbers and loss weights start again")
            return
        if state.step not in fresh_optimiser:
            state.weighting.load_state_dict(stored["weighting"])
        state.scaler.load_state_dict(stored["scaler"])
        state.best = Best(float(stored["best"]["score"]), int(stored["best"]["step"]))
        everybody = stored["rng"]
    except (KeyError, ValueError, RuntimeError) as err:
        raise CheckpointError(
            f"{path} does not fit this recipe ({str(err).splitlines()[0]}); resume with the recipe "
            "that it was begun with, or start again with --start"
        ) from err
    before = stored.get("taught", {})
    for name in sorted(name for name, now in state.taught.items() if now != before.get(name, now)):
        print(
            f"{path} began with other labels of {name!r}; the run goes on with those there are now"
        )
    if len(everybody["cpu"]) == ranks.count:
        torch.set_rng_state(everybody["cpu"][ranks.rank])
        if ranks.device.type == "cuda" and "cuda" in everybody:
            torch.cuda.set_rng_state(everybody["cuda"][ranks.rank])


@dataclass(frozen=True, slots=True)
class Begun:
    """What a run began with.

    Attributes:
        summary: for the log.
        settled: BatchNorms know the statistics of real batches; `warm_start.settle_norms` gives
            them to weights that were read back from a bundle.
    """

    summary: str
    settled: bool = True


def load_start(network: nn.Module, start: Path) -> Begun:
    """Begin with the averaged weights of an earlier run, or with those of a bundle.

    A class layer of another size stays fresh, so that a network can learn other classes.

    Args:
        network: to be filled.
        start: checkpoint.pt, best.pt, or a bundle: its folder, or its name if it ships. The
            checkpoint that it was exported from is taken if it is still there unchanged, else what
            its fp32 graph holds.

    Raises:
        CheckpointError: the weights are not to be found or belong to another network.
    """
    if not start.exists():
        with suppress(FileNotFoundError):
            start = resolve_model(str(start))
    path, settled = start, True
    if start.is_dir():
        path, weights, settled = _bundle_weights(network, start)
    else:
        weights = read(path)["average"]
    own = network.state_dict()
    other = sorted(name for name in own.keys() & weights if own[name].shape != weights[name].shape)
    # A graph has no use for the number of batches that a BatchNorm saw.
    foreign = {n for n in own.keys() ^ weights.keys() if not n.endswith("num_batches_tracked")}
    if foreign or any(".predict." not in f".{name}" for name in other):
        first = sorted(foreign)[0] if foreign else other[0]
        raise CheckpointError(
            f"{path} holds another network than the recipe's variant: {first!r} does not fit"
        )
    network.load_state_dict({**own, **weights, **{name: own[name] for name in other}})
    what = "all weights but the class layer, which has another number of classes"
    return Begun(f"{path}: {what if other else 'all weights'}", settled)


def _bundle_weights(network: nn.Module, folder: Path) -> tuple[Path, dict[str, Tensor], bool]:
    """Return where the weights of a bundle lie, the weights, and whether norms are settled."""
    try:
        manifest = Bundle.load(folder).manifest
    except BundleError as err:
        raise CheckpointError(f"{folder} is no bundle ({err}); give a checkpoint.pt") from err
    source = manifest.provenance.get("checkpoint")
    if isinstance(source, dict) and "path" in source:
        path = Path(str(source["path"]))
        if path.is_file() and digest(path) == source.get("sha256"):
            return path, read(path)["average"], True
    path = folder / manifest.model
    try:
        weights = read_weights(path, network)
    except BundleWeightsError as err:
        raise CheckpointError(f"{err}; or give the checkpoint.pt of {folder} itself") from err
    names = [label.name for label in manifest.classes]
    told = manifest.provenance
    # "favoured" is what bundles called it before.
    for name, logit in dict(told.get("class_bias", told.get("favoured", {}))).items():
        weights["predict.bias"][names.index(name)] -= float(logit)
    return path, weights, False


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _facts(recipe: Recipe, classes: int) -> dict[str, Any]:
    return {"variant": recipe.variant, "labels": recipe.labels, "classes": classes}


def _write(path: Path, content: dict[str, Any]) -> None:
    with written_aside(path) as part:
        torch.save(content, part)
