# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime on a GPU: refused clearly where it cannot be, and never the CPU instead of it."""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from segmif_ros.bundle import Bundle
from segmif_ros.engines import open_engine
from segmif_ros.engines.base import EngineError
from segmif_ros.engines.driver import Driver, DriverError, Gpu
from segmif_ros.engines.gate import GateThresholds, run_gate
from segmif_ros.engines.onnxruntime import (
    PROVIDERS,
    RTX_PLUG_IN,
    OnnxRuntimeEngine,
    engine_folder,
    provider_options,
)
from segmif_ros.engines.reference import open_reference, reference_pairs

ON_GPU = ("onnxruntime-cuda", "onnxruntime-tensorrt")


def one_gpu() -> Driver:
    return Driver((13, 0), "580.65.06", (Gpu("NVIDIA Test", (9, 0), 80_000, integrated=False),))


class Session:
    """Stands for a session of a build with a GPU; returns what was requested."""

    asked: list[Any]
    loaded: tuple[str, ...] = tuple(PROVIDERS.values())
    fell_back: bool

    def __init__(self, _model: bytes, _options: object, providers: list[Any]) -> None:
        Session.asked, Session.fell_back = providers, True

    def get_providers(self) -> list[str]:
        return list(self.loaded)

    def disable_fallback(self) -> None:
        Session.fell_back = False

    def get_inputs(self) -> list[Any]:
        u8 = "tensor(uint8)"
        return [
            SimpleNamespace(name="rgb", type=u8, shape=[480, 640, 3]),
            SimpleNamespace(name="thermal", type=u8, shape=[480, 640]),
        ]

    def get_outputs(self) -> list[Any]:
        names = ("fused", "mask", "confidence")
        shapes = ([480, 640, 3], ["height", 640], [480, 640])  # some builds leave one open
        pairs = zip(names, shapes, strict=True)
        return [SimpleNamespace(name=n, type="tensor(uint8)", shape=shape) for n, shape in pairs]

    def io_binding(self) -> Any:
        return SimpleNamespace(bind_output=lambda *_args: None)


