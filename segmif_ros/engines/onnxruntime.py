# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime: runs on every CPU in fp32, the reference for every other engine.

Builds with CUDA or TensorRT and the plug-in of TensorRT for RTX compute on the GPU and have
separate engine names. If such a build cannot load a provider it uses the CPU without an error, so
the actual provider of the session is checked.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segmif_ros.bundle import Bundle
from segmif_ros.engines.base import (
    EngineError,
    Inference,
    check_inputs,
    check_signature,
    empty_inference,
    one_line,
    restricted_cores,
)
from segmif_ros.engines.cache import CacheError, default_folder, make_private
from segmif_ros.engines.driver import Driver, DriverError, ask_driver
from segmif_ros.frames import Image8

PROVIDERS = {
    "onnxruntime": "CPUExecutionProvider",
    "onnxruntime-cuda": "CUDAExecutionProvider",
    "onnxruntime-tensorrt": "TensorrtExecutionProvider",
    "onnxruntime-rtx": "NvTensorRTRTXExecutionProvider",
}
"""Engine name -> execution provider of ONNX Runtime."""
_CPU, _CUDA, _TENSORRT, _RTX = PROVIDERS.values()
RTX_PLUG_IN = "onnxruntime_ep_nv_tensorrt_rtx"
"""Python package with the last provider."""


