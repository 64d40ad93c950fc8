# SPDX-License-Identifier: Apache-2.0
"""From a bundle to an engine that may be used: cache, build, gate, retry; over stand-ins."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from stand_in_gpu import StandInGpu
from tiny_model import write_tiny_bundle

import segmif_ros.engines
from segmif_ros.bundle import MANIFEST, Bundle, ModelFile
from segmif_ros.cli.build_engine import main
from segmif_ros.engines import EngineChoices, open_engine
from segmif_ros.engines.base import EngineError
from segmif_ros.engines.tensorrt.build import Limits
from segmif_ros.engines.tensorrt.open import Wanted, open_tensorrt
from segmif_ros.engines.tensorrt.progress import BuildProgress
from segmif_ros.engines.tensorrt.run import TensorRtEngine

SIZE = (32, 48)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A tiny bundle with an fp16 file (the same graph) and a reference pair of its own."""
    folder = write_tiny_bundle(tmp_path_factory.mktemp("tiny"), SIZE)
    plain = Bundle.load(folder)
    content = plain.model_path.read_bytes()
    (folder / "half.onnx").write_bytes(content)
    models = {"fp16": ModelFile("half.onnx", plain.manifest.sha256)}
    (folder / MANIFEST).write_text(replace(plain.manifest, models=models).to_json())
    rng = np.random.default_rng(1)
    (folder / "reference").mkdir()
    for name, shape in (("rgb", (*SIZE, 3)), ("thermal", SIZE)):
        picture = rng.integers(0, 256, shape, np.uint8)
        assert cv2.imwrite(str(folder / "reference" / f"one_{name}.png"), picture)
    return Bundle.load(folder)


class Opened:
    """Opens engines and keeps what was said."""

    def __init__(self, bundle: Bundle, folder: Path) -> None:
        self.bundle = bundle
        self.wanted = Wanted(cache=folder, threads=1)
        self.warnings: list[str] = []
        self.told: list[str] = []

    def __call__(self, **changes: Any) -> dict[str, str]:
        """Open, try and close an engine; return its facts."""
        wanted = replace(self.wanted, **changes)
        self.warnings.clear()
        self.told.clear()
        engine = open_tensorrt(
            self.bundle, wanted, warn=self.warnings.append, tell=self.told.append
        )
        rgb, thermal = np.full((*SIZE, 3), 9, np.uint8), np.full(SIZE, 200, np.uint8)
        assert int(engine.infer(rgb, thermal).mask[0, 0]) == 8
        facts = dict(engine.describe())
        engine.close()
        return facts


@pytest.fixture
def opened(bundle: Bundle, tmp_path: Path) -> Opened:
    return Opened(bundle, tmp_path / "engines")


def test_an_engine_is_built_once(gpu: StandInGpu, opened: Opened) -> None:
    first = opened(precision="fp32")
    assert len(gpu.behaviour.built) == 1
    assert "no fp32 engine of tiny" in opened.told[0]
    assert any("accuracy gate passed" in line for line in opened.told)
    second = opened(precision="fp32")
    assert len(gpu.behaviour.built) == 1
    assert opened.told == []
    assert first == second
    assert first["gate"].startswith("passed: fused 120.0 dB")
    assert first["precision"] == "fp32 with tf32"
    description = json.loads(Path(first["engine_file"]).with_suffix(".json").read_text())
    assert description["gate"]["passed"] is True
    assert description["key"]["gpu"] == "Stand-in GPU"
    assert description["key"]["capability"] == "8.7"


@pytest.mark.parametrize("damage", ["truncated", "foreign", "other version", "not taken"])
def test_an_engine_that_does_not_belong_here_is_built_again(
    gpu: StandInGpu, opened: Opened, damage: str
) -> None:
    path = Path(opened(precision="fp32")["engine_file"])
    words = {
        "truncated": "bytes, expected",
        "foreign": "gpu was NVIDIA A100, is Stand-in GPU",
        "other version": "tensorrt was 10.3.0, is 8.6.1",
        "not taken": "TensorRT does not take this engine: version tag does not match",
    }[damage]
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:100])
    elif damage == "foreign":
        text = path.with_suffix(".json").read_text()
        path.with_suffix(".json").write_text(text.replace("Stand-in GPU", "NVIDIA A100"))
    elif damage == "other version":
        gpu.install("8.6.1")
    else:
        description = json.loads(path.with_suffix(".json").read_text())
        plan = path.read_bytes().replace(b"10.3.0", b"9.9.99")
        path.write_bytes(plan)
        description |= {"bytes": len(plan), "sha256": hashlib.sha256(plan).hexdigest()}
        path.with_suffix(".json").write_text(json.dumps(description))
    opened(precision="fp32")
    assert len(gpu.behaviour.built) == 2
    assert words in opened.told[0]
    opened(precision="fp32")
    assert len(gpu.behaviour.built) == 2


