# SPDX-License-Identifier: Apache-2.0
"""Temperatures go into the graph: they change confidences as the table says, and nothing else."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from nano_bundle import nano_onnx, smooth_pair
from tiny_model import write_tiny_bundle

from segmif_ros.bundle import Bundle
from segmif_ros.cli.main import main
from segmif_ros.export.confidence import set_temperatures, with_table
from segmif_ros.export.mixed_precision import to_mixed_float16
from segmif_ros.metrics.calibration import confidence_table

TEMPERATURES = {label: 1.0 + 0.2 * label for label in range(15)}


def outputs(data: bytes, size: tuple[int, int]) -> list[np.ndarray]:
    rgb, thermal = (cv2.resize(image, size[::-1]) for image in smooth_pair(1))
    session = ort.InferenceSession(data)
    return session.run(["fused", "mask", "confidence"], {"rgb": rgb, "thermal": thermal})


def size_of(data: bytes) -> tuple[int, int]:
    height, width = ort.InferenceSession(data).get_outputs()[1].shape
    return height, width


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_graph_does_what_the_table_says(precision: str) -> None:
    plain = nano_onnx()
    table = confidence_table(TEMPERATURES, 15)
    changed = with_table(plain, TEMPERATURES, 15)
    if precision == "fp16":
        plain, changed = to_mixed_float16(plain), to_mixed_float16(changed)
    size = size_of(plain)
    before, after = outputs(plain, size), outputs(changed, size)
    assert np.array_equal(before[0], after[0])
    assert np.array_equal(before[1], after[1])
    assert np.array_equal(table[before[1], before[2]], after[2])
    assert len(np.unique(before[1])) > 1


def test_bytes_are_made_for_outputs_alone() -> None:
    """TensorRT refuses them anywhere else, also where nothing reads them."""
    graph = onnx.load_from_string(with_table(nano_onnx(), TEMPERATURES, 15)).graph
    read = {name for node in graph.node for name in node.input}
    made = {node.output[0] for node in graph.node if is_to_bytes(node)}
    assert made == {output.name for output in graph.output}
    assert not made & read


def is_to_bytes(node: onnx.NodeProto) -> bool:
    return node.op_type == "Cast" and node.attribute[0].i == onnx.TensorProto.UINT8


def test_temperatures_replace_each_other_and_can_be_taken_out() -> None:
    plain = nano_onnx()
    twice = with_table(with_table(plain, {3: 2.0}, 15), TEMPERATURES, 15)
    assert twice == with_table(plain, TEMPERATURES, 15)
    size = size_of(plain)
    for one, other in zip(
        outputs(with_table(twice, {}, 15), size), outputs(plain, size), strict=True
    ):
        assert np.array_equal(one, other)


def test_every_file_of_a_bundle_and_its_manifest_agree(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path, (64, 96))
    plain = Bundle.load(bundle).manifest.sha256
    changed = set_temperatures(Bundle.load(bundle), {"person": 2.0})
    assert changed.manifest.temperatures == {"person": 2.0}
    assert changed.manifest.sha256 != plain
    assert Bundle.load(bundle) == changed
    assert set_temperatures(changed, {}).manifest.sha256 == plain


def test_a_command_fits_them_on_held_out_pairs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tiny network is sure of every warm pixel; half of them are labelled as no person."""
    bundle, root = write_tiny_bundle(tmp_path, (96, 128)), tmp_path / "pairs"
    for folder in ("visible", "infrared", "labels"):
        (root / "train" / folder).mkdir(parents=True)
    thermal, labels = np.full((96, 128), 30, np.uint8), np.ones((96, 128), np.uint8)
    thermal[20:80, 20:80], labels[20:80, 20:50] = 220, 8
    for number in range(16):
        for folder, picture in (
            ("visible", np.full((96, 128, 3), 90, np.uint8)),
            ("infrared", thermal),
            ("labels", labels),
        ):
            cv2.imwrite(str(root / "train" / folder / f"{number:02d}.png"), picture)
    words = ["fit-confidence", str(bundle), "--dataset", str(root), "--engine", "onnxruntime"]
    out = tmp_path / "fitted"
    assert main([*words, "--hold-out-every", "2", "--out", str(out)]) == 0
    assert "8 of 16 pairs" in capsys.readouterr().out
    assert Bundle.load(bundle).manifest.temperatures == {}
    fitted = Bundle.load(out).manifest.temperatures
    assert fitted["person"] > 2.0
    assert main([*words, "--out", str(out)]) == 2
    assert main([*words, "--split", "test"]) == 2
    again = [*words[:1], str(out), *words[2:], "--hold-out-every", "2"]
    assert main(again) == 0, "fitted again from the network's own confidences"
    assert Bundle.load(out).manifest.temperatures == fitted
