# SPDX-License-Identifier: Apache-2.0
"""A float32 bundle graph becomes one in float16 with islands of float32, for TensorRT.

Newer TensorRT takes every precision from the file itself, so the casts have to be in the graph.
"""

from __future__ import annotations

import re

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ISLAND_OPERATORS = ("LayerNormalization", "Softmax", "Resize")
"""Sums of squares overflow float16, exponentials and resized logits lose their differences."""

_ISLANDS = re.compile(
    r"/[^/]*"  # outside the network: bytes in, logits to labels, bytes out
    r"|/network/[^/]*"  # between its parts: luma, saliency histograms, colour
    r"|/network/head/predict/.*"  # the logits
    r"|/network/fusion/interactions\.\d/attend_\w+/.*"  # Gram sums over all pixels
)


def is_island(node: onnx.NodeProto) -> bool:
    """Return whether a node of an exported cascade computes in float32."""
    return node.op_type in ISLAND_OPERATORS or _ISLANDS.fullmatch(node.name) is not None


def to_mixed_float16(data: bytes) -> bytes:
    """Convert an exported cascade; inputs and outputs stay what they are.

    Args:
        data: an ONNX file of `deploy.export`.

    Returns:
        The same graph with float16 weights and products, float32 where `is_island` says so.

    Raises:
        ValueError: a weight is too large for float16.
    """
    return _Converter(onnx.load_from_string(data)).run()


class _Converter:
    """One conversion: which tensors there are in which precision, and the new list of nodes."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = onnx.shape_inference.infer_shapes(model)
        graph = self.model.graph
        known = [*graph.value_info, *graph.input, *graph.output]
        self.floats = {v.name for v in known if v.type.tensor_type.elem_type == TensorProto.FLOAT}
        self.weights = {tensor.name: tensor for tensor in graph.initializer}
        self.halves: set[str] = set()
        """Tensors computed in float16."""
        self.alias: dict[str, str] = {}
        self.casts: dict[tuple[str, int], str] = {}
        self.nodes: list[onnx.NodeProto] = []

    def run(self) -> bytes:
        graph = self.model.graph
        for node in graph.node:
            if node.op_type == "Identity" and self._name(node.input[0]) in self.weights:
                self.alias[node.output[0]] = self._name(node.input[0])
            elif node.op_type == "Constant" and node.attribute[0].name == "value":
                tensor = node.attribute[0].t
                tensor.name = node.output[0]
                self.weights[tensor.name] = tensor
            else:
                self._convert(node)
        used = {name for node in self.nodes for name in node.input}
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(self.nodes)
        graph.initializer.extend(t for name, t in self.weights.items() if name in used)
        onnx.checker.check_model(self.model, full_check=True)
        return self.model.SerializeToString()

    def _name(self, name: str) -> str:
        return self.alias.get(name, name)

    def _convert(self, node: onnx.NodeProto) -> None:
        to_half = not is_island(node)
        kind = TensorProto.FLOAT16 if to_half else TensorProto.FLOAT
        inputs = [self._in(self._name(name), kind) for name in node.input]
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
        """The name of a tensor in the wanted precision; adds a cast where there is none yet."""
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
