# SPDX-License-Identifier: Apache-2.0
"""Brings every weight of a graph to one place, whatever way the exporter chose to name it."""

from __future__ import annotations

import onnx


def inline_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Make constants initializers and drop Identity nodes of initializers, in place.

    The exporter gives equal weights one initializer and an Identity for each further name, and
    tools that look for a convolution's weights among the initializers do not see through it.

    Returns:
        The same model, changed.
    """
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    alias: dict[str, str] = {}
    kept: list[onnx.NodeProto] = []
    for node in graph.node:
        inputs = [alias.get(name, name) for name in node.input]
        if node.op_type == "Identity" and inputs[0] in weights:
            alias[node.output[0]] = inputs[0]
        elif node.op_type == "Constant" and node.attribute[0].name == "value":
            tensor = node.attribute[0].t
            tensor.name = node.output[0]
            weights.add(tensor.name)
            graph.initializer.append(tensor)
        else:
            made = onnx.NodeProto()
            made.CopyFrom(node)
            del made.input[:]
            made.input.extend(inputs)
            kept.append(made)
    del graph.node[:]
    graph.node.extend(kept)
    return model
