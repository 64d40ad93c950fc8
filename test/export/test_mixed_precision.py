# SPDX-License-Identifier: Apache-2.0
"""Float16 where it is safe, float32 where the sums and differences are."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from nano_bundle import nano_onnx, smooth_pair
from onnx import TensorProto, helper, numpy_helper
from released_checkpoint import network

from segmif_ros.export.export import export_onnx
from segmif_ros.export.mixed_precision import to_mixed_float16


@pytest.fixture(scope="module")
def single() -> bytes:
    return export_onnx(network("b0"), (64, 96))


@pytest.fixture(scope="module")
def mixed(single: bytes) -> onnx.ModelProto:
    return onnx.shape_inference.infer_shapes(onnx.load_from_string(to_mixed_float16(single)))


def types(model: onnx.ModelProto) -> dict[str, int]:
    known = {v.name: v.type.tensor_type.elem_type for v in model.graph.value_info}
    return known | {t.name: t.data_type for t in model.graph.initializer}


def precisions(model: onnx.ModelProto, operator: str, within: str = "") -> set[int]:
    known = types(model)
    return {
        known[node.output[0]]
        for node in model.graph.node
        if node.op_type == operator and within in node.name and node.output[0] in known
    }


def test_inputs_and_outputs_stay_bytes(mixed: onnx.ModelProto) -> None:
    for value in (*mixed.graph.input, *mixed.graph.output):
        assert value.type.tensor_type.elem_type == TensorProto.UINT8, value.name


def test_products_are_half_and_islands_single(mixed: onnx.ModelProto) -> None:
    half, single = {TensorProto.FLOAT16}, {TensorProto.FLOAT}
    assert precisions(mixed, "Conv", "/fusion/") == half
    assert precisions(mixed, "MatMul", "/encoder/") == half
    assert precisions(mixed, "Erf") == half
    assert precisions(mixed, "LayerNormalization") == single
    assert precisions(mixed, "Softmax") == single
    assert precisions(mixed, "Resize") == single
    assert precisions(mixed, "Conv", "/head/predict/") == single
    for part in ("ir", "vis", "seg"):
        assert precisions(mixed, "MatMul", f"/attend_{part}/") == single
        assert precisions(mixed, "ReduceSum", f"/attend_{part}/") == single


def test_nothing_inside_an_island_passes_through_half(mixed: onnx.ModelProto) -> None:
    # A Gram matrix overflows float16, so a cast there and back would be as bad as computing in it.
    halves = {n.output[0] for n in mixed.graph.node if n.op_type == "Cast" and "/half" in n.name}
    readers = [node for node in mixed.graph.node if halves & set(node.input)]
    assert len(readers) > 50
    assert [node.name for node in readers if "/attend_" in node.name] == []
    assert [node.name for node in readers if node.name.startswith("/network/head/predict/")] == []


def test_the_picture_is_the_same_within_half_precision(
    single: bytes, mixed: onnx.ModelProto
) -> None:
    ramp = np.linspace(0, 255, 96).astype(np.uint8)
    feed = {
        "rgb": np.ascontiguousarray(np.broadcast_to(ramp[None, :, None], (64, 96, 3))),
        "thermal": np.ascontiguousarray(np.broadcast_to(ramp[::-1], (64, 96))),
    }
    expected = ort.InferenceSession(single).run(None, feed)
    got = ort.InferenceSession(mixed.SerializeToString()).run(None, feed)
    off = got[0].astype(float) - expected[0]
    assert 10.0 * np.log10(255.0**2 / max(float((off**2).mean()), 1e-9)) > 45.0
    assert (got[1] == expected[1]).mean() > 0.99


def test_the_file_is_half_as_large(single: bytes, mixed: onnx.ModelProto) -> None:
    assert mixed.ByteSize() < 0.56 * len(single)


def test_a_weight_beyond_half_precision_is_named() -> None:
    weight = numpy_helper.from_array(np.full((1, 1, 1, 1), 7e4, np.float32), "kernel")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "kernel"], ["y"], name="/network/stem/Conv")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 4, 4])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    with pytest.raises(ValueError, match=r"'kernel' reaches 7e\+04, beyond float16"):
        to_mixed_float16(model.SerializeToString())


@pytest.fixture(scope="module")
def compact() -> onnx.ModelProto:
    return onnx.shape_inference.infer_shapes(onnx.load_from_string(to_mixed_float16(nano_onnx())))


def test_the_compact_network_keeps_its_decision_and_its_sums_single(
    compact: onnx.ModelProto,
) -> None:
    known = types(compact)
    kinds = {node.name: known.get(node.output[0]) for node in compact.graph.node}
    half, single = TensorProto.FLOAT16, TensorProto.FLOAT
    for name in (
        "/predict/Conv",
        "/interaction.0/MatMul",
        "/interaction.1/Softmax",
        "/Conv",
        "/Conv_4",
    ):
        assert kinds[name] == single, name
    for name in ("/dense.0/mix/Conv", "/tail/Conv", "/refine/refine.0/Conv", "/sharpen/Relu"):
        assert kinds[name] == half, name
    # Behind the logits: the maximum packs score and class into one float32.
    decided = [n for n in compact.graph.node if n.op_type in ("ReduceMax", "Floor", "Exp")]
    assert {kinds[node.name] for node in decided} == {single}


def test_what_joins_the_blocks_does_not_cast_to_and_fro(compact: onnx.ModelProto) -> None:
    by = {node.output[0]: node for node in compact.graph.node}
    casts = [node for node in compact.graph.node if node.op_type == "Cast" and "/half" in node.name]
    assert not [node.name for node in casts if by[node.input[0]].op_type == "Relu"]
    assert len(casts) < 20


def test_the_compact_picture_is_the_same_within_half_precision(compact: onnx.ModelProto) -> None:
    rgb, thermal = smooth_pair(5)
    feed = {"rgb": rgb, "thermal": thermal}
    expected = ort.InferenceSession(nano_onnx()).run(["fused", "mask"], feed)
    got = ort.InferenceSession(compact.SerializeToString()).run(["fused", "mask"], feed)
    off = got[0].astype(float) - expected[0]
    assert 10.0 * np.log10(255.0**2 / max(float((off**2).mean()), 1e-9)) > 50.0
    assert (got[1] == expected[1]).mean() > 0.99
