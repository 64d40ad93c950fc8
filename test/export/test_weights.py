# SPDX-License-Identifier: Apache-2.0
"""Every weight among the initializers, by one name, with the same answers; or in half the bytes."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from segmif_ros.export.graph import halve_weights, inline_weights


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


def wide_graph(scale: float = 1.0) -> onnx.ModelProto:
    values = np.random.default_rng(0).normal(0.0, scale, (64, 3)).astype(np.float32) * 2
    weights = [
        numpy_helper.from_array(np.tile(values, (2, 1)), "wide"),
        numpy_helper.from_array(np.full(3, 0.1, np.float32), "small"),
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "wide"], ["product"]),
        helper.make_node("Add", ["product", "small"], ["y"]),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 128])
    got = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])
    graph = helper.make_graph(nodes, "g", [given], [got], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_halved_weights_take_half_the_bytes_and_compute_in_float32() -> None:
    feed = {"x": np.random.default_rng(1).normal(size=(1, 128)).astype(np.float32)}
    whole = wide_graph()
    halved = halve_weights(wide_graph())
    onnx.checker.check_model(halved, full_check=True)
    stored = {tensor.name: tensor for tensor in halved.graph.initializer}
    assert stored["small"].data_type == TensorProto.FLOAT
    assert sum(t.data_type == TensorProto.FLOAT16 for t in stored.values()) == 1
    assert len(halved.SerializeToString()) < 0.65 * len(whole.SerializeToString())
    expected, got = (
        ort.InferenceSession(model.SerializeToString()).run(None, feed)[0]
        for model in (whole, halved)
    )
    assert 0 < np.abs(got - expected).max() < 2e-2
    again = inline_weights(halved)
    assert [node.op_type for node in again.graph.node] == ["MatMul", "Add"]
    assert {t.data_type for t in again.graph.initializer} == {TensorProto.FLOAT}
    assert np.array_equal(ort.InferenceSession(again.SerializeToString()).run(None, feed)[0], got)


def test_a_weight_that_float16_cannot_hold_is_named() -> None:
    with pytest.raises(ValueError, match=r"'wide' reaches .* 65504"):
        halve_weights(wide_graph(scale=1e5))