class OnnxRuntimeEngine:
    """One bundle in one ONNX Runtime session."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int = 0,
        name: str = "onnxruntime",
        cache: Path | None = None,
        ask: Callable[[], Driver] = ask_driver,
    ) -> None:
        """Open the session.

        Args:
            bundle: a verified bundle.
            threads: CPU threads, 0 = all cores.
            name: one of `PROVIDERS`.
            cache: for engines that TensorRT builds in ONNX Runtime, None for the user's cache.
            ask: queries the driver for GPUs.

        Raises:
            EngineError: onnxruntime or the provider is not installed, has no GPU, did not load, or
                refuses the model.
        """
        try:
            import onnxruntime as ort
        except ImportError as err:
            raise EngineError(
                "engine 'onnxruntime' is not installed; pip install 'onnxruntime>=1.21'"
            ) from err
        provider = PROVIDERS[name]
        self.name, self._device = name, "CPU"
        if provider != _CPU:
            available = ort.get_available_providers()
            self._device = _gpu_for(name, [_RTX] if provider == _RTX else available, ask)
        self._threads = threads or restricted_cores() or 0
        self._session: Any = _session(ort, name, bundle, self._threads, cache)
        # A failed run must raise instead of being repeated on the CPU.
        self._session.disable_fallback()
        check_signature(
            bundle,
            {i.name: (_dtype(i.type), tuple(i.shape)) for i in self._session.get_inputs()},
            {o.name: (_dtype(o.type), tuple(o.shape)) for o in self._session.get_outputs()},
        )
        self.size = bundle.manifest.size
        self._outputs = empty_inference(self.size)
        self._binding: Any = self._session.io_binding()
        for output, array in self._outputs._asdict().items():
            self._binding.bind_output(output, "cpu", 0, np.uint8, array.shape, array.ctypes.data)
        self._version = str(ort.__version__)
        self._precision = bundle.manifest.precision
        self.facts: dict[str, str] = {}

    def infer(self, rgb: Image8, thermal: Image8) -> Inference:
        """See `Engine.infer`."""
        if self._session is None:
            raise EngineError(f"engine {self.name!r} is closed; open it again")
        check_inputs(self.size, rgb, thermal)
        try:
            for name, array in (("rgb", rgb), ("thermal", thermal)):
                self._binding.bind_input(name, "cpu", 0, np.uint8, array.shape, array.ctypes.data)
            self._session.run_with_iobinding(self._binding)
        except Exception as err:
            raise EngineError(f"{self.name} failed: {one_line(err)}") from err
        return self._outputs

    def describe(self) -> Mapping[str, str]:
        """See `Engine.describe`."""
        return {
            "runtime": f"{self.name} {self._version}",
            "device": self._device,
            "precision": self._precision,
            "threads": str(self._threads or "all"),
            **self.facts,
        }

    def close(self) -> None:
        """See `Engine.close`."""
        self._session = self._binding = None


def _session(ort: Any, name: str, bundle: Bundle, threads: int, cache: Path | None) -> Any:
    """Return a session that uses only the provider of the engine."""
    provider = PROVIDERS[name]
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # Spinning workers would use the cores that DDS and the camera drivers need between frames.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # One planned block for all intermediate results needs more memory than the arena and is not
    # faster (docs/performance.md).
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    folder = Path()
    given: dict[str, Any] = {}
    try:
        if provider in (_TENSORRT, _RTX):
            folder = engine_folder(bundle, cache or default_folder())
            make_private(folder.parent)
            make_private(folder)  # it creates no parent folders, and its own are readable by all
        if provider == _RTX:
            _add_rtx(ort, options, {"nv_runtime_cache_path": str(folder)})
        else:
            given["providers"] = provider_options(name, bundle, folder)
        session = ort.InferenceSession(bundle.model_path.read_bytes(), options, **given)
    except CacheError as err:
        raise EngineError(str(err)) from err
    except EngineError:
        raise
    except Exception as err:  # its error classes have no common base but Exception
        raise EngineError(
            f"{name} cannot load {bundle.model_path}: {one_line(err)}; export it again"
        ) from err
    used = session.get_providers()
    if provider not in used:
        raise EngineError(
            f"engine {name!r}: {provider} did not load and ONNX Runtime took {', '.join(used)} "
            "instead; its log names the missing library: install the CUDA, cuDNN or TensorRT that "
            "this onnxruntime was built for, or choose another engine"
        )
    return session


def engine_folder(bundle: Bundle, cache: Path) -> Path:
    """Return the folder for engines that TensorRT builds in ONNX Runtime for a model.

    Inside it ONNX Runtime separates GPUs and versions; the digest separates models.
    """
    return cache / f"onnxruntime-{bundle.manifest.sha256[:16]}"


def provider_options(
    name: str, bundle: Bundle, folder: Path
) -> list[str | tuple[str, dict[str, str]]]:
    """Return the providers of a session, preferred first.

    Args:
        name: one of `PROVIDERS`.
        bundle: the model.
        folder: of the engines that TensorRT builds for it.
    """
    if name == "onnxruntime":
        return [_CPU]
    cuda = (_CUDA, {"device_id": "0"})
    if name == "onnxruntime-cuda":
        return [cuda]
    options = {
        "device_id": "0",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
    }
    # TensorRT uses the types of the file only if the file's precision is enabled.
    allow = {"fp16": "trt_fp16_enable", "int8": "trt_int8_enable"}.get(bundle.precisions[0])
    return [(_TENSORRT, {**options, **({allow: "1"} if allow else {})}), cuda]


def _add_rtx(ort: Any, options: Any, settings: Mapping[str, str]) -> None:
    """Register the plug-in of TensorRT for RTX and choose its devices."""
    install = "pip install 'onnxruntime>=1.24' onnxruntime-ep-nv-tensorrt-rtx-cu12"
    try:
        import onnxruntime_ep_nv_tensorrt_rtx as plug_in
    except ImportError as err:
        raise EngineError(
            f"engine 'onnxruntime-rtx' needs the plug-in {RTX_PLUG_IN}; {install}"
        ) from err
    if not hasattr(ort, "get_ep_devices"):
        raise EngineError(
            f"engine 'onnxruntime-rtx' needs a newer ONNX Runtime than {ort.__version__}; {install}"
        )
    name, library = plug_in.get_ep_name(), plug_in.get_library_path()
    if name not in {each.ep_name for each in ort.get_ep_devices()}:
        try:
            for runtime in sorted(Path(library).parent.glob("libcudart.so*")):
                ctypes.CDLL(str(runtime), mode=ctypes.RTLD_GLOBAL)  # not on its path
            ort.register_execution_provider_library(name, library)
        except Exception as err:  # ONNX Runtime's classes share no base, the loader's is OSError
            raise EngineError(
                f"the plug-in of engine 'onnxruntime-rtx' does not load: {one_line(err)}; install "
                "the NVIDIA driver, or the plug-in again"
            ) from err
    devices = [each for each in ort.get_ep_devices() if each.ep_name == name]
    if not devices:
        raise EngineError(
            "engine 'onnxruntime-rtx' finds no GPU that it can use: it takes RTX GPUs from Ampere "
            "on; choose onnxruntime-cuda or tensorrt"
        )
    options.add_provider_for_devices(devices[:1], dict(settings))


def _gpu_for(name: str, available: Sequence[str], ask: Callable[[], Driver]) -> str:
    """Return the name of the GPU that a session will use."""
    if PROVIDERS[name] not in available:
        raise EngineError(
            f"engine {name!r} needs an onnxruntime with {PROVIDERS[name]}, this one has only "
            f"{', '.join(available)}; pip uninstall onnxruntime, then pip install onnxruntime-gpu"
        )
    try:
        return ask().gpus[0].name
    except DriverError as err:
        raise EngineError(f"engine {name!r} needs a GPU: {err}") from err


def _dtype(type_name: str) -> str:
    """Turn "tensor(uint8)" into "uint8"; the runtime says "float" where NumPy says float32."""
    name = type_name.removeprefix("tensor(").removesuffix(")")
    return "float32" if name == "float" else name
