# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime on the CPU: runs everywhere, exact fp32, the reference for every other engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from segmif_ros.bundle import Bundle
from segmif_ros.engines.base import EngineError, Inference
from segmif_ros.engines.checks import (
    check_inputs,
    check_signature,
    empty_inference,
    one_line,
)
from segmif_ros.engines.cores import restricted_cores
from segmif_ros.frames import Image8


class OnnxRuntimeEngine:
    """One bundle in one ONNX Runtime session."""

    def __init__(self, bundle: Bundle, *, threads: int = 0) -> None:
        """Open the session.

        Raises:
            EngineError: onnxruntime is not installed, or refuses the model.
        """
        try:
            import onnxruntime as ort
        except ImportError as err:
            raise EngineError(
                "engine 'onnxruntime' is not installed; pip install 'onnxruntime>=1.18'"
            ) from err
        threads = threads or restricted_cores() or 0
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        # Spinning workers would take the cores that DDS and the cameras' drivers need between
        # two frames.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # One block planned for all intermediate results is larger than what its arena hands out
        # one by one, and no faster (docs/performance.md).
        options.enable_mem_pattern = False
        options.log_severity_level = 3
        try:
            self._session: Any = ort.InferenceSession(
                bundle.model_path.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as err:  # its error classes share no base but Exception
            raise EngineError(
                f"onnxruntime cannot load {bundle.model_path}: {one_line(err)}; export it again"
            ) from err
        check_signature(
            bundle,
            {i.name: (_dtype(i.type), tuple(i.shape)) for i in self._session.get_inputs()},
            {o.name: _dtype(o.type) for o in self._session.get_outputs()},
        )
        self._size = bundle.manifest.size
        self._outputs = empty_inference(self._size)
        self._binding: Any = self._session.io_binding()
        for name, array in self._outputs._asdict().items():
            self._binding.bind_output(name, "cpu", 0, np.uint8, array.shape, array.ctypes.data)
        self._threads = threads
        self._version = str(ort.__version__)
        self._precision = bundle.manifest.precision

    @property
    def name(self) -> str:
        """Runtime name."""
        return "onnxruntime"

    @property
    def size(self) -> tuple[int, int]:
        """Input (height, width)."""
        return self._size

    def infer(self, rgb: Image8, thermal: Image8) -> Inference:
        """See `Engine.infer`."""
        if self._session is None:
            raise EngineError("engine 'onnxruntime' is closed; open it again")
        check_inputs(self._size, rgb, thermal)
        try:
            for name, array in (("rgb", rgb), ("thermal", thermal)):
                self._binding.bind_input(name, "cpu", 0, np.uint8, array.shape, array.ctypes.data)
            self._session.run_with_iobinding(self._binding)
        except Exception as err:
            raise EngineError(f"onnxruntime failed: {one_line(err)}") from err
        return self._outputs

    def describe(self) -> Mapping[str, str]:
        """See `Engine.describe`."""
        return {
            "runtime": f"onnxruntime {self._version}",
            "device": "CPU",
            "precision": self._precision,
            "threads": str(self._threads or "all"),
        }

    def close(self) -> None:
        """See `Engine.close`."""
        self._session = self._binding = None


def _dtype(type_name: str) -> str:
    """Turn "tensor(uint8)" into "uint8"; the runtime says "float" where NumPy says float32."""
    name = type_name.removeprefix("tensor(").removesuffix(")")
    return "float32" if name == "float" else name