def test_other_options_are_another_engine(gpu: StandInGpu, opened: Opened) -> None:
    opened(precision="fp32")
    opened(precision="fp32", limits=Limits(workspace_mib=64))
    assert [how["workspace"] >> 20 for how in gpu.behaviour.built] == [1024, 64]
    assert gpu.behaviour.built[1]["timing"] == "+", "the first build helps the second"
    opened(precision="fp32", rebuild=True)
    assert len(gpu.behaviour.built) == 3
    opened(precision="fp32")
    assert len(gpu.behaviour.built) == 3


def test_an_integrated_gpu_is_told_apart_by_its_memory(gpu: StandInGpu, opened: Opened) -> None:
    gpu.controls.reset(integrated=True)
    path = Path(opened(precision="fp32")["engine_file"])
    assert json.loads(path.with_suffix(".json").read_text())["key"]["memory_mib"] == 8192


@pytest.mark.usefixtures("gpu")
def test_the_comparison_says_how_far_it_is(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a small processor the reference takes longer than the build of the engine."""
    monkeypatch.setattr(BuildProgress.__init__, "__kwdefaults__", {"every_s": 0.0})
    monkeypatch.setattr(BuildProgress, "_watch", lambda _: None)
    opened(precision="fp32")
    lines = [line for line in opened.told if line.startswith("comparing the fp32 with tf32 engine")]
    assert any("pairs (1 of 2)" in line for line in lines)


def strong(how: dict[str, Any]) -> bool:
    return how["network_flags"] != 0


def test_a_half_precision_that_fails_is_tried_with_more_in_float32(
    gpu: StandInGpu, opened: Opened
) -> None:
    gpu.behaviour.spoil = strong
    facts = opened(precision="fp16")
    assert facts["precision"] == "fp16 in convolutions, else fp32"
    assert "the fp16 engine is refused: failed: " in opened.warnings[0]
    assert len(gpu.behaviour.built) == 2
    facts = opened(precision="fp16")
    assert facts["precision"] == "fp16 in convolutions, else fp32"
    assert len(gpu.behaviour.built) == 2, "a refusal is remembered"
    assert "was refused when it was built" in opened.warnings[0]


def test_auto_ends_with_float32(gpu: StandInGpu, opened: Opened) -> None:
    gpu.behaviour.spoil = lambda how: strong(how) or "FP16" in how["flags"]
    facts = opened(precision="auto")
    assert facts["precision"] == "fp32 with tf32"
    assert len(opened.warnings) == 2
    gpu.install("11.4.0")
    gpu.behaviour.spoil = lambda how: "TF32" in how["flags"]
    facts = opened(precision="auto")
    assert facts["precision"] == "fp32"
    assert len(opened.warnings) == 2


def test_an_engine_that_gives_wrong_pictures_is_never_used(gpu: StandInGpu, opened: Opened) -> None:
    gpu.behaviour.spoil = lambda _: True
    with pytest.raises(EngineError, match="no TensorRT engine of tiny is accurate enough") as err:
        opened(precision="fp16")
    assert "the fused image is 0 everywhere" in str(err.value)
    assert not list(opened.wanted.cache.glob("*.plan"))
    gpu.behaviour.spoil = lambda _: False
    with pytest.raises(EngineError, match="--rebuild"):
        opened(precision="fp16")
    assert opened(precision="fp16", rebuild=True)["precision"] == "fp16"


@pytest.mark.usefixtures("gpu")
def test_a_run_that_fails_is_no_refusal_for_ever(opened: Opened) -> None:
    """The GPU may have been out of memory, or lost; the next start tries again."""

    def failing(*_: object) -> None:
        raise EngineError("CUDA failed: out of memory")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TensorRtEngine, "infer", failing)
        with pytest.raises(EngineError, match="the engine failed: CUDA failed: out of memory"):
            opened(precision="fp32")
    assert opened(precision="fp32")["gate"].startswith("passed")
    assert opened.warnings == []


@pytest.mark.usefixtures("gpu")
def test_thresholds_are_part_of_an_engine(opened: Opened) -> None:
    opened(precision="fp32")
    stricter = replace(opened.bundle.manifest, gate={"mask_agreement": 0.999})
    opened.bundle = replace(opened.bundle, manifest=stricter)
    opened(precision="fp32")
    assert "mask_agreement was 0.98, is 0.999" in opened.told[0]
    wrong = replace(opened.bundle.manifest, gate={"mask_agreement": 2})
    opened.bundle = replace(opened.bundle, manifest=wrong)
    with pytest.raises(EngineError, match="gate: mask_agreement is 2"):
        opened(precision="fp32")


def test_what_an_engine_is_compared_with_is_part_of_it(
    gpu: StandInGpu, opened: Opened, tmp_path: Path
) -> None:
    """A verdict on other pictures, or against another fp32 file, says nothing about these."""
    folder = Path(shutil.copytree(opened.bundle.path, tmp_path / "bundle"))
    opened.bundle = Bundle.load(folder)
    opened(precision="fp16")
    opened(precision="fp16")
    assert len(gpu.behaviour.built) == 1
    picture = np.full((*SIZE, 3), 90, np.uint8)
    assert cv2.imwrite(str(folder / "reference" / "one_rgb.png"), picture)
    opened(precision="fp16")
    assert len(gpu.behaviour.built) == 2
    assert "compared_with was" in opened.told[0]
    model = onnx.load(str(folder / "model.onnx"))
    model.doc_string = "other weights"
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    manifest = replace(opened.bundle.manifest, sha256=digest)
    (folder / MANIFEST).write_text(manifest.to_json())
    opened.bundle = Bundle.load(folder)
    opened(precision="fp16")
    assert len(gpu.behaviour.built) == 3


@pytest.mark.usefixtures("gpu")
def test_libraries_that_do_not_load_are_no_crash(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The package of some versions loads them by ctypes, which raises OSError."""
    (tmp_path / "tensorrt.py").write_text("import ctypes; ctypes.CDLL('libnvinfer.so.none')\n")
    monkeypatch.delitem(sys.modules, "tensorrt")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(EngineError, match=r"'tensorrt' is not installed .*libnvinfer.so.none"):
        opened()


def test_a_cache_that_cannot_be_written_stops_before_the_build(
    gpu: StandInGpu, opened: Opened, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EngineError, match="cannot be written"):
        opened(cache=tmp_path / "file" / "engines")
    assert gpu.behaviour.built == []


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("tensorrt", "'tensorrt' is not installed"),
        ("pycuda.driver", "needs pycuda"),
        ("onnxruntime", "compared with ONNX Runtime before it is used"),
    ],
)
def test_what_is_missing_is_said_before_the_build(
    gpu: StandInGpu,
    opened: Opened,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    words: str,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    if module == "onnxruntime":
        monkeypatch.setattr("segmif_ros.engines.tensorrt.open.find_spec", lambda _: None)
    with pytest.raises(EngineError, match=words):
        opened()
    assert gpu.behaviour.built == []


def test_without_a_gpu_nothing_of_tensorrt_is_touched(gpu: StandInGpu, opened: Opened) -> None:
    """The stand-in's Runtime and Builder are not even looked up: the real ones may crash."""
    gpu.controls.reset(gpus=0)
    gpu.patch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineError, match=r"'tensorrt' needs an NVIDIA GPU: .*counts no GPU"):
        opened()


