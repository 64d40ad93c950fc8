# SPDX-License-Identifier: Apache-2.0
"""TensorRT for RTX really parses and builds here: no GPU, no driver, no stand-in."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import onnx
import pytest
import tensorrt_rtx  # noqa: F401 - without it these tests are skipped by its name
import torch
from nano_bundle import SIZE, smooth_pair, write_nano_bundle
from onnx import TensorProto, helper

from segmif_ros.bundle import MANIFEST, Bundle
from segmif_ros.cli.main import main
from segmif_ros.engines.base import EngineError, EngineOptions
from segmif_ros.engines.cache import EngineCache, Entry
from segmif_ros.engines.driver import ask_driver
from segmif_ros.engines.tensorrt import ahead
from segmif_ros.engines.tensorrt.ahead import FOLDER, ahead_key, build_ahead, compile_report
from segmif_ros.engines.tensorrt.api import import_rtx, version
from segmif_ros.engines.tensorrt.build import Recipe, build, recipes
from segmif_ros.export.bundle_writer import add_model, store_bundle
from segmif_ros.export.confidence import set_temperatures
from segmif_ros.export.export import BytesInBytesOut, trace
from segmif_ros.export.graph import fold_shapes
from segmif_ros.export.mixed_precision import to_mixed_float16
from segmif_ros.export.precision import PLANS, quantise
from segmif_ros.export.rewrite import rewrite
from segmif_ros.network.variants import build as build_network

KEEP = next(iter(PLANS.values()))


def products(bundle: Bundle, precision: str) -> dict[str, int]:
    """Build a file; return how many convolutions and matrix products compute in what."""
    recipe = recipes(bundle, precision, weak_types=False)[0]
    built = build(import_rtx(), recipe, EngineOptions())
    assert len(built.plan) > 100_000
    return dict(built.products)


def quantised_products(path: Path) -> int:
    """Convolutions and matrix products of a file that are given 8 bits on both sides."""
    graph = onnx.load(str(path)).graph
    makers = {name: node.op_type for node in graph.node for name in node.output}
    return sum(
        node.op_type in ("Conv", "MatMul")
        and all(makers.get(name) == "DequantizeLinear" for name in node.input[:2])
        for node in graph.node
    )


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The compact network, small, with fitted confidences and a file for every precision."""
    bundle = write_nano_bundle(tmp_path_factory.mktemp("nano"))
    bundle = set_temperatures(bundle, {"person": 1.5})
    exact = bundle.model_path.read_bytes()
    bundle = add_model(bundle, "fp16", to_mixed_float16(exact), {})
    pairs = [smooth_pair(seed) for seed in range(2)]
    return add_model(bundle, "int8", quantise(exact, pairs, keep_float=KEEP), {})


def test_every_precision_is_that_of_the_file(nano: Bundle) -> None:
    assert set(products(nano, "fp32")) == {"float32"}
    exact = recipes(nano, "fp32", weak_types=False)[1]
    assert not exact.tf32
    assert build(import_rtx(), exact, EngineOptions()).plan
    half = products(nano, "fp16")
    assert half["float16"] > half["float32"] > 0
    whole = products(nano, "int8")
    asked = quantised_products(nano.path / nano.manifest.files["int8"].file)
    assert whole["int8"] == asked > 30


def test_the_bundle_that_ships_compiles(tmp_path: Path) -> None:
    """With all that was done to its file since the export: half weights, fitted confidences."""
    shipped = Bundle.load("segmif-nano")
    assert set(products(shipped, "fp32")) == {"float32"}
    bundle = Bundle.load(Path(shutil.copytree(shipped.path, tmp_path / "copy")))
    half = to_mixed_float16(bundle.model_path.read_bytes())
    assert products(add_model(bundle, "fp16", half, {}), "fp16")["float16"] > 50


