# SPDX-License-Identifier: Apache-2.0
"""A precision gets into a bundle if the gate passes it, and leaves no trace otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from nano_bundle import EASY, smooth_pair, write_nano_bundle

from segmif_ros.bundle import MANIFEST, Bundle, BundleError
from segmif_ros.engines import open_engine
from segmif_ros.engines.base import EngineOptions
from segmif_ros.engines.reference import check_engine
from segmif_ros.export import precision
from segmif_ros.export.precision import PLANS, PrecisionError, add_fp16, add_int8

PAIRS = [smooth_pair(seed) for seed in range(2)]
IMPOSSIBLE = {**EASY, "fused_psnr_db": 120.0}


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with all three precisions."""
    bundle = write_nano_bundle(tmp_path_factory.mktemp("complete") / "bundle")
    bundle, result = add_fp16(bundle, threads=1)
    assert result.passed
    bundle, result = add_int8(bundle, PAIRS, source="smooth", threads=1)
    assert result.passed
    return bundle


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_all_precisions_lie_beside_the_model(complete: Bundle) -> None:
    assert complete.precisions == ("fp32", "fp16", "int8")
    assert complete.model_path.name == "model.onnx"
    sizes = [complete.select(name).model_path.stat().st_size for name in complete.precisions]
    assert sizes == sorted(sizes, reverse=True)
    assert set(files(complete.path)) == {
        MANIFEST, "model.onnx", "model_fp16.onnx", "model_int8.onnx",
    }  # fmt: skip


def test_the_manifest_reports_how_they_were_made(complete: Bundle) -> None:
    made = complete.manifest.files["int8"].made
    assert made["for"] == "tensorrt"
    assert (made["pairs"], made["from"]) == (2, "smooth")
    assert made["float32"] == "first and last layers"
    assert made["gate"].startswith("passed: fused ")
    assert complete.manifest.files["fp16"].made["gate"].startswith("passed: fused ")
    assert json.loads((complete.path / MANIFEST).read_text())["model"] == "model.onnx"


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("which", ["fp16", "int8"])
def test_both_runtimes_take_them(complete: Bundle, name: str, which: str) -> None:
    engine = open_engine(name, complete, options=EngineOptions(threads=1, precision=which))
    assert engine.describe()["precision"].startswith(which)
    result = check_engine(engine, complete, threads=1)
    assert result.passed, result.reasons
    assert result.reference["precision"] == "fp32"
    assert result.fused_psnr_db < 120.0  # it is not the float32 file that ran


def test_a_refused_file_is_not_written(
    complete: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write_nano_bundle(tmp_path / "bundle", gate=IMPOSSIBLE)
    before = files(bundle.path)
    tried = []
    made = complete.select("int8").model_path.read_bytes()
    monkeypatch.setattr(
        precision, "quantise", lambda *_, **how: tried.append(how["keep_float"]) or made
    )
    with pytest.raises(PrecisionError, match=r"int8 failed: .*nothing is written"):
        add_int8(bundle, PAIRS, source="smooth", threads=1)
    assert tried == list(PLANS.values())
    with pytest.raises(PrecisionError, match=r"fp16 failed: .*nothing is written"):
        add_fp16(bundle, threads=1)
    assert files(bundle.path) == before


def test_no_pairs_are_refused(tmp_path: Path) -> None:
    bundle = write_nano_bundle(tmp_path / "bundle")
    with pytest.raises(PrecisionError, match="no pairs to calibrate on"):
        add_int8(bundle, [], source="nowhere")


def test_a_bundle_without_float32_is_refused(tmp_path: Path) -> None:
    bundle = write_nano_bundle(tmp_path / "bundle")
    path = bundle.path / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), "precision": "mixed-fp16"}))
    with pytest.raises(BundleError, match="holds fp16 only; other precisions are made from fp32"):
        add_int8(Bundle.load(bundle.path), PAIRS, source="smooth")
