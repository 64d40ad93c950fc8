# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from released_checkpoint import network

from segmif_ros.export.cost import graph_cost, part_of
from segmif_ros.export.export import export_onnx


def graph(nodes: list, inputs: dict, outputs: dict, weights: dict) -> bytes:
    def info(name: str, shape: list[int]):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    made = helper.make_graph(
        nodes,
        "g",
        [info(*item) for item in inputs.items()],
        [info(*item) for item in outputs.items()],
        [numpy_helper.from_array(np.zeros(s, np.float32), name) for name, s in weights.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])
    return model.SerializeToString()


def test_a_grouped_convolution_and_a_product_in_closed_form() -> None:
    data = graph(
        [
            helper.make_node(
                "Conv", ["x", "w"], ["c"], name="/network/stem/Conv", group=4, pads=[1, 1, 1, 1]
            ),
            helper.make_node("MatMul", ["c", "m"], ["y"], name="/network/head/MatMul"),
        ],
        {"x": [1, 8, 10, 20]},
        {"y": [1, 16, 10, 5]},
        {"w": (16, 2, 3, 3), "m": (20, 5)},
    )
    stem, head = graph_cost(data).parts
    assert (stem.part, stem.parameters) == ("stem", 16 * 2 * 9)
    assert stem.gflop == pytest.approx(2 * 16 * 10 * 20 * 2 * 9 / 1e9)
    assert stem.written_mb == pytest.approx(16 * 200 * 4 / 1e6)
    assert (head.part, head.parameters, head.weight_mb) == ("head", 100, 400 / 1e6)
    assert head.gflop == pytest.approx(2 * 16 * 10 * 5 * 20 / 1e9)


def test_peak_memory_counts_what_is_held_together() -> None:
    # x and a (both 400 bytes) live while a is made; x is still read by the sum, so three at most.
    data = graph(
        [
            helper.make_node("Relu", ["x"], ["a"], name="/network/p/Relu"),
            helper.make_node("Flatten", ["a"], ["view"], name="/network/p/Flatten"),
            helper.make_node("Sigmoid", ["view"], ["b"], name="/network/p/Sigmoid"),
            helper.make_node("Add", ["x", "b"], ["y"], name="/network/p/Add"),
        ],
        {"x": [1, 100]},
        {"y": [1, 100]},
        {},
    )
    assert graph_cost(data).peak_mb == pytest.approx(3 * 400 / 1e6)


def test_a_graph_of_open_size_is_refused() -> None:
    data = graph(
        [helper.make_node("MatMul", ["x", "m"], ["y"], name="/network/head/MatMul")],
        {"x": [0, 20]},
        {"y": [0, 5]},
        {"m": (20, 5)},
    )
    model = onnx.load_from_string(data)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    with pytest.raises(ValueError, match="the shape of 'x' does not follow"):
        graph_cost(model.SerializeToString())


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("/network/fusion/dense.3/layers.1/parts.0/Conv", "fusion.dense"),
        ("/network/fusion/activation_2/PRelu", "fusion.activation"),
        ("/network/encoder/stages.2/blocks.0/attn/MatMul", "encoder"),
        ("/encoder/stages.0/stages.0.0/Softmax", "encoder"),
        ("/network/Add_3", "bytes, colour, labels"),
        ("/Cast", "bytes, colour, labels"),
        ("", "bytes, colour, labels"),
    ],
)
def test_parts_follow_the_modules(name: str, part: str) -> None:
    assert part_of(name) == part


def test_a_cascade_adds_up() -> None:
    height, width = 64, 96
    plain = network("b0")
    cost = graph_cost(export_onnx(plain, (height, width)))
    parts = {part.part: part for part in cost.parts}
    dense = sum(p.numel() for n, p in plain.fusion.dense.named_parameters() if "weight" in n)
    assert parts["fusion.dense"].gflop == pytest.approx(2 * height * width * dense / 1e9)
    assert parts["fusion.dense"].parameters == 795_520
    assert cost.total.gflop == pytest.approx(sum(p.gflop for p in cost.parts))
    # 661.1 GFLOP at 480x640 as published, 614 after the exact rewrites.
    assert cost.total.gflop * 307_200 / (height * width) == pytest.approx(614, rel=0.02)
    assert 0 < cost.peak_mb < cost.total.written_mb
