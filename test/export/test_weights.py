# SPDX-License-Identifier: Apache-2.0
"""Every weight among the initializers, by one name, with the same answers."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from segmif_ros.export.weights import inline_weights


def graph_with_detours() -> onnx.ModelProto:
    two = numpy_helper.from_array(np.full(3, 2.0, np.float32), "two")
    nodes = [
        helper.make_node("Identity", ["two"], ["again"]),
        helper.make_node("Identity", ["again"], ["and_again"]),
        helper.make_node("Constant", [], ["five"], value=numpy_helper.from_array(np.float32([5]))),
        helper.make_node("Mul", ["x", "and_again"], ["scaled"]),
        helper.make_node("Identity", ["scaled"], ["kept"]),
        helper.make_node("Add", ["kept", "five"], ["y"]),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])
    got = helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])
    graph = helper.make_graph(nodes, "g", [given], [got], [two])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_detours_to_weights_go_and_everything_else_stays() -> None:
    feed = {"x": np.float32([1, -1, 0.5])}
    plain = graph_with_detours()
    expected = ort.InferenceSession(plain.SerializeToString()).run(None, feed)[0]
    model = inline_weights(graph_with_detours())
    assert [node.op_type for node in model.graph.node] == ["Mul", "Identity", "Add"]
    assert {tensor.name for tensor in model.graph.initializer} == {"two", "five"}
    onnx.checker.check_model(model, full_check=True)
    got = ort.InferenceSession(model.SerializeToString()).run(None, feed)[0]
    assert np.array_equal(got, expected)
    assert got.tolist() == [7.0, 3.0, 6.0]