def cascade(variant: str, folder: Path) -> Bundle:
    """The published network in its run-time form; random weights, which compile like any."""
    torch.manual_seed(0)
    network = rewrite(build_network(variant, 15).eval())
    rgb, thermal = (torch.from_numpy(image) for image in smooth_pair(0))
    module = BytesInBytesOut(network, SIZE).eval()
    with torch.no_grad():
        data = trace(module, {"rgb": rgb, "thermal": thermal}, ["fused", "mask", "confidence"])
    return bundle_of(folder, fold_shapes(onnx.load_from_string(data)).SerializeToString())


def bundle_of(folder: Path, content: bytes) -> Bundle:
    """A bundle around a graph that was never compared with a reference."""
    manifest = replace(Bundle.load("segmif-nano").manifest, size=SIZE, models={})
    digest = hashlib.sha256(content).hexdigest()
    return store_bundle(folder, content, replace(manifest, model="m.onnx", sha256=digest))


def test_the_published_cascade_compiles_in_half_precision(tmp_path: Path) -> None:
    bundle = cascade("b1", tmp_path)
    half = to_mixed_float16(bundle.model_path.read_bytes())
    assert products(add_model(bundle, "fp16", half, {}), "fp16")["float16"] > 50


def test_the_paper_s_network_compiles(tmp_path: Path) -> None:
    assert set(products(cascade("paper-b3", tmp_path), "fp32")) == {"float32"}


