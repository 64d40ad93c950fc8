# SPDX-License-Identifier: Apache-2.0
"""Reads a bundle's weights back into the network that it was exported from, to train on.

An export folds BatchNorm into the convolution before it, so what comes back is the folded
convolution and a BatchNorm that only adds its bias; `training.warm_start` gives it the statistics
of real batches again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import NodeProto, numpy_helper
from torch import Tensor, nn

from segmif_ros.network.compact import CompactInteraction

State = dict[str, Tensor]
_PREFIX = "network."


class BundleWeightsError(ValueError):
    """A graph does not hold the weights of the network; the message names the first one missing."""


def read_weights(path: Path, network: nn.Module) -> State:
    """Return the weights of an fp32 graph by their names in `network`, in the graph's own shapes.

    Args:
        path: model.onnx of a bundle that `segmif export` wrote.
        network: of the bundle's kind; not changed.

    Raises:
        BundleWeightsError: unreadable, of another kind of network, or not in fp32.
    """
    try:
        graph = onnx.load(str(path)).graph
    except Exception as err:  # protobuf raises whatever the damage leads to
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