@pytest.fixture
def build_with_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[Session]:
    """An onnxruntime that has everything, and a session that follows its options."""
    import onnxruntime as real

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    fake = SimpleNamespace(
        get_available_providers=lambda: list(PROVIDERS.values()),
        SessionOptions=real.SessionOptions,
        InferenceSession=Session,
        __version__="1.0",
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    monkeypatch.setattr(Session, "loaded", tuple(PROVIDERS.values()))
    return Session


@pytest.mark.parametrize("name", ON_GPU)
def test_a_build_without_the_provider_is_refused_with_what_it_has(
    name: str, loaded_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(EngineError) as caught:
        open_engine(name, loaded_bundle)
    message = str(caught.value)
    assert f"engine '{name}' needs an onnxruntime with {PROVIDERS[name]}" in message
    assert "has only CPUExecutionProvider" in message
    assert "pip install onnxruntime-gpu" in message


@pytest.mark.parametrize("name", ON_GPU)
def test_a_missing_gpu_is_reported_before_a_session_is_made(
    name: str, loaded_bundle: Bundle, build_with_gpu: type[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_driver() -> Driver:
        raise DriverError("no NVIDIA driver; install it")

    def never(*_args: object, **_words: object) -> None:
        pytest.fail("a session was made")

    monkeypatch.setattr(build_with_gpu, "__init__", never)
    with pytest.raises(EngineError, match=f"'{name}' needs a GPU: no NVIDIA driver; install it"):
        OnnxRuntimeEngine(loaded_bundle, name=name, ask=no_driver)


@pytest.mark.parametrize("name", ON_GPU)
def test_a_provider_that_did_not_load_is_no_reason_to_use_the_cpu(
    name: str, loaded_bundle: Bundle, build_with_gpu: type[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_with_gpu, "loaded", ("CPUExecutionProvider",))
    with pytest.raises(EngineError) as caught:
        OnnxRuntimeEngine(loaded_bundle, name=name, ask=one_gpu)
    message = str(caught.value)
    assert f"{PROVIDERS[name]} did not load and ONNX Runtime took CPUExecutionProvider" in message
    assert "choose another engine" in message


@pytest.mark.parametrize("name", ON_GPU)
def test_a_session_on_the_gpu_says_where_it_runs_and_never_falls_back(
    name: str, loaded_bundle: Bundle, build_with_gpu: type[Session]
) -> None:
    engine = OnnxRuntimeEngine(loaded_bundle, name=name, ask=one_gpu)
    facts = engine.describe()
    assert engine.name == name
    assert facts["runtime"].startswith(name)
    assert facts["device"] == "NVIDIA Test"
    assert not build_with_gpu.fell_back
    assert build_with_gpu.asked[0][0] == PROVIDERS[name]


def test_the_cpu_engine_requires_the_cpu_alone(loaded_bundle: Bundle, tmp_path: Path) -> None:
    assert provider_options("onnxruntime", loaded_bundle, tmp_path) == ["CPUExecutionProvider"]


@pytest.mark.parametrize(
    ("precision", "allowed"), [("fp32", None), ("fp16", "fp16"), ("int8", "int8")]
)
def test_tensorrt_comes_before_cuda_and_may_use_what_the_file_needs(
    precision: str, allowed: str | None, loaded_bundle: Bundle, tmp_path: Path
) -> None:
    bundle = replace(loaded_bundle, manifest=replace(loaded_bundle.manifest, precision=precision))
    (first, options), (second, _) = provider_options("onnxruntime-tensorrt", bundle, tmp_path)
    assert (first, second) == ("TensorrtExecutionProvider", "CUDAExecutionProvider")
    assert options["trt_engine_cache_path"] == str(tmp_path)
    flags = {name for name in ("fp16", "int8") if f"trt_{name}_enable" in options}
    assert flags == ({allowed} if allowed else set())


def test_what_tensorrt_builds_lies_in_a_folder_of_the_model(
    loaded_bundle: Bundle, build_with_gpu: type[Session], tmp_path: Path
) -> None:
    cache = tmp_path / "deep" / "cache"
    OnnxRuntimeEngine(loaded_bundle, name="onnxruntime-tensorrt", cache=cache, ask=one_gpu)
    folder = engine_folder(loaded_bundle, cache)
    assert folder.is_dir()
    assert loaded_bundle.manifest.sha256[:16] in folder.name
    assert build_with_gpu.asked[0][1]["trt_engine_cache_path"] == str(folder)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ON_GPU)
def test_a_gpu_gives_the_reference_pictures(name: str, loaded_bundle: Bundle) -> None:
    import onnxruntime

    if PROVIDERS[name] not in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has no {PROVIDERS[name]}")
    try:
        engine = open_engine(name, loaded_bundle)
    except EngineError as err:
        pytest.skip(str(err))
    pairs = reference_pairs(loaded_bundle)
    result = run_gate(engine, open_reference(loaded_bundle), pairs, GateThresholds())
    assert result.passed, result.reasons
    again = engine.infer(pairs[0].rgb, pairs[0].thermal)
    assert np.array_equal(again.fused, pairs[0].rgb)  # what the tiny model computes


def test_the_plug_in_of_rtx_that_is_missing_or_broken_is_one_line(
    loaded_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """ONNX Runtime itself is real, and refuses a library that is none, or is too old for any."""

    def opened() -> str:
        with pytest.raises(EngineError) as caught:
            OnnxRuntimeEngine(loaded_bundle, name="onnxruntime-rtx", cache=tmp_path, ask=one_gpu)
        return str(caught.value)

    monkeypatch.setitem(sys.modules, RTX_PLUG_IN, None)
    assert "pip install 'onnxruntime>=1.24' onnxruntime-ep-nv-tensorrt-rtx-cu12" in opened()
    (tmp_path / "lib.so").write_bytes(b"no library")
    plug_in = SimpleNamespace(
        get_ep_name=lambda: PROVIDERS["onnxruntime-rtx"],
        get_library_path=lambda: str(tmp_path / "lib.so"),
    )
    monkeypatch.setitem(sys.modules, RTX_PLUG_IN, plug_in)
    if hasattr(onnxruntime, "get_ep_devices"):
        message = opened()
        assert "the plug-in of engine 'onnxruntime-rtx' does not load" in message
        assert "lib.so" in message
        assert "\n" not in message
        monkeypatch.delattr(onnxruntime, "get_ep_devices")
    assert f"needs a newer ONNX Runtime than {onnxruntime.__version__}; pip install" in opened()


def test_the_cache_of_tensorrt_is_for_its_user_alone(
    loaded_bundle: Bundle, build_with_gpu: type[Session], tmp_path: Path
) -> None:
    del build_with_gpu
    before = os.umask(0o002)
    try:
        OnnxRuntimeEngine(
            loaded_bundle, name="onnxruntime-tensorrt", cache=tmp_path / "c", ask=one_gpu
        )
    finally:
        os.umask(before)
    folder = engine_folder(loaded_bundle, tmp_path / "c")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    folder.chmod(0o777)
    with pytest.raises(EngineError, match="others can put code there"):
        OnnxRuntimeEngine(
            loaded_bundle, name="onnxruntime-tensorrt", cache=tmp_path / "c", ask=one_gpu
        )
