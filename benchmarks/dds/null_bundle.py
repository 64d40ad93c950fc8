# SPDX-License-Identifier: Apache-2.0
"""A bundle without a network, of any size, for the engine `null`."""

from __future__ import annotations

import hashlib
from pathlib import Path

from segmif_ros.bundle import MANIFEST, LabelClass, Manifest
from segmif_ros.engines.null import DELAY_SWITCH


def write_null_bundle(folder: Path, size: tuple[int, int], *, delay_ms: float = 0.0) -> Path:
    """Write a bundle whose graph passes the images through, and return its folder.

    Args:
        folder: made if missing.
        size: (height, width) in pixels.
        delay_ms: what the engine `null` waits for at each inference, as if it had a GPU.
    """
    from onnx import TensorProto, helper

    height, width = size
    colour, grey = [height, width, 3], [height, width]
    shapes = {
        "rgb": colour, "thermal": grey, "fused": colour, "mask": grey, "confidence": grey
    }  # fmt: skip
    ports = {
        name: helper.make_tensor_value_info(name, TensorProto.UINT8, shape)
        for name, shape in shapes.items()
    }
    graph = helper.make_graph(
        [
            helper.make_node("Identity", ["rgb"], ["fused"]),
            helper.make_node("Identity", ["thermal"], ["mask"]),
            helper.make_node("Identity", ["thermal"], ["confidence"]),
        ],
        "null",
        [ports["rgb"], ports["thermal"]],
        [ports["fused"], ports["mask"], ports["confidence"]],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content = model.SerializeToString()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(content)
    manifest = Manifest(
        name="null",
        model="model.onnx",
        sha256=hashlib.sha256(content).hexdigest(),
        size=size,
        classes=(LabelClass(0, "anything", (128, 128, 128)),),
        switches={DELAY_SWITCH: delay_ms},
        licence="Apache-2.0",
    )
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return folder