def test_an_engine_is_built_ahead_and_lies_beside_its_model(
    nano: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build-engine", str(nano.path), "--ahead", "--precision", "int8"]) == 0
    out = capsys.readouterr().out
    plan = Path(out.split("engine_file: ")[1].splitlines()[0])
    assert plan.parent == nano.path / FOLDER
    assert f"sha256 {nano.manifest.files['int8'].sha256}" in out
    assert "for: ampere+ (compute capability 8.0, 8.6, 8.9, 12.0, 12.1)" in out
    assert "in int8" in out
    described = json.loads(plan.with_suffix(".json").read_text())
    assert described["key"]["gpu"] == "ampere+"
    assert described["key"]["runtime"] == version(import_rtx())
    assert stat.S_IMODE(plan.stat().st_mode) == 0o644, "the vehicle's user reads what root built"


def test_without_a_float16_file_one_is_made_first(
    nano: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(nano.path, tmp_path / "bundle"))
    (folder / MANIFEST).write_text(replace(nano.manifest, models={}).to_json())
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    assert main(["build-engine", str(folder), "--ahead", "--precision", "fp16"]) == 0
    out = capsys.readouterr().out
    assert "gate passed" in out
    assert "precision: fp16" in out
    assert Bundle.load(folder).precisions == ("fp32", "fp16")
    assert len(list((folder / FOLDER).glob("*.plan"))) == 1


def test_another_group_of_gpus_is_another_engine(nano: Bundle, tmp_path: Path) -> None:
    options = EngineOptions(precision="fp32", cache=tmp_path / "cache")
    paths = {build_ahead(nano, options, target)[0] for target in ("ampere+", "blackwell")}
    assert len(paths) == 2
    assert all(path.parent == tmp_path / "cache" for path in paths)


def test_what_cannot_be_built_for_a_gpu_is_one_line(
    nano: Bundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """TensorRT for RTX multiplies no float32 matrices on Turing, which every file here does."""
    # No driver whatever this machine has: the stand-in of other tests stays loaded once it was.
    monkeypatch.setattr(ahead, "ask_driver", partial(ask_driver, "libcuda-of-no-machine.so.1"))
    cache = ["--engine-cache", str(tmp_path)]
    assert main(["build-engine", str(nano.path), "--ahead", "--for", "turing", *cache]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "for turing" in error
    assert "FP32 GEMM is not supported" in error
    assert main(["build-engine", str(nano.path), "--ahead", "--for", "current", *cache]) == 1
    assert "an engine for the current GPU needs one" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_leaves_the_cache(
    nano: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read-only bundle; root may write anywhere, so something is in the way instead."""
    folder = Path(shutil.copytree(nano.path, tmp_path / "bundle"))
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    (folder / FOLDER).write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    told: list[str] = []
    options = EngineOptions(precision="fp32")
    path, _, _ = build_ahead(Bundle.load(folder), options, "ampere+", on_progress=told.append)
    assert path.parent == tmp_path / "home" / "segmif_ros" / "engines"
    assert any("not kept beside the model" in line for line in told)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / FOLDER))
    with pytest.raises(EngineError, match="cannot be written"):
        build_ahead(Bundle.load(folder), options, "ampere+", on_progress=told.append)


def with_graph(folder: Path, nodes: list[onnx.NodeProto], **opsets: int) -> Bundle:
    """A bundle around a graph of one's own that turns `thermal` into `mask`."""
    u8, shape = TensorProto.UINT8, list(SIZE)
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["rgb"], ["rgb_f"], to=TensorProto.FLOAT),
            helper.make_node("Cast", ["rgb_f"], ["fused"], to=u8),
            helper.make_node("Cast", ["thermal"], ["t"], to=TensorProto.FLOAT),
            helper.make_node("Cast", ["t"], ["confidence"], to=u8),
            *nodes,
        ],
        "own",
        [
            helper.make_tensor_value_info("rgb", u8, [*shape, 3]),
            helper.make_tensor_value_info("thermal", u8, shape),
        ],
        [
            helper.make_tensor_value_info("fused", u8, [*shape, 3]),
            helper.make_tensor_value_info("mask", u8, shape),
            helper.make_tensor_value_info("confidence", u8, shape),
        ],
    )
    ids = [helper.make_opsetid(*each) for each in {"": 17, **opsets}.items()]
    model = helper.make_model(graph, opset_imports=ids, ir_version=8)
    return bundle_of(folder, model.SerializeToString())


def to_mask(name: str) -> onnx.NodeProto:
    return helper.make_node("Cast", [name], ["mask"], to=TensorProto.UINT8)


def test_an_operator_that_tensorrt_lacks_is_named(tmp_path: Path) -> None:
    bundle = with_graph(
        tmp_path,
        [helper.make_node("Det2", ["t"], ["d"], "corners", domain="own"), to_mask("d")],
        own=1,
    )
    line = compile_report(bundle, "fp32")
    assert line.startswith("m.onnx: runs on no NVIDIA GPU with TensorRT: ")
    assert "operator Det2 of node 'corners'" in line
    assert "\n" not in line


def test_a_graph_with_other_outputs_than_the_manifest_is_refused(
    nano: Bundle, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(nano.path, tmp_path / "bundle"))
    raw = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**raw, "size": [96, 64]}))
    recipe = Recipe("fp32", Bundle.load(folder))
    with pytest.raises(EngineError, match=r"'rgb': \('uint8', \(64, 96, 3\)\).*expected"):
        build(import_rtx(), recipe, EngineOptions())


def test_what_compiles_is_said_and_without_tensorrt_nothing(
    nano: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = compile_report(nano, "fp32")
    assert line.startswith(f"model.onnx: {version(import_rtx())} compiles it: ")
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    assert compile_report(nano, "fp32") == ""
    with pytest.raises(EngineError, match=r"pip install .*\[rtx\]"):
        build_ahead(nano, EngineOptions(), "ampere+")


def test_what_was_cut_short_or_changed_is_not_an_engine(nano: Bundle, tmp_path: Path) -> None:
    options = EngineOptions(precision="fp32", cache=tmp_path)
    path, built, _ = build_ahead(nano, options, "ampere+")
    cache = EngineCache(tmp_path)
    recipe = recipes(nano, "fp32", weak_types=False)[0]
    wanted = ahead_key(import_rtx(), recipe, "ampere+", "")
    entry = cache.find(nano.manifest.name, wanted)
    assert isinstance(entry, Entry)
    assert entry.plan == built.plan
    path.write_bytes(built.plan[:-1])
    assert not isinstance(cache.find(nano.manifest.name, wanted), Entry)
