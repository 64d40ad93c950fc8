# SPDX-License-Identifier: Apache-2.0
"""Counts parameters, operations and memory of a graph by part."""

from __future__ import annotations

import math
import re
from dataclasses import astuple, dataclass

import onnx
from onnx import NodeProto, TensorProto, helper

from segmif_ros.export.graph import fold_shapes, inline_weights

_FREE = frozenset({"Constant", "Identity", "Reshape", "Unsqueeze", "Squeeze", "Flatten", "Shape"})
"""Operators that move no data in any runtime."""

_HEAVY = 4096
"""Size from which an initializer is a weight and not a shape, bytes."""


@dataclass(frozen=True, slots=True)
class PartCost:
    """Cost of one part of a network.

    Attributes:
        part: name, for example "fusion.dense".
        parameters: numbers in weights; a weight that several parts share counts where it is
            read first.
        gflop: convolutions and matrix products, 2 per multiply-add, 10^9.
        weight_mb: 10^6 bytes of weights.
        written_mb: 10^6 bytes of tensors that one frame writes.
    """

    part: str
    parameters: int
    gflop: float
    weight_mb: float
    written_mb: float


@dataclass(frozen=True, slots=True)
class GraphCost:
    """Cost of a whole graph.

    Attributes:
        parts: in the order of the data flow.
        peak_mb: 10^6 bytes of tensors held at the same time, at most, if every operator runs by
            itself in the order of the file; without weights. A runtime that fuses needs less, one
            that reorders layouts needs more.
    """

    parts: tuple[PartCost, ...]
    peak_mb: float

    @property
    def total(self) -> PartCost:
        """The sum of all parts."""
        numbers = zip(*(astuple(part)[1:] for part in self.parts), strict=True)
        return PartCost("total", *map(sum, numbers))


def graph_cost(data: bytes) -> GraphCost:
    """Count an ONNX graph of fixed size.

    Raises:
        ValueError: a tensor whose shape does not follow from the graph.
    """
    return _Counter(onnx.load_from_string(data)).count()


def part_of(name: str) -> str:
    """Return the part a node belongs to, from the module path in its name.

    The first module below the network; of the fusion network the second, without its number.
    """
    path = [part for part in name.split("/") if part]
    if path[:1] == ["network"]:
        path = path[1:]
    modules = [re.sub(r"[._]?\d+$", "", module) for module in path[:-1]]
    if not modules:
        return "bytes, colour, labels"
    return ".".join(modules[:2]) if modules[0] == "fusion" else modules[0]


class _Counter:
    def __init__(self, model: onnx.ModelProto) -> None:
        model = inline_weights(model)
        for tensor in model.graph.initializer:
            if len(tensor.raw_data) > _HEAVY:
                tensor.ClearField("raw_data")  # only its shape counts, and passes copy the graph
        self.graph = fold_shapes(model).graph
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.sizes: dict[str, int] = {}
        self.weights: dict[str, int] = {}
        """Bytes of every initializer."""
        for tensor in self.graph.initializer:
            self._add(tensor.name, tuple(tensor.dims), tensor.data_type)
            self.weights[tensor.name] = self.sizes[tensor.name]
        for value in (*self.graph.input, *self.graph.value_info, *self.graph.output):
            kind = value.type.tensor_type
            dims = tuple(d.dim_value for d in kind.shape.dim)
            if all(d > 0 for d in dims):
                self._add(value.name, dims, kind.elem_type)

    def _add(self, name: str, shape: tuple[int, ...], kind: int) -> None:
        self.shapes[name] = shape
        self.sizes[name] = math.prod(shape) * helper.tensor_dtype_to_np_dtype(kind).itemsize

    def count(self) -> GraphCost:
        table: dict[str, list[float]] = {}
        seen: set[str] = set()
        for node in self.graph.node:
            row = table.setdefault(part_of(node.name), [0, 0.0, 0.0, 0.0])
            if node.op_type == "Identity" and node.input[0] in self.weights:
                # An alias of a weight that is counted already.
                self.weights[node.output[0]] = self.sizes[node.output[0]] = 0
                self.shapes[node.output[0]] = self.shapes[node.input[0]]
                continue
            for name in node.input:
                if self.weights.get(name) and name not in seen and _is_float(self.graph, name):
                    seen.add(name)
                    row[0] += math.prod(self.shapes[name])
                    row[2] += self.weights[name] / 1e6
            row[1] += 2 * self._macs(node) / 1e9
            if node.op_type not in _FREE:
                row[3] += sum(self.sizes.get(name, 0) for name in node.output) / 1e6
        parts = tuple(
            PartCost(name, int(row[0]), row[1], row[2], row[3])
            for name, row in table.items()
            if any(row)
        )
        return GraphCost(parts, self._peak() / 1e6)

    def _macs(self, node: NodeProto) -> int:
        if node.op_type not in ("Conv", "MatMul"):
            return 0
        for name in (*node.input[:2], node.output[0]):
            if name not in self.shapes:
                raise ValueError(
                    f"the shape of {name!r} does not follow from the graph; export the bundle "
                    "with `segmif export` or `segmif import-checkpoint`, which fix every size"
                )
        outputs = math.prod(self.shapes[node.output[0]])
        if node.op_type == "Conv":
            return outputs * math.prod(self.shapes[node.input[1]][1:])
        return outputs * self.shapes[node.input[0]][-1]

    def _peak(self) -> int:
        """Largest sum of live tensors over the nodes in file order; views cost nothing."""
        nodes = list(self.graph.node)
        root: dict[str, str] = {}
        for node in nodes:
            if node.op_type in _FREE and node.input:
                root[node.output[0]] = root.get(node.input[0], node.input[0])
        last: dict[str, int] = {}
        for i, node in enumerate(nodes):
            for name in node.input:
                last[root.get(name, name)] = i
        for value in self.graph.output:
            last[root.get(value.name, value.name)] = len(nodes)
        live = sum(self.sizes.get(value.name, 0) for value in self.graph.input)
        peak = live
        for i, node in enumerate(nodes):
            made = [] if node.op_type in _FREE else list(node.output)
            live += sum(self.sizes.get(name, 0) for name in made)
            peak = max(peak, live)
            for name in {root.get(name, name) for name in (*node.input, *made)}:
                if name not in self.weights and last.get(name, i) == i:
                    live -= self.sizes.get(name, 0)
        return peak


def _is_float(graph: onnx.GraphProto, name: str) -> bool:
    kinds = (TensorProto.FLOAT, TensorProto.FLOAT16)
    return any(t.name == name and t.data_type in kinds for t in graph.initializer)
