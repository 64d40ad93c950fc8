# SPDX-License-Identifier: Apache-2.0
"""Runtimes that execute a bundle, one file each, behind `engines.base.Engine`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.util import find_spec

from segmif_ros.bundle import Bundle
from segmif_ros.engines.base import Engine, EngineError

ENGINES = ("auto", "openvino", "onnxruntime", "null")
"""Engine names as users write them. "auto" takes the first runtime below that is installed and
accepts the model."""

_BY_SPEED = ("openvino", "onnxruntime")
_LOG = logging.getLogger(__name__)


def open_engine(
    name: str, bundle: Bundle, *, threads: int = 0, warn: Callable[[str], None] = _LOG.warning
) -> Engine:
    """Open `bundle` with the runtime called `name`.

    Args:
        name: one of `ENGINES`; "auto" takes the fastest that is installed and accepts the model
            (docs/engines.md).
        bundle: a verified bundle.
        threads: CPU threads, 0 = all cores.
        warn: told in one line why "auto" passed over a runtime that is installed.

    Raises:
        EngineError: unknown name, runtime not installed, or the runtime refuses the model.
    """
    if name != "auto":
        return _open(name, bundle, threads)
    installed = [runtime for runtime in _BY_SPEED if find_spec(runtime)]
    if not installed:
        raise EngineError(f"engine 'auto' found none of {_BY_SPEED}; pip install 'segmif_ros[cpu]'")
    *others, last = installed
    for runtime in others:
        try:
            return _open(runtime, bundle, threads)
        except EngineError as err:
            warn(f"engine 'auto' passes over {runtime}, tries the next: {err}")
    return _open(last, bundle, threads)


def _open(name: str, bundle: Bundle, threads: int) -> Engine:
    if name == "onnxruntime":
        from segmif_ros.engines.onnxruntime import OnnxRuntimeEngine

        return OnnxRuntimeEngine(bundle, threads=threads)
    if name == "openvino":
        from segmif_ros.engines.openvino import OpenVinoEngine

        return OpenVinoEngine(bundle, threads=threads)
    if name == "null":
        from segmif_ros.engines.null import NullEngine

        return NullEngine(bundle)
    raise EngineError(f"engine {name!r} is unknown, expected one of {ENGINES}")
