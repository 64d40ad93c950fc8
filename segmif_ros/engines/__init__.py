# SPDX-License-Identifier: Apache-2.0
"""Runtimes that execute a bundle, each behind `engines.base.Engine`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from segmif_ros.bundle import Bundle
from segmif_ros.engines.base import Engine, EngineError, EngineOptions
from segmif_ros.share import install_command

if TYPE_CHECKING:
    from segmif_ros.engines.onnxruntime import OnnxRuntimeEngine
    from segmif_ros.engines.openvino import OpenVinoEngine

ENGINES = (
    "auto",
    "tensorrt",
    "openvino",
    "onnxruntime",
    "onnxruntime-cuda",
    "onnxruntime-tensorrt",
    "onnxruntime-rtx",
    "null",
)
"""Engine names. "auto" uses the first runtime below that is installed and accepts the model."""

_BY_SPEED = ("tensorrt", "openvino", "onnxruntime")
_LOG = logging.getLogger(__name__)

Listener = Callable[[str], None]


def open_engine(
    name: str,
    bundle: Bundle,
    *,
    options: EngineOptions | None = None,
    threads: int | None = None,
    on_warning: Listener = _LOG.warning,
    on_progress: Listener = _LOG.warning,
) -> Engine:
    """Open `bundle` with the runtime called `name`.

    Args:
        name: one of `ENGINES`; "auto" is the fastest that is installed and accepts the model
            (docs/engines.md).
        bundle: a verified bundle.
        options: further options, the defaults if None.
        threads: CPU threads, 0 = all cores, instead of those in `options`.
        on_warning: called with one line when "auto" skips an installed runtime.
        on_progress: called with the state while an engine is built or checked, which may take
            minutes; by default the state is logged.

    Raises:
        EngineError: unknown name, runtime not installed, or the runtime refuses the model, or the
            accuracy gate refuses an engine on another device than the CPU.
        BundleError: the bundle has no file of the precision, or it is damaged.
    """
    options = options or EngineOptions()
    if threads is not None:
        options = replace(options, threads=threads)
    if name != "auto":
        return _open(name, bundle, options, on_warning, on_progress)
    installed = [runtime for runtime in _BY_SPEED if _is_installed(runtime)]
    if not installed:
        raise EngineError(f"engine 'auto' found none of {_BY_SPEED}; {install_command('cpu')}")
    *others, last = installed
    for runtime in others:
        try:
            return _open(runtime, bundle, options, on_warning, on_progress)
        except EngineError as err:
            on_warning(f"engine 'auto' skips {runtime} and tries the next: {err}")
    return _open(last, bundle, options, on_warning, on_progress)


def _is_installed(runtime: str) -> bool:
    if find_spec(runtime):
        return True
    # Without pycuda TensorRT for RTX only builds engines for other machines.
    return runtime == "tensorrt" and bool(find_spec("tensorrt_rtx") and find_spec("pycuda"))


def _open(
    name: str, bundle: Bundle, options: EngineOptions, on_warning: Listener, on_progress: Listener
) -> Engine:
    if name == "tensorrt":
        from segmif_ros.engines.tensorrt.open import open_tensorrt

        return open_tensorrt(bundle, options, on_warning=on_warning, on_progress=on_progress)
    if options.precision != "auto":
        bundle = bundle.select(options.precision)
    if name.startswith("onnxruntime"):
        from segmif_ros.engines.onnxruntime import PROVIDERS, OnnxRuntimeEngine

        if name in PROVIDERS:
            engine = OnnxRuntimeEngine(
                bundle, threads=options.threads, name=name, cache=options.cache
            )
            return (
                engine if name == "onnxruntime" else _accepted(engine, bundle, options, on_progress)
            )
    if name == "openvino":
        from segmif_ros.engines.openvino import OpenVinoEngine

        opened = OpenVinoEngine(bundle, threads=options.threads, device=options.device)
        return (
            opened if options.device == "CPU" else _accepted(opened, bundle, options, on_progress)
        )
    if name == "null":
        from segmif_ros.engines.null import NullEngine

        return NullEngine(bundle)
    raise EngineError(f"engine {name!r} is unknown, expected one of {ENGINES}")


def _accepted(
    engine: OnnxRuntimeEngine | OpenVinoEngine,
    bundle: Bundle,
    options: EngineOptions,
    on_progress: Listener,
) -> Engine:
    """Return an engine on another device than the CPU if it passes the gate."""
    from segmif_ros.engines.accepted import accepted_verdict

    try:
        engine.facts["gate"] = accepted_verdict(engine, bundle, options, on_progress=on_progress)
    except BaseException:
        engine.close()
        raise
    return engine
