# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper
from released_checkpoint import network
from torch.nn import functional as F

from segmif_ros.export.export import export_onnx, trace
from segmif_ros.export.graph import fold_shapes


class Resizing(torch.nn.Module):
    """Shape arithmetic of several steps: sizes from a product, a pad, a reshape."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[-2:]
        big = F.interpolate(x, size=(height * 2, width + 3), mode="bilinear")
        padded = F.pad(big, (1, width - 2, 0, 1))
        return padded.reshape(x.shape[1], -1).reshape(1, x.shape[1], padded.shape[2], -1)


def run(data: bytes, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return list(ort.InferenceSession(data, options).run(None, feed))


def test_the_result_is_the_same_to_the_last_bit() -> None:
    x = torch.rand(1, 2, 5, 7)
    data = trace(Resizing(), {"x": x}, ["y"])
    before = onnx.load_from_string(data)
    after = fold_shapes(before)
    assert any(node.op_type == "Shape" for node in before.graph.node)
    left = {node.op_type for node in after.graph.node}
    assert not left & {"Shape", "Gather", "Range", "ConstantOfShape", "Unsqueeze"}
    folded = after.SerializeToString()
    onnx.checker.check_model(after, full_check=True)
    np.testing.assert_array_equal(run(folded, {"x": x.numpy()})[0], run(data, {"x": x.numpy()})[0])


def test_every_tensor_of_an_exported_cascade_has_a_size() -> None:
    model = onnx.load_from_string(export_onnx(network("b0"), (64, 96)))
    assert not any(node.op_type == "Shape" for node in model.graph.node)
    known = {value.name for value in (*model.graph.value_info, *model.graph.output)}
    made = {output for node in model.graph.node for output in node.output}
    assert made <= known
    for value in model.graph.value_info:
        assert all(d.dim_value > 0 for d in value.type.tensor_type.shape.dim), value.name


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.FLOAT])
def test_only_integers_are_computed_ahead(kind: int) -> None:
    # Float arithmetic could round differently here and in a runtime.
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["a", "a"], ["b"], name="add"),
            helper.make_node("Add", ["x", "b"], ["y"], name="use"),
        ],
        "g",
        [helper.make_tensor_value_info("x", kind, [2])],
        [helper.make_tensor_value_info("y", kind, [2])],
        [helper.make_tensor("a", kind, [2], [3, 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    names = [node.name for node in fold_shapes(model).graph.node]
    assert names == (["use"] if kind == TensorProto.INT64 else ["add", "use"])