def test_auto_takes_the_gpu_first_and_falls_back_with_the_reason(
    gpu: StandInGpu, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = {"tensorrt", "onnxruntime"}
    monkeypatch.setattr(
        segmif_ros.engines, "find_spec", lambda name: object() if name in installed else None
    )
    choices = EngineChoices(threads=1, precision="fp32", cache=opened.wanted.cache)
    told: list[str] = []
    engine = open_engine("auto", opened.bundle, choices=choices, warn=told.append)
    assert engine.name == "tensorrt"
    assert told == []
    engine.close()
    gpu.controls.reset(init_code=100)
    engine = open_engine("auto", opened.bundle, choices=choices, warn=told.append)
    assert engine.name == "onnxruntime"
    assert "'auto' passes over tensorrt" in told[0]
    assert "finds no GPU" in told[0]


def test_build_engine_builds_says_how_and_refuses(
    gpu: StandInGpu, opened: Opened, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(opened.wanted.cache)
    line = [str(opened.bundle.path), "--cache", folder, "--precision", "fp16", "--workspace", "64"]
    assert main([*line, "--optimization-level", "1"]) == 0
    out = capsys.readouterr().out
    assert "precision: fp16" in out
    assert "gate: passed" in out
    assert gpu.behaviour.built[-1]["workspace"] == 64 << 20
    assert gpu.behaviour.built[-1]["level"] == 1
    assert main([*line, "--size", "512x640"]) == 1
    assert "segmif export --size 512x640" in capsys.readouterr().err
    assert main([str(opened.bundle.path), "--cache", folder, "--precision", "int8"]) == 1
    assert "segmif quantise" in capsys.readouterr().err
    gpu.behaviour.spoil = lambda _: True
    assert main([*line, "--rebuild"]) == 1
    captured = capsys.readouterr()
    assert "is refused" in captured.err
    assert "accurate enough" in captured.err
