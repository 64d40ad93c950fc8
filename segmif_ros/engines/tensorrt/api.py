# SPDX-License-Identifier: Apache-2.0
"""What differs between the versions of TensorRT, and its log.

Versions are told apart by the names they have, not by their number; the one exception is the flag
for explicit batches, which later versions keep but ignore. Ask the driver before calling anything
but `import_tensorrt`: without a GPU some versions end the process.
"""

from __future__ import annotations

import logging
from collections import deque
from functools import cache
from typing import Any

from segmif_ros.engines.base import EngineError

_LOG = logging.getLogger(__name__)
_KEPT = 3
_DTYPES = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16"}
_EXPLICIT_BATCH_BELOW = 10


def import_tensorrt() -> Any:
    """Return the module `tensorrt`; safe without a GPU.

    Raises:
        EngineError: it is not installed, or its libraries do not load.
    """
    try:
        import tensorrt as trt
    except (ImportError, OSError) as err:  # its package loads its libraries by ctypes
        raise EngineError(
            f"engine 'tensorrt' is not installed ({err}); pip install 'segmif_ros[gpu]', on a "
            "Jetson use the system's Python or a virtual environment with --system-site-packages"
        ) from err
    return trt


def version(trt: Any) -> str:
    """Return the full version of TensorRT."""
    return str(trt.__version__)


def has_weak_types(trt: Any) -> bool:
    """Whether precision can be left to the builder, by flags and by layer (8.6 and 10.x)."""
    return hasattr(trt.BuilderFlag, "FP16")


def network_flags(trt: Any, *, strong: bool) -> int:
    """Return the flags to create a network with.

    Args:
        trt: the module.
        strong: take every precision from the file; versions that cannot do otherwise need no flag.
    """
    names = trt.NetworkDefinitionCreationFlag
    flags = 0
    if int(version(trt).split(".")[0]) < _EXPLICIT_BATCH_BELOW:
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
    """Return the one log of the process, a `trt.ILogger`: all objects of TensorRT share it.

    Its `last_errors()` are what TensorRT says instead of raising an exception.
    """
    severity = trt.ILogger.Severity
    levels = {
        severity.INTERNAL_ERROR: logging.ERROR,
        severity.ERROR: logging.ERROR,
        severity.WARNING: logging.INFO,
        severity.INFO: logging.DEBUG,
    }

    class Log(trt.ILogger):  # type: ignore[misc]
        """Hands TensorRT's messages to Python's logging, below the level TensorRT gives them."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._errors: deque[str] = deque(maxlen=_KEPT)

        def log(self, level: Any, text: str) -> None:
            """Called by TensorRT, from any thread."""
            python_level = levels.get(level, logging.DEBUG)
            if python_level == logging.ERROR:
                self._errors.append(" ".join(text.split()))
            _LOG.log(min(python_level, logging.INFO), "%s", text)

        def last_errors(self) -> str:
            """Return the newest errors in one line and forget them."""
            said = "; ".join(self._errors) or "TensorRT gives no reason"
            self.forget()
            return said

        def forget(self) -> None:
            """Begin anew: older errors are not the reason of what happens from here on."""
            self._errors.clear()

    return Log()
