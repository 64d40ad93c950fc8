# SPDX-License-Identifier: Apache-2.0
"""Differences between versions and flavours of TensorRT, and its log.

There are two flavours with one API: `tensorrt` (JetPack, data centres) and `tensorrt_rtx`
(desktops and laptops), which also builds engines where there is no GPU. Both and their versions are
distinguished by the names they define, not by version number; the one exception is the flag for
explicit batches, which later versions keep but ignore. Query the driver before calling anything but
`import_tensorrt` and the builder of `tensorrt_rtx`: without a GPU some versions end the process.
"""

from __future__ import annotations

import logging
import re
from collections import Counter, deque
from functools import cache
from typing import Any

from segmif_ros.engines.base import EngineError
from segmif_ros.share import install_command

_LOG = logging.getLogger(__name__)
_KEPT = 3
_PRODUCT = re.compile(
    r"^Name: [^\n]*?, LayerType: (?:correlation|gemm), Inputs: \[[^\n]*?Datatype: (\w+)", re.M
)
"""A convolution or matrix product in the log of TensorRT for RTX, with its input type."""
_DTYPES = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16"}
_EXPLICIT_BATCH_BELOW = 10


def import_tensorrt() -> Any:
    """Return the module `tensorrt`, else `tensorrt_rtx`; safe without a GPU.

    Raises:
        EngineError: neither is installed, or its libraries do not load.
    """
    try:
        import tensorrt as trt
    except (ImportError, OSError, RuntimeError) as err:  # its package loads its libraries by ctypes
        full = err
    else:
        return trt
    try:
        return import_rtx()
    except EngineError as err:
        if "not installed" not in str(err):
            raise
        raise EngineError(
            f"engine 'tensorrt' is not installed ({full}); {install_command('gpu')}, on a desktop "
            f"or laptop {install_command('cpu', 'rtx')} pycuda; on a Jetson use the system's "
            "Python or a virtual environment with --system-site-packages"
        ) from full


def import_rtx() -> Any:
    """Return the module `tensorrt_rtx`.

    Raises:
        EngineError: it is not installed, or its libraries do not load.
    """
    try:
        import tensorrt_rtx as trt
    except ModuleNotFoundError as err:
        raise EngineError(
            "TensorRT for RTX (x86-64), which builds engines without a GPU, is not installed; "
            f"{install_command('rtx')}"
        ) from err
    except (ImportError, OSError, RuntimeError) as err:
        raise EngineError(
            f"TensorRT for RTX does not load ({err}); pip install --force-reinstall "
            "tensorrt-rtx-cu12"
        ) from err
    return trt


def version(trt: Any) -> str:
    """Return the flavour and its full version: "tensorrt 10.3.0", "tensorrt-rtx 1.7.1.116"."""
    return f"{trt.__name__.replace('_', '-')} {trt.__version__}"


def builds_ahead(trt: Any) -> bool:
    """Whether engines can be built for GPUs that are not in this machine, and without a driver.

    Such a TensorRT compiles kernels when an engine is opened on the GPU.
    """
    return hasattr(trt, "ComputeCapability")


def has_weak_types(trt: Any) -> bool:
    """Whether the builder can choose precisions, by flags and by layer (8.6 and 10.x)."""
    return hasattr(trt.BuilderFlag, "FP16")


def network_flags(trt: Any, *, strong: bool) -> int:
    """Return the flags to create a network with.

    Args:
        trt: the module.
        strong: use the precisions of the file; versions that always do so need no flag.
    """
    names = trt.NetworkDefinitionCreationFlag
    flags = 0
    major = int(trt.__version__.split(".")[0])
    if hasattr(names, "EXPLICIT_BATCH") and major < _EXPLICIT_BATCH_BELOW:
        flags |= 1 << int(names.EXPLICIT_BATCH)
    if strong and has_weak_types(trt) and hasattr(names, "STRONGLY_TYPED"):
        flags |= 1 << int(names.STRONGLY_TYPED)
    return flags


def tactic_sources(trt: Any) -> int:
    """Return the kernels to choose from: TensorRT's own, so that no cuBLAS or cuDNN is needed."""
    sources = trt.TacticSource
    return 1 << int(sources.EDGE_MASK_CONVOLUTIONS) | 1 << int(sources.JIT_CONVOLUTIONS)


def dtype_name(dtype: Any) -> str:
    """Return NumPy's name of a tensor's type, for example "uint8"."""
    name = str(dtype.name)
    return _DTYPES.get(name, name.lower())


def device_memory(engine: Any) -> int:
    """Return the bytes of GPU memory that an engine needs to run, without its weights."""
    if hasattr(engine, "device_memory_size_v2"):
        return int(engine.device_memory_size_v2)
    return int(engine.device_memory_size)


@cache
def log_of(trt: Any) -> Any:
    """Return the log of the process, a `trt.ILogger`, which all objects of TensorRT share.

    `last_errors()` returns errors, for which TensorRT raises no exceptions.
    """
    severity = trt.ILogger.Severity
    levels = {
        severity.INTERNAL_ERROR: logging.ERROR,
        severity.ERROR: logging.ERROR,
        severity.WARNING: logging.INFO,
        severity.INFO: logging.DEBUG,
    }

    class Log(trt.ILogger):  # type: ignore[misc]
        """Passes TensorRT's messages to Python's logging at a lower level."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._errors: deque[str] = deque(maxlen=_KEPT)
            self._layers = ""

        def log(self, level: Any, text: str) -> None:
            """Called by TensorRT, from any thread."""
            python_level = levels.get(level, logging.DEBUG)
            if python_level == logging.ERROR:
                self._errors.append(" ".join(text.split()))
            elif text.startswith("Layers:"):
                self._layers = text
                return
            _LOG.log(min(python_level, logging.INFO), "%s", text)

        def last_errors(self) -> str:
            """Return the newest errors in one line and clear them."""
            said = "; ".join(self._errors) or "TensorRT gives no reason"
            self.forget()
            return said

        def forget(self) -> None:
            """Clear older errors, which do not concern later calls."""
            self._errors.clear()
            self._layers = ""

        def products(self) -> dict[str, int]:
            """Return the numbers of convolutions and matrix products of the last engine by type.

            By input type, "int8", "float16" or "float32"; empty if TensorRT did not log it.
            """
            found = _PRODUCT.findall(self._layers)
            return dict(Counter(_DTYPES.get(each.upper(), each.lower()) for each in found))

    return Log()
