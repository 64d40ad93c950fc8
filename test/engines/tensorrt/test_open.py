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
from stand_in_tensorrt import module_of
from tiny_model import write_tiny_bundle
from verb import verb

import segmif_ros.engines
from segmif_ros.bundle import MANIFEST, Bundle, ModelFile
from segmif_ros.engines import open_engine
from segmif_ros.engines.base import EngineError, EngineOptions
from segmif_ros.engines.cache import CacheError, EngineCache
from segmif_ros.engines.tensorrt.ahead import build_ahead
from segmif_ros.engines.tensorrt.open import open_tensorrt
from segmif_ros.engines.tensorrt.progress import BuildProgress
from segmif_ros.engines.tensorrt.run import TensorRtEngine

main = verb("build-engine")

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
        self.options = EngineOptions(cache=folder, threads=1)
        self.warnings: list[str] = []
        self.told: list[str] = []

    def __call__(self, **changes: Any) -> dict[str, str]:
        """Open, try and close an engine; return its facts."""
        options = replace(self.options, **changes)
        self.warnings.clear()
        self.told.clear()
        engine = open_tensorrt(
            self.bundle, options, on_warning=self.warnings.append, on_progress=self.told.append
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
        "other version": "runtime was tensorrt 10.3.0, is tensorrt 8.6.1",
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
    opened(precision="fp32", workspace_mib=64)
    assert [how["workspace"] >> 20 for how in gpu.behaviour.built] == [1024, 64]
    assert gpu.behaviour.built[1]["timing"] == "+", "the first build helps the second"
    opened(precision="fp32", rebuild=True)
    assert len(gpu.behaviour.built) == 3
    opened(precision="fp32")
    assert len(gpu.behaviour.built) == 3


def test_an_integrated_gpu_is_recognised_by_its_memory(gpu: StandInGpu, opened: Opened) -> None:
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
    assert len(gpu.behaviour.built) == 2, "a refusal is stored"
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
    assert not list(opened.options.cache.glob("*.plan"))
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
    """A verdict on other pictures, or against another fp32 file, does not apply to these."""
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
    options = EngineOptions(threads=1, precision="fp32", cache=opened.options.cache)
    told: list[str] = []
    engine = open_engine("auto", opened.bundle, options=options, on_warning=told.append)
    assert engine.name == "tensorrt"
    assert told == []
    engine.close()
    gpu.controls.reset(init_code=100)
    engine = open_engine("auto", opened.bundle, options=options, on_warning=told.append)
    assert engine.name == "onnxruntime"
    assert "'auto' skips tensorrt" in told[0]
    assert "finds no GPU" in told[0]


def test_build_engine_builds_says_how_and_refuses(
    gpu: StandInGpu, opened: Opened, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(opened.options.cache)
    line = [
        str(opened.bundle.path),
        "--engine-cache",
        folder,
        "--precision",
        "fp16",
        "--workspace",
        "64",
    ]
    assert main([*line, "--optimization-level", "1"]) == 0
    out = capsys.readouterr().out
    assert "precision: fp16" in out
    assert "gate: passed" in out
    assert gpu.behaviour.built[-1]["workspace"] == 64 << 20
    assert gpu.behaviour.built[-1]["level"] == 1
    assert main([*line, "--size", "640x512"]) == 1
    assert "segmif export --size 640x512" in capsys.readouterr().err
    assert main([str(opened.bundle.path), "--engine-cache", folder, "--precision", "int8"]) == 1
    assert "segmif quantise" in capsys.readouterr().err
    gpu.behaviour.spoil = lambda _: True
    assert main([*line, "--rebuild"]) == 1
    captured = capsys.readouterr()
    assert "is refused" in captured.err
    assert "accurate enough" in captured.err


@pytest.fixture
def rtx(gpu: StandInGpu, opened: Opened, tmp_path: Path) -> Opened:
    """TensorRT for RTX on a GPU that it knows, and a bundle that may be written to."""
    gpu.install("rtx 1.7.1")
    gpu.controls.reset(capability=86)
    opened.bundle = Bundle.load(shutil.copytree(opened.bundle.path, tmp_path / "bundle"))
    return opened


def test_an_engine_built_ahead_is_checked_once_and_kept(gpu: StandInGpu, rtx: Opened) -> None:
    path, _, _ = build_ahead(rtx.bundle, EngineOptions(precision="fp32"), "ampere+")
    assert gpu.behaviour.built[0]["targets"] == ["SM80", "SM86", "SM89", "SM120", "SM121"]
    facts = rtx(precision="fp32")
    assert len(gpu.behaviour.built) == 1, "nothing is built on the vehicle"
    assert f"checking the pictures of {path}, built ahead for ampere+" in rtx.told[0]
    assert facts["gate"].startswith("passed")
    assert facts["runtime"] == "tensorrt-rtx 1.7.1"
    assert gpu.behaviour.kernels == []
    rtx(precision="fp32")
    assert rtx.told == []
    assert gpu.behaviour.kernels == [b"kernels of the stand-in"], "compiled at the first start"
    shutil.rmtree(path.parent)
    rtx(precision="fp32")
    assert len(gpu.behaviour.built) == 1, "what was accepted is kept apart from the bundle"


def test_an_engine_ahead_needs_no_cache_to_run(
    gpu: StandInGpu, rtx: Opened, tmp_path: Path
) -> None:
    """A container whose file system is read-only, with the engine in the image."""
    build_ahead(rtx.bundle, EngineOptions(precision="fp32"), "ampere+")
    (tmp_path / "file").write_text("in the way")
    for _ in range(2):
        facts = rtx(precision="fp32", cache=tmp_path / "file" / "engines")
        assert facts["gate"].startswith("passed")
        assert any("the next start builds and checks it again" in line for line in rtx.told)
    assert len(gpu.behaviour.built) == 1


def test_kernels_of_another_driver_are_compiled_again(gpu: StandInGpu, rtx: Opened) -> None:
    rtx(precision="fp32")
    gpu.behaviour.refuse = {"kernels"}
    assert rtx(precision="fp32")["gate"].startswith("passed")


def test_kernels_that_cannot_be_kept_are_no_reason_to_stop(
    rtx: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segmif_ros.engines.tensorrt.open.LARGEST_BLOB", 4)
    assert rtx(precision="fp32")["gate"].startswith("passed")
    assert not list(rtx.options.cache.glob("*.kernels"))
    monkeypatch.undo()

    def full(*_: object) -> None:
        raise CacheError("the engine cache cannot be written: no space left")

    monkeypatch.setattr(EngineCache, "write", full)
    assert rtx(precision="fp32")["gate"].startswith("passed")
    assert "the next start compiles again" in rtx.told[-1]


def test_an_engine_ahead_that_gives_wrong_pictures_is_refused(gpu: StandInGpu, rtx: Opened) -> None:
    build_ahead(rtx.bundle, EngineOptions(precision="fp16"), "ampere+")
    gpu.behaviour.spoil = lambda _: True
    with pytest.raises(EngineError, match="the fp16 engine is refused: failed"):
        rtx(precision="fp16")
    assert not list(rtx.options.cache.glob("*.plan"))
    with pytest.raises(EngineError, match="was refused when it was built"):
        rtx(precision="fp16")


@pytest.mark.parametrize("damage", ["truncated", "not ours", "others may write"])
def test_an_engine_ahead_that_cannot_be_trusted_is_built_here(
    gpu: StandInGpu, rtx: Opened, damage: str
) -> None:
    path, _, _ = build_ahead(rtx.bundle, EngineOptions(precision="fp32"), "ampere+")
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "not ours":
        description = path.with_suffix(".json")
        description.write_text(description.read_text().replace("rtx 1.7.1", "rtx 1.6.0"))
    else:
        path.parent.chmod(0o777)
    assert rtx(precision="fp32")["gate"].startswith("passed")
    assert len(gpu.behaviour.built) == 2
    words = {
        "truncated": "bytes, expected",
        "not ours": "runtime was tensorrt-rtx 1.6.0, is tensorrt-rtx 1.7.1",
        "others may write": "others can put code there",
    }[damage]
    assert "an engine built ahead is not used" in rtx.told[0]
    assert words in rtx.told[0]


@pytest.mark.parametrize(
    ("capability", "target", "built"),
    [
        (75, "ampere+", ["SM75"]),
        (86, "blackwell", ["SM80", "SM86", "SM89", "SM120", "SM121"]),
        (90, "ampere+", ["CURRENT"]),
        (120, "blackwell", None),
        (130, "ampere+", None),
    ],
)
def test_an_engine_runs_on_the_gpus_it_was_built_for(
    gpu: StandInGpu, rtx: Opened, capability: int, target: str, built: list[str] | None
) -> None:
    build_ahead(rtx.bundle, EngineOptions(precision="fp32"), target)
    gpu.controls.reset(capability=capability)
    assert rtx(precision="fp32")["gate"].startswith("passed")
    here = gpu.behaviour.built[1:]
    assert [how["targets"] for how in here] == ([] if built is None else [built])


def test_an_engine_that_tensorrt_finds_invalid_is_built_again(gpu: StandInGpu, rtx: Opened) -> None:
    rtx(precision="fp32")
    runtime = sys.modules["tensorrt_rtx"].Runtime
    honest = runtime.get_engine_validity

    def until_built(self: Any, plan: bytes) -> Any:
        stale = len(gpu.behaviour.built) == 1
        gpu.behaviour.invalid = ("VERSION_MISMATCH", "UNSUPPORTED_CC") if stale else ()
        return honest(self, plan)

    gpu.patch.setattr(runtime, "get_engine_validity", until_built)
    rtx(precision="fp32")
    assert len(gpu.behaviour.built) == 2
    assert (
        "does not take this engine on Stand-in GPU (VERSION_MISMATCH, UNSUPPORTED_CC)"
        in (rtx.told[0])
    )


def test_an_old_driver_is_named_and_nothing_is_built_in_vain(gpu: StandInGpu, rtx: Opened) -> None:
    build_ahead(rtx.bundle, EngineOptions(precision="fp32"), "ampere+")
    gpu.behaviour.invalid = ("OLD_CUDA_DRIVER",)
    with pytest.raises(EngineError, match="the driver is too old for it; install a newer one"):
        rtx(precision="fp32")
    assert len(gpu.behaviour.built) == 1


def test_with_both_flavours_the_full_one_is_taken(gpu: StandInGpu, rtx: Opened) -> None:
    full = module_of("10.3.0", gpu.controls.library, gpu.behaviour)
    gpu.patch.setitem(sys.modules, "tensorrt", full)
    assert rtx(precision="fp32")["runtime"] == "tensorrt 10.3.0"
    gpu.patch.setitem(sys.modules, "tensorrt", None)
    assert rtx(precision="fp32")["runtime"] == "tensorrt-rtx 1.7.1"


def test_for_the_current_gpu_an_engine_is_for_its_kind(gpu: StandInGpu, rtx: Opened) -> None:
    build_ahead(rtx.bundle, EngineOptions(precision="fp32"), "current")
    assert gpu.behaviour.built[0]["targets"] == ["CURRENT"]
    rtx(precision="fp32")
    assert len(gpu.behaviour.built) == 1
    gpu.controls.reset(capability=89)
    rtx(precision="fp32")
    assert len(gpu.behaviour.built) == 2
