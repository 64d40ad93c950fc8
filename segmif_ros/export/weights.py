# SPDX-License-Identifier: Apache-2.0
"""The weights of a graph: all in one place, and in half the bytes on disk."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_HALVED = "_float16"
_LARGEST = 65504.0
_SMALLEST = 256
"""Numbers; smaller tensors are scales, offsets and shapes, which are left as they are."""


def halve_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store large float32 weights as float16 with a Cast behind each, in place.

    The graph still computes in float32: runtimes fold the Casts when they load it. Values lose what
    float16 cannot hold, 2^-11 of each.

    Returns:
        The same model, changed; `inline_weights` takes the Casts out again.

    Raises:
        ValueError: a weight lies outside the range of float16.
    """
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < _SMALLEST:
            continue
        values = numpy_helper.to_array(tensor)
        largest = float(np.abs(values).max())
        if not largest <= _LARGEST:
            raise ValueError(
                f"weight {tensor.name!r} reaches {largest:g}, float16 holds 65504; export it whole"
            )
        name = tensor.name
        half = values.astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}{_HALVED}"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def inline_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Make constants initializers and drop Identity and Cast nodes of initializers, in place.

    The exporter gives equal weights one initializer and an Identity for each further name, and
    `halve_weights` puts a Cast behind them; tools that look for a convolution's weights among the
    initializers see through neither.

    Returns:
        The same model, changed.
    """
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    alias: dict[str, str] = {}
    kept: list[onnx.NodeProto] = []
    for node in graph.node:
        inputs = [alias.get(name, name) for name in node.input]
        if node.op_type == "Identity" and inputs[0] in weights:
            alias[node.output[0]] = inputs[0]
        elif node.op_type == "Constant" and node.attribute[0].name == "value":
            tensor = node.attribute[0].t
            tensor.name = node.output[0]
            weights[tensor.name] = tensor
            graph.initializer.append(tensor)
        elif node.op_type == "Cast" and inputs[0].endswith(_HALVED) and inputs[0] in weights:
            tensor = weights[inputs[0]]
            whole = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(whole, node.output[0]))
            weights[tensor.name] = tensor
        else:
            made = onnx.NodeProto()
            made.CopyFrom(node)
            del made.input[:]
            made.input.extend(inputs)
            kept.append(made)
    del graph.node[:]
    graph.node.extend(kept)
    return model
