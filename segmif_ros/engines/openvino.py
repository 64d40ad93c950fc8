# SPDX-License-Identifier: Apache-2.0
"""OpenVINO: the fastest on the CPU, with bf16 if supported; also on Intel's GPUs and NPUs."""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Mapping
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
from segmif_ros.frames import Image8

_INPUTS = ("rgb", "thermal")
_OUTPUTS = ("fused", "mask", "confidence")


class OpenVinoEngine:
    """One bundle compiled for one device."""

    name = "openvino"

    def __init__(
        self, bundle: Bundle, *, threads: int = 0, precision: str = "auto", device: str = "CPU"
    ) -> None:
        """Compile the model.

        Args:
            bundle: a verified bundle.
            threads: CPU threads, 0 = all cores.
            precision: "auto" permits bf16 if the CPU supports it. A model whose manifest has
                `attention: sum` is too inaccurate in bf16: it uses fp16 if supported, else
                fp32. "fp32" forbids both. Other devices choose their precision.
            device: "CPU", "GPU", "GPU.1", "NPU" or "AUTO".

        Raises:
            EngineError: openvino is not installed, has no such device, or refuses the model.
        """
        ov = _import_openvino()
        try:
            core = _core(ov)
            self._device = _described(core, device)
            config = _cpu_config(core, bundle, threads, precision) if device == "CPU" else {}
            config["PERFORMANCE_HINT"] = "LATENCY"
            if device == "AUTO":
                # It computes the first pictures on the CPU, and the gate would check only these.
                config["ENABLE_STARTUP_FALLBACK"] = False
            model = core.read_model(bundle.model_path)
            check_signature(
                bundle,
                {_name(port, _INPUTS): (_dtype(port), _shape(port)) for port in model.inputs},
                {_name(port, _OUTPUTS): (_dtype(port), _shape(port)) for port in model.outputs},
            )
            # By number from here on: a tensor that passes through has the name of an input and of
            # an output, and versions differ in which of the two they find.
            self._inputs = [_name(port, _INPUTS) for port in model.inputs]
            places = {_name(port, _OUTPUTS): i for i, port in enumerate(model.outputs)}
            self._compiled: Any = core.compile_model(model, device, config)
            self._request: Any = self._compiled.create_infer_request()
            self._outputs = empty_inference(bundle.manifest.size)
            for name, array in self._outputs._asdict().items():
                tensor = ov.Tensor(array, shared_memory=True)
                self._request.set_output_tensor(places[name], tensor)
            computes, file = _precision_of(self._compiled), bundle.precisions[0]
            self._precision = computes if file == "fp32" else f"{file} file, rest in {computes}"
            on_cpu = device == "CPU"
            self._threads = (
                int(self._compiled.get_property("INFERENCE_NUM_THREADS")) if on_cpu else 0
            )
        except EngineError:
            raise
        except RuntimeError as err:
            raise EngineError(
                f"openvino cannot load {bundle.model_path} on {device}: {one_line(err)}; export it "
                "again, or try engine 'onnxruntime'"
            ) from err
        self.size = bundle.manifest.size
        self._version = str(ov.__version__)
        self.facts: dict[str, str] = {}

    def infer(self, rgb: Image8, thermal: Image8) -> Inference:
        """See `Engine.infer`."""
        if self._request is None:
            raise EngineError("engine 'openvino' is closed; open it again")
        check_inputs(self.size, rgb, thermal)
        try:
            given = {"rgb": _shared(rgb), "thermal": _shared(thermal)}
            # Shared outputs avoid a copy of each into an unused dictionary.
            self._request.infer(
                [given[name] for name in self._inputs], share_inputs=True, share_outputs=True
            )
        except RuntimeError as err:
            raise EngineError(f"openvino failed: {one_line(err)}") from err
        return self._outputs

    def describe(self) -> Mapping[str, str]:
        """See `Engine.describe`."""
        return {
            "runtime": f"openvino {self._version}",
            "device": self._device,
            "precision": self._precision,
            "threads": str(self._threads),
            **self.facts,
        }

    def close(self) -> None:
        """See `Engine.close`."""
        self._request = None
        self._compiled = None


def _shared(image: Image8) -> Image8:
    """Return a writable array, which OpenVINO reads in place; it copies read-only ones."""
    if image.flags.writeable:
        return image
    memory = (ctypes.c_uint8 * image.nbytes).from_address(image.ctypes.data)
    return np.ndarray(image.shape, np.uint8, memoryview(memory))


def _described(core: Any, device: str) -> str:
    """Return a device with its hardware name.

    Raises:
        EngineError: OpenVINO has no such device.
    """
    seen = list(core.available_devices)
    if device == "AUTO":
        return f"AUTO of {', '.join(seen)}"
    if not any(each == device or each.startswith(f"{device}.") for each in seen):
        raise EngineError(
            f"OpenVINO finds no device {device!r}, only {', '.join(seen) or 'none'}; install the "
            "driver of the GPU or NPU, or set engine_device to one of these or to AUTO"
        )
    return "CPU" if device == "CPU" else f"{device} {core.get_property(device, 'FULL_DEVICE_NAME')}"


def _cpu_config(core: Any, bundle: Bundle, threads: int, precision: str) -> dict[str, Any]:
    # OpenVINO would pin threads to any cores of the machine and reset the affinity of the
    # calling thread after each run. A pinned executor is reused for later models, too.
    config: dict[str, Any] = {"NUM_STREAMS": "1", "ENABLE_CPU_PINNING": False}
    restricted = restricted_cores()
    if threads or restricted:
        config["INFERENCE_NUM_THREADS"] = threads or restricted
    if precision == "fp32" or bundle.manifest.switches.get("attention") == "sum":
        half = "FP16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        config["INFERENCE_PRECISION_HINT"] = "f16" if half and precision != "fp32" else "f32"
    return config


def _precision_of(compiled: Any) -> str:
    try:
        return str(compiled.get_property("INFERENCE_PRECISION_HINT").to_string())
    except (RuntimeError, AttributeError):  # AUTO and some plugins do not have it
        return "unknown"


def _name(port: Any, expected: tuple[str, ...]) -> str:
    return next((name for name in expected if name in port.names), str(port.any_name))


def _dtype(port: Any) -> str:
    return str(port.element_type.to_dtype().name)


def _shape(port: Any) -> tuple[object, ...]:
    return tuple(d.get_length() if d.is_static else str(d) for d in port.partial_shape)


@functools.cache
def _core(ov: Any) -> Any:
    """Return the one Core of this process.

    Its CPU plugin sets an alternate signal stack of the thread (AMX needs a larger one) and
    restores the previous stack at its end. If the first of two plugins ends before the second, the
    thread is left with a freed stack, and its next signal ends the process.
    """
    return ov.Core()


def _import_openvino() -> Any:
    """Return the module `openvino` with its telemetry disabled.

    Raises:
        EngineError: it is not installed.
    """
    reporter = "openvino_telemetry"
    hidden = reporter not in sys.modules
    if hidden:
        # None makes its import fail, which openvino handles.
        sys.modules[reporter] = None  # type: ignore[assignment]
    try:
        import openvino as ov
    except ImportError as err:
        raise EngineError(
            "engine 'openvino' is not installed; pip install 'openvino>=2025.0'"
        ) from err
    finally:
        if hidden:
            del sys.modules[reporter]
    return ov
