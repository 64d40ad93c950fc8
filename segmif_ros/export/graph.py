# SPDX-License-Identifier: Apache-2.0
"""Simplifies graphs: folds shape arithmetic, inlines weights or stores them in half precision.

Every tensor of a graph has a known size then.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

_JOINING = {"Concat", "Gather", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
_ARITHMETIC = {*_JOINING, "Add", "Cast", "ConstantOfShape", "Div", "Mul", "Range", "Sub"}
_SMALL = 64
"""Longer tensors are data, not shapes."""


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
    """Fold nodes that depend only on known shapes; return whether there was any."""
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
    """Remove unused constants and the shapes of removed tensors."""
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


_HALVED = "_float16"
_LARGEST = 65504.0
_SMALLEST = 256
"""Least number of values; smaller tensors are scales, offsets and shapes."""


def halve_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store large float32 weights as float16 with a Cast after each, in place.

    The graph still computes in float32: runtimes fold the Casts when they load it. The relative
    rounding error is at most 2^-11.

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
    `halve_weights` adds a Cast; tools that search a convolution's weights among the initializers
    support neither.

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
