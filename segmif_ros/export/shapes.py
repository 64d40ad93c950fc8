# SPDX-License-Identifier: Apache-2.0
"""Turns arithmetic on shapes into constants, so that every tensor of a graph has a known size."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

_JOINING = {"Concat", "Gather", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
_ARITHMETIC = {*_JOINING, "Add", "Cast", "ConstantOfShape", "Div", "Mul", "Range", "Sub"}
_SMALL = 64
"""Shapes are short; anything longer is data and stays."""


def fold_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph of fixed input size without operators that only compute shapes.

    Results are the same to the last bit: only integers and what follows from them is folded.
    """
    while True:
        model = shape_inference.infer_shapes(model, data_prop=True)
        if not _fold_once(model.graph):
            _drop_unread(model.graph)
            return model


def _fold_once(graph: onnx.GraphProto) -> bool:
    """Fold what follows from the shapes known by now; returns whether there was any."""
    shapes = {
        value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info)
    }
    values = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if np.prod(tensor.dims, dtype=int) <= _SMALL
    }
    kept: list[NodeProto] = []
    folded: list[str] = []
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            value = numpy_helper.to_array(node.attribute[0].t)
            if value.size <= _SMALL:
                values[node.output[0]] = value
            kept.append(node)
            continue
        result = _evaluate(node, shapes, values)
        if result is None:
            kept.append(node)
        else:
            values[node.output[0]] = result
            folded.append(node.output[0])
    if folded:
        read = {name for node in kept for name in node.input}
        del graph.node[:]
        graph.node.extend(kept)
        graph.initializer.extend(
            numpy_helper.from_array(np.asarray(values[name]), name)
            for name in folded
            if name in read
        )
    return bool(folded)


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Remove constants that only the folded operators read, and notes on tensors that are gone."""
    read = {name for node in graph.node for name in node.input}
    nodes = [n for n in graph.node if n.op_type != "Constant" or n.output[0] in read]
    weights = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(weights)
    made = {name for node in nodes for name in node.output}
    notes = [value for value in graph.value_info if value.name in made]
    del graph.value_info[:]
    graph.value_info.extend(notes)


def _evaluate(
    node: NodeProto, shapes: dict[str, tuple[int, ...]], values: dict[str, np.ndarray]
) -> np.ndarray | None:
    if node.op_type == "Shape" and not node.attribute:
        shape = shapes.get(node.input[0], ())
        return np.array(shape, np.int64) if shape and all(shape) else None
    if node.op_type not in _ARITHMETIC or not all(name in values for name in node.input if name):
        return None
    if any(values[name].dtype.kind == "f" for name in node.input if name):
        return None
    graph = helper.make_graph(
        [node],
        "fold",
        [helper.make_empty_tensor_value_info(name) for name in node.input if name],
        [helper.make_empty_tensor_value_info(name) for name in node.output],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    result = ReferenceEvaluator(model).run(None, {n: values[n] for n in node.input if n})[0]
    return np.asarray(result) if np.size(result) <= _SMALL else None
