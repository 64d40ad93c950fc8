# SPDX-License-Identifier: Apache-2.0
"""Converts a float32 bundle graph to float16 with float32 parts, for TensorRT.

Newer TensorRT versions read all precisions from the file, so the casts must be in the graph.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from segmif_ros.export.graph import fold_shapes, inline_weights

ISLAND_OPERATORS = ("LayerNormalization", "Softmax")
"""Sums of squares overflow float16, exponentials lose their differences."""

_CASCADE = re.compile(r"/network/")
_CASCADE_ISLANDS = re.compile(
    r"/[^/]*"  # outside the network: bytes in, logits to labels, bytes out
    r"|/network/[^/]*"  # between its parts: luma, saliency histograms, colour
    r"|/network/head/predict/.*"  # the logits
    r"|/network/fusion/interactions\.\d/attend_\w+/.*"  # Gram sums over all pixels
)
_COMPACT_ISLANDS = re.compile(
    r"/[^/]*"  # folding of bytes, what is taken out of them, saliency, the decision
    r"|/predict/.*"  # the logits; the maximum behind them packs score and class into 24 bits
    r"|/interaction\.\d/MatMul"  # the Gram sum over all pixels, and with it all that follows
)
_FOLLOWING = (
    "Add", "BatchNormalization", "Concat", "DepthToSpace", "Div", "Erf", "Gather", "MatMul", "Mul",
    "Relu", "Reshape", "Resize", "Sigmoid", "Slice", "Sub", "Transpose",
)  # fmt: skip
"""Operators with the precision of their inputs."""


def to_mixed_float16(data: bytes) -> bytes:
    """Convert an exported network without changing its inputs and outputs.

    Args:
        data: an ONNX file of `export.export`.

    Returns:
        The same graph with float16 weights and products, and islands of float32: LayerNorm,
        softmax, sums over all pixels, everything from bytes to features and from logits to bytes.

    Raises:
        ValueError: a weight is too large for float16.
    """
    model = inline_weights(fold_shapes(onnx.load_from_string(data)))
    cascade = any(_CASCADE.match(node.name) for node in model.graph.node)
    return _Converter(model, in_half_cascade if cascade else in_half_compact).run()


def in_half_cascade(node: onnx.NodeProto, given_half: bool) -> bool:  # noqa: ARG001 - one seam
    """Return whether a node of the published cascade computes in float16."""
    island = node.op_type in (*ISLAND_OPERATORS, "Resize")
    return not island and _CASCADE_ISLANDS.fullmatch(node.name) is None


def in_half_compact(node: onnx.NodeProto, given_half: bool) -> bool:
    """Return whether a node of the compact network computes in float16.

    Operators between its modules have the precision of their inputs; otherwise every ReLU would
    cast to float32 and back.

    Args:
        node: of the exported graph.
        given_half: all of its float inputs that are no weights are float16.
    """
    island = node.op_type in ISLAND_OPERATORS or _COMPACT_ISLANDS.fullmatch(node.name) is not None
    if node.op_type in _FOLLOWING and given_half:
        return not island or node.name.count("/") == 1
    own = node.op_type in ("Conv", "BatchNormalization") or node.name.startswith("/encoder/")
    return own and not island


class _Converter:
    """One conversion: the tensors by precision, and the new list of nodes."""

    def __init__(
        self, model: onnx.ModelProto, in_half: Callable[[onnx.NodeProto, bool], bool]
    ) -> None:
        self.in_half = in_half
        self.model = onnx.shape_inference.infer_shapes(model)
        graph = self.model.graph
        known = [*graph.value_info, *graph.input, *graph.output]
        self.floats = {v.name for v in known if v.type.tensor_type.elem_type == TensorProto.FLOAT}
        self.weights = {tensor.name: tensor for tensor in graph.initializer}
        self.halves: set[str] = set()
        """Tensors computed in float16."""
        self.casts: dict[tuple[str, int], str] = {}
        self.nodes: list[onnx.NodeProto] = []

    def run(self) -> bytes:
        graph = self.model.graph
        for node in graph.node:
            self._convert(node)
        used = {name for node in self.nodes for name in node.input}
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(self.nodes)
        graph.initializer.extend(t for name, t in self.weights.items() if name in used)
        onnx.checker.check_model(self.model, full_check=True)
        return self.model.SerializeToString()

    def _convert(self, node: onnx.NodeProto) -> None:
        given = [n for n in node.input if n in self.floats and n not in self.weights]
        to_half = self.in_half(node, bool(given) and self.halves.issuperset(given))
        kind = TensorProto.FLOAT16 if to_half else TensorProto.FLOAT
        inputs = [self._in(name, kind) for name in node.input]
        made = onnx.NodeProto()
        made.CopyFrom(node)
        del made.input[:]
        made.input.extend(inputs)
        if to_half:
            for attribute in made.attribute:
                if node.op_type == "Cast" and attribute.i == TensorProto.FLOAT:
                    attribute.i = TensorProto.FLOAT16
            self.halves.update(name for name in node.output if name in self.floats)
        self.nodes.append(made)

    def _in(self, name: str, kind: int) -> str:
        """Name of a tensor in this precision; adds a cast if there is none yet."""
        if name in self.weights:
            tensor = self.weights[name]
            if tensor.data_type != TensorProto.FLOAT or kind == TensorProto.FLOAT:
                return name
            return self._half_weight(tensor)
        if name not in self.floats or (name in self.halves) == (kind == TensorProto.FLOAT16):
            return name
        if (name, kind) not in self.casts:
            suffix = "half" if kind == TensorProto.FLOAT16 else "single"
            made = f"{name}/{suffix}"
            self.casts[name, kind] = made
            self.nodes.append(helper.make_node("Cast", [name], [made], name=made, to=kind))
        return self.casts[name, kind]

    def _half_weight(self, tensor: TensorProto) -> str:
        made = f"{tensor.name}/half"
        if made not in self.weights:
            values = numpy_helper.to_array(tensor)
            if not bool((np.abs(values) <= np.finfo(np.float16).max).all()):
                raise ValueError(
                    f"weight {tensor.name!r} reaches {np.abs(values).max():.3g}, beyond float16 "
                    "(65504); use the float32 bundle"
                )
            self.weights[made] = numpy_helper.from_array(values.astype(np.float16), made)
        return made
