# SPDX-License-Identifier: Apache-2.0
"""Inserts a calibration table per class for the confidences into the graph of a bundle."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from segmif_ros.bundle import Bundle
from segmif_ros.export.bundle_writer import replace_models
from segmif_ros.metrics.calibration import confidence_table

_TABLE = "confidence_table"
_FIRST = "/confidence_"
"""Names of the inserted nodes; converters keep nodes outside the network in float32."""


def with_table(data: bytes, temperatures: Mapping[int, float], classes: int) -> bytes:
    """Return the ONNX file with its confidences under these temperatures instead of others.

    Args:
        data: a bundle's ONNX file: outputs `mask` and `confidence`.
        temperatures: by class id; nothing is inserted if all are 1.
        classes: number of classes.

    Raises:
        ValueError: the graph has no such outputs.
    """
    model = onnx.load_from_string(data)
    graph = model.graph
    made_by = {output: node for node in graph.node for output in node.output}
    if not {"mask", "confidence"} <= made_by.keys():
        raise ValueError("the model has no outputs mask and confidence; export it again")
    _take_out(graph, made_by)
    made_by = {output: node for node in graph.node for output in node.output}
    if any(value != 1.0 for value in temperatures.values()):
        values = confidence_table(temperatures, classes).reshape(-1).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(values, _TABLE))
        _put_in(graph, made_by)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _put_in(graph: onnx.GraphProto, made_by: Mapping[str, onnx.NodeProto]) -> None:
    """Insert the table before the enlargement of both outputs, if any, else at the end."""
    # TensorRT supports uint8 only as an output: the network's cast to uint8 becomes one to int32.
    # The index into the table needs more digits than bfloat16 has.
    mask, level = _before(graph, "mask"), _before(graph, "confidence")
    own = made_by["confidence"]
    if level is not None and mask is not None:
        graph.node.append(_node("Cast", [level.input[0]], "level", to=TensorProto.INT32))
        classes = mask.input[0]
    elif own.op_type == "Cast":
        _retarget(own, f"{_FIRST}level", TensorProto.INT32)
        classes = _whole(made_by["mask"])
    else:
        own.output[0] = f"{_FIRST}own"
        graph.node.append(_node("Cast", [own.output[0]], "level", to=TensorProto.INT32))
        classes = _whole(made_by["mask"])
    rows = numpy_helper.from_array(np.array(256, np.int32))
    graph.node.extend(
        [
            _node("Cast", [classes], "class", to=TensorProto.INT32),
            _node("Constant", [], "levels", value=rows),
            _node("Mul", [f"{_FIRST}class", f"{_FIRST}levels"], "row"),
            _node("Add", [f"{_FIRST}row", f"{_FIRST}level"], "place"),
            _node("Gather", [_TABLE, f"{_FIRST}place"], "value", axis=0),
        ]
    )
    if level is None:
        out = f"{_FIRST}out"
        graph.node.append(
            helper.make_node("Cast", [f"{_FIRST}value"], ["confidence"], out, to=TensorProto.UINT8)
        )
        return
    level.input[0] = f"{_FIRST}value"
    _sort(graph)


def _before(graph: onnx.GraphProto, output: str) -> onnx.NodeProto | None:
    """Return the first node that enlarges an output (`export.Enlarge`)."""
    prefix = f"/enlarge_{output}/"
    return next((node for node in graph.node if node.name.startswith(prefix) and node.input), None)


def _sort(graph: onnx.GraphProto) -> None:
    """Sort the nodes topologically, as ONNX requires."""
    known = {value.name for value in (*graph.input, *graph.initializer)}
    waiting = list(graph.node)
    del graph.node[:]
    while waiting:
        ready = [n for n in waiting if known.issuperset(name for name in n.input if name)]
        graph.node.extend(ready)
        known.update(name for node in ready for name in node.output)
        waiting = [node for node in waiting if not known.issuperset(node.output)]


def set_temperatures(bundle: Bundle, temperatures: Mapping[str, float]) -> Bundle:
    """Put these temperatures into every model file of a bundle and into its manifest.

    Args:
        bundle: changed in place; each file is complete before it takes its place.
        temperatures: by name of a class; 1 for the others.

    Raises:
        BundleError, ValueError: the bundle's graphs have no such outputs.
    """
    manifest = bundle.manifest
    ids = {label.name: label.id for label in manifest.classes}
    by_id = {ids[name]: value for name, value in temperatures.items()}
    contents = {
        entry.file: with_table(
            (bundle.path / entry.file).read_bytes(), by_id, len(manifest.classes)
        )
        for entry in manifest.files.values()
    }
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    models = {
        precision: replace(entry, sha256=digests[entry.file])
        for precision, entry in manifest.models.items()
    }
    changed = replace(
        manifest, sha256=digests[manifest.model], models=models, temperatures=dict(temperatures)
    )
    return replace_models(bundle.path, contents, changed)


def _take_out(graph: onnx.GraphProto, made_by: Mapping[str, onnx.NodeProto]) -> None:
    """Restore the name of the network's confidences."""
    if f"{_FIRST}level" not in made_by:
        return
    level, table = made_by[f"{_FIRST}level"], _before(graph, "confidence")
    if table is not None:
        table.input[0] = level.input[0]
    elif f"{_FIRST}own" in made_by:
        made_by[f"{_FIRST}own"].output[0] = "confidence"
    else:
        _retarget(level, "confidence", TensorProto.UINT8)
    for node in [node for node in graph.node if node.name.startswith(_FIRST)]:
        graph.node.remove(node)
    for tensor in [each for each in graph.initializer if each.name == _TABLE]:
        graph.initializer.remove(tensor)


def _retarget(cast: onnx.NodeProto, output: str, kind: int) -> None:
    """Change type and output name of a Cast."""
    cast.output[0] = output
    cast.attribute[0].i = kind


def _whole(node: onnx.NodeProto) -> str:
    """Return whole numbers: what a node makes, or before its cast, where they are no bytes yet."""
    return str(node.input[0] if node.op_type == "Cast" else node.output[0])


def _node(kind: str, inputs: list[str], name: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [f"{_FIRST}{name}"], f"{_FIRST}{name}", **attributes)
