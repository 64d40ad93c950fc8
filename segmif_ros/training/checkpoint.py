# SPDX-License-Identifier: Apache-2.0
"""Checkpoints with the complete state of a run, for an exact continuation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import NodeProto, numpy_helper
from torch import Tensor, nn

from segmif_ros.bundle import Bundle, BundleError
from segmif_ros.datasets.sample import Source
from segmif_ros.files import read_file
from segmif_ros.network.compact import CompactInteraction
from segmif_ros.network.weights_file import WeightsFileError, load_stored, state_dict_of
from segmif_ros.outputs import written_aside
from segmif_ros.share import resolve_model
from segmif_ros.training.objective import LossRatioWeighting
from segmif_ros.training.ranks import Ranks
from segmif_ros.training.recipe import Recipe

# An export folds BatchNorm into the convolution before it, so what comes back is the folded
# convolution and a BatchNorm that only adds its bias; `training.warm_start` gives it the
# statistics of real batches again.
State = dict[str, Tensor]
_PREFIX = "network."


class BundleWeightsError(ValueError):
    """A graph lacks weights of the network; the message names the first missing one."""


def read_weights(path: Path, network: nn.Module) -> State:
    """Return the weights of an fp32 graph by their names in `network`, in the graph's own shapes.

    Args:
        path: model.onnx of a bundle that `segmif export` wrote.
        network: of the bundle's kind; not changed.

    Raises:
        BundleWeightsError: unreadable, of another kind of network, or not in fp32.
    """
    try:
        graph = onnx.load_from_string(read_file(path)).graph
    except OSError as err:
        raise BundleWeightsError(f"{path} cannot be read: {err}") from err
    except Exception as err:  # damage causes arbitrary errors of protobuf
        raise BundleWeightsError(f"{path} is no ONNX file ({type(err).__name__})") from err
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:  # equal weights are stored once, and every further name is one of these
        if node.op_type in ("Identity", "Cast") and node.input[0] in stored:
            stored[node.output[0]] = stored[node.input[0]].astype(np.float32)
    own = network.state_dict()
    state: State = {}
    for name, value in _found(graph.node, stored, network):
        if name not in own:
            continue
        if value.dtype != np.float32:
            raise BundleWeightsError(
                f"{path} holds {name} as {value.dtype}; weights are read back from fp32 graphs only"
            )
        state[name] = torch.from_numpy(value.copy())
    missing = sorted(name for name, _ in network.named_parameters() if name not in state)
    if missing:
        raise BundleWeightsError(
            f"{path} holds no {missing[0]!r} ({len(missing)} weights are missing in all); only "
            "fp32 graphs of the compact network that `segmif export` wrote can be read back"
        )
    return state


def _found(
    nodes: Iterable[NodeProto], stored: dict[str, np.ndarray], network: nn.Module
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield weights by their name in the network; of a folded pair the BatchNorm as well."""
    for name, value in stored.items():
        if name.startswith(_PREFIX):
            yield name.removeprefix(_PREFIX), value
    modules = dict(network.named_modules())
    for node in nodes:
        owner = _module_of(node.name)
        module = modules.get(owner)
        if node.op_type == "Conv" and owner and isinstance(module, nn.Conv2d):
            yield f"{owner}.weight", stored[node.input[1]]
            norm = modules.get(f"{owner.rpartition('.')[0]}.1")
            if len(node.input) < 3:
                continue
            bias = stored[node.input[2]]
            if module.bias is not None:
                yield f"{owner}.bias", bias
            elif isinstance(norm, nn.BatchNorm2d):
                name = f"{owner.rpartition('.')[0]}.1"
                yield f"{name}.weight", np.ones_like(bias)
                yield f"{name}.bias", bias
                yield f"{name}.running_mean", np.zeros_like(bias)
                yield f"{name}.running_var", np.full_like(bias, 1.0 - norm.eps)
        elif node.op_type == "MatMul" and isinstance(module, CompactInteraction):
            # The one matrix of the exchange that the export stores turned around.
            turned = stored.get(node.input[1])
            if turned is not None and turned.ndim == 4:
                yield f"{owner}.values", np.ascontiguousarray(turned.swapaxes(2, 3))


def _module_of(node: str) -> str:
    """Return the module that made a node: '/fc1/fc1.0/Conv' -> 'fc1.0'."""
    path, before = "", ""
    for part in node.removeprefix("/network").split("/")[1:-1]:
        if before and part.startswith(f"{before}."):
            path += part[len(before) :]
        else:
            path += f".{part}" if path else part
        before = part
    return path


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
    """The state of a run.

    Attributes:
        network: trained weights.
        average: their running average, the result of a run.
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
    """Write a checkpoint atomically; every rank must call this, rank 0 writes."""
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
    """Restore a run from its checkpoint.

    Args:
        path: checkpoint.pt of the run.
        state: a run of the same recipe, not begun.
        ranks: this process among all; random numbers continue only with the same number of them.
        labels: class list of the recipe; another one of the same length would fit unnoticed.
        fresh_optimiser: steps at which a phase begins, so that the stored optimiser is over.

    Raises:
        CheckpointError: the file does not fit the recipe.
    """
    stored = read(path)
    if stored.get("labels", labels) != labels:
        raise CheckpointError(
            f"{path} is trained on class list {stored['labels']!r}, the recipe names {labels!r}; "
            "resume with the recipe that it was begun with, or start again with --start"
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
            f"{path} started with other labels of {name!r}; the run continues with the present ones"
        )
    if len(everybody["cpu"]) == ranks.count:
        torch.set_rng_state(everybody["cpu"][ranks.rank])
        if ranks.device.type == "cuda" and "cuda" in everybody:
            torch.cuda.set_rng_state(everybody["cuda"][ranks.rank])


@dataclass(frozen=True, slots=True)
class Begun:
    """The initial weights of a run.

    Attributes:
        summary: for the log.
        settled: BatchNorms know the statistics of real batches; `warm_start.settle_norms` gives
            them to weights that were read back from a bundle.
    """

    summary: str
    settled: bool = True


def load_start(network: nn.Module, start: Path) -> Begun:
    """Start from the averaged weights of an earlier run, or with those of a bundle.

    A class layer of another size stays random, for networks with other classes.

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
    # A graph does not need the number of batches of a BatchNorm.
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
    """Return the path of a bundle's weights, the weights, and whether norms are settled."""
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
