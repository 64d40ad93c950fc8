# SPDX-License-Identifier: Apache-2.0
"""A bundle with a hand-made graph whose answers are known in closed form.

fused = rgb, mask = 8 (person) where thermal > 127 else 1 (road), confidence = thermal.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx
import yaml
from onnx import TensorProto, helper

from segmif_ros.bundle import MANIFEST, LabelClass, Manifest
from segmif_ros.share import share_path


def fmb_classes() -> tuple[LabelClass, ...]:
    raw = yaml.safe_load(share_path("config", "labels", "fmb15.yaml").read_text())
    return tuple(LabelClass(c["id"], c["name"], tuple(c["color"])) for c in raw["classes"])


def write_tiny_bundle(folder: Path, size: tuple[int, int] = (480, 640)) -> Path:
    """Write the bundle into `folder` (made if missing) and return it."""
    height, width = size
    u8 = TensorProto.UINT8
    nodes = [
        helper.make_node("Identity", ["rgb"], ["fused"]),
        helper.make_node("Cast", ["thermal"], ["t"], to=TensorProto.FLOAT),
        helper.make_node("Greater", ["t", "half"], ["hot"]),
        helper.make_node("Where", ["hot", "person", "road"], ["id"]),
        helper.make_node("Cast", ["id"], ["mask"], to=u8),
        helper.make_node("Identity", ["thermal"], ["confidence"]),
    ]
    constants = [
        helper.make_tensor(name, TensorProto.FLOAT, [], [value])
        for name, value in (("half", 127.0), ("person", 8.0), ("road", 1.0))
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("rgb", u8, [height, width, 3]),
            helper.make_tensor_value_info("thermal", u8, [height, width]),
        ],
        [
            helper.make_tensor_value_info("fused", u8, [height, width, 3]),
            helper.make_tensor_value_info("mask", u8, [height, width]),
            helper.make_tensor_value_info("confidence", u8, [height, width]),
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    manifest = Manifest("tiny", "model.onnx", digest, size, fmb_classes(), licence="Apache-2.0")
    (folder / MANIFEST).write_text(manifest.to_json())
    onnx.checker.check_model(model)
    return folder
