# SPDX-License-Identifier: Apache-2.0
"""8 bits where it is safe, in the form that the runtime takes, and near the float32 pictures."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from nano_bundle import nano_onnx, smooth_pair
from onnx import TensorProto, helper, numpy_helper

from segmif_ros.engines.gate import psnr_db
from segmif_ros.export.precision import (
    ALWAYS_FLOAT,
    RUNTIMES,
    WITHOUT_ENCODER,
    WITHOUT_FUSION,
    quantise,
)

PAIRS = [smooth_pair(seed) for seed in range(2)]


class Made(NamedTuple):
    """A file, the runtime it is for, and the progress that was reported."""

    runtime: str
    data: bytes
    seen: list[tuple[int, int]]


@pytest.fixture(scope="module", params=RUNTIMES)
def made(request: pytest.FixtureRequest) -> Made:
    seen: list[tuple[int, int]] = []
    data = quantise(
        nano_onnx(), PAIRS, runtime=request.param, progress=lambda *step: seen.append(step)
    )
    return Made(request.param, data, seen)


def weights(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def quantised(model: onnx.ModelProto) -> list[str]:
    """Names of the convolutions whose input and weight come out of a DequantizeLinear."""
    by = {node.output[0]: node.op_type for node in model.graph.node}
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "Conv"
        and all(by.get(name) == "DequantizeLinear" for name in node.input[:2])
    ]


def test_the_sensitive_convolutions_stay_float(made: Made) -> None:
    model = onnx.load_from_string(made.data)
    chosen = set(quantised(model))
    every = {node.name for node in model.graph.node if node.op_type == "Conv"}
    assert {"/dense.0/mix/Conv", "/tail/Conv", "/refine/refine.0/Conv"} <= chosen
    assert {name for name in every if re.match(r"/(Conv|stem|predict)", name)} <= every - chosen
    assert not any(name.startswith("/encoder/stages.0") for name in chosen)
    assert any(name.startswith("/encoder/stages.1") for name in chosen)
    assert len(chosen) > 0.7 * len(every)


def test_tensorrt_gets_what_it_takes(made: Made) -> None:
    runtime, data = made.runtime, made.data
    model = onnx.load_from_string(data)
    values = weights(model)
    kinds = {
        values[node.input[2]].dtype.type
        for node in model.graph.node
        if node.op_type == "QuantizeLinear"
    }
    zeros = [
        values[node.input[2]]
        for node in model.graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
    ]
    biases = [n.input[2] for n in model.graph.node if n.op_type == "Conv" and len(n.input) > 2]
    assert all(values[name].dtype == np.float32 for name in biases)
    if runtime == "tensorrt":
        assert kinds == {np.int8}
        assert not any(zero.any() for zero in zeros)
    else:
        assert kinds == {np.uint8}


def test_the_pictures_are_near_the_float_ones(made: Made) -> None:
    rgb, thermal = smooth_pair(50)
    feed = {"rgb": rgb, "thermal": thermal}
    expected = ort.InferenceSession(nano_onnx()).run(["fused", "mask"], feed)
    fused, mask = ort.InferenceSession(made.data).run(["fused", "mask"], feed)
    assert psnr_db(fused, expected[0]) > 30.0
    assert (mask == expected[1]).mean() > 0.8


def test_the_file_is_much_smaller(made: Made) -> None:
    assert len(made.data) < 0.5 * len(nano_onnx())


@pytest.mark.parametrize(
    ("name", "stays"),
    [
        ("/Conv_4", True),
        ("/stem_ir/Conv", True),
        ("/predict/Conv", True),
        ("/encoder/embeds.0/embeds.0.0/Conv", True),
        ("/encoder/stages.1/stages.1.0/fc1/fc1.0/Conv", False),
        ("/tail/Conv", False),
        ("/network/Conv", True),
        ("/network/fusion/stem_vis/Conv", True),
        ("/network/fusion/interactions.0/u_seg/Conv", True),
        ("/network/fusion/tail3/Conv", True),
        ("/network/fusion/dense.2/mix/parts.0/Conv", False),
        ("/network/guidance_encoder/stages.0/embed/Conv", True),
        ("/network/head/predict/Conv", True),
        ("/network/head/levels.0/Conv", False),
    ],
)
def test_the_rule_knows_the_names_of_both_networks(name: str, stays: bool) -> None:
    assert (ALWAYS_FLOAT.fullmatch(name) is not None) == stays


def test_without_the_encoder_all_of_it_stays_float() -> None:
    every = [node.name for node in onnx.load_from_string(nano_onnx()).graph.node]
    encoder = [name for name in every if name.startswith("/encoder/")]
    assert len(encoder) > 50
    assert all(WITHOUT_ENCODER.fullmatch(name) for name in encoder)
    assert not WITHOUT_ENCODER.fullmatch("/tail/Conv")


def test_without_fusion_only_the_encoder_and_the_head_are_in_8_bits() -> None:
    nodes = onnx.load_from_string(nano_onnx()).graph.node
    rest = {n.name for n in nodes if n.op_type == "Conv" and not WITHOUT_FUSION.fullmatch(n.name)}
    assert len(rest) > 20
    assert {name.split("/")[1].partition(".")[0] for name in rest} == {
        "encoder", "levels", "fine", "refine",
    }  # fmt: skip
    assert WITHOUT_FUSION.fullmatch("/network/fusion/dense.2/mix/parts.0/Conv")
    assert not WITHOUT_FUSION.fullmatch("/network/head/levels.0/Conv")


def test_progress_covers_every_pair(made: Made) -> None:
    assert made.seen[0] == (0, len(PAIRS))
    assert made.seen[-1] == (len(PAIRS), len(PAIRS))


def test_what_cannot_be_quantised_is_refused() -> None:
    with pytest.raises(ValueError, match="no pairs to calibrate on"):
        quantise(nano_onnx(), [])
    with pytest.raises(ValueError, match="runtime 'gpu', expected one of tensorrt, cpu"):
        quantise(nano_onnx(), PAIRS, runtime="gpu")
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [image], [out])
    plain = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    with pytest.raises(ValueError, match="no convolution"):
        quantise(plain.SerializeToString(), PAIRS)
