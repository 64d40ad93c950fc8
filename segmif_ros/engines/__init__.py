# SPDX-License-Identifier: Apache-2.0
"""Runtimes that execute a bundle, one file each, behind `engines.base.Engine`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from segmif_ros.bundle import Bundle
from segmif_ros.engines.base import Engine, EngineError

ENGINES = (
    "auto",
    "tensorrt",
    "openvino",
    "onnxruntime",
    "onnxruntime-cuda",
    "onnxruntime-tensorrt",
    "null",
)
"""Engine names as users write them. "auto" takes the first runtime below that is installed and
accepts the model."""

_BY_SPEED = ("tensorrt", "openvino", "onnxruntime")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EngineChoices:
    """How to open a bundle, besides with which runtime.

    Attributes:
        threads: CPU threads, 0 = all cores.
        precision: "auto", or a precision that the bundle has a file of. "auto" is the bundle's
            first file on the CPU, and what `segmif_ros.engines.tensorrt.build.recipes` says on a
            GPU.
        cache: folder of engines that TensorRT built, None for the user's.
        workspace_mib: memory that TensorRT may use to build, MiB.
    """

    threads: int = 0
    precision: str = "auto"
    cache: Path | None = None
    workspace_mib: int = 1024


def open_engine(
    name: str,
    bundle: Bundle,
    *,
    threads: int = 0,
    choices: EngineChoices | None = None,
    warn: Callable[[str], None] = _LOG.warning,
    tell: Callable[[str], None] = _LOG.warning,
) -> Engine:
    """Open `bundle` with the runtime called `name`.

    Args:
        name: one of `ENGINES`; "auto" takes the fastest that is installed and accepts the model
            (docs/engines.md).
        bundle: a verified bundle.
        threads: CPU threads, 0 = all cores; for those who choose nothing else.
        choices: everything else; replaces `threads`.
        warn: told in one line why "auto" passed over a runtime that is installed.
        tell: told what goes on while an engine is built, which takes minutes; by default people
            are told as well, for nothing else would show.

    Raises:
        EngineError: unknown name, runtime not installed, or the runtime refuses the model.
        BundleError: the bundle has no file of the precision, or it is damaged.
    """
    choices = choices or EngineChoices(threads)
    if name != "auto":
        return _open(name, bundle, choices, warn, tell)
    installed = [runtime for runtime in _BY_SPEED if find_spec(runtime)]
    if not installed:
        raise EngineError(f"engine 'auto' found none of {_BY_SPEED}; pip install 'segmif_ros[cpu]'")
    *others, last = installed
    for runtime in others:
        try:
            return _open(runtime, bundle, choices, warn, tell)
        except EngineError as err:
            warn(f"engine 'auto' passes over {runtime}, tries the next: {err}")
    return _open(last, bundle, choices, warn, tell)


def _open(
    name: str,
    bundle: Bundle,
    choices: EngineChoices,
    warn: Callable[[str], None],
    tell: Callable[[str], None],
) -> Engine:
    if name == "tensorrt":
        from segmif_ros.engines.tensorrt.build import Limits
        from segmif_ros.engines.tensorrt.open import Wanted, open_tensorrt

        wanted = Wanted(
            choices.precision,
            choices.cache,
            Limits(choices.workspace_mib),
            threads=choices.threads,
        )
        return open_tensorrt(bundle, wanted, warn=warn, tell=tell)
    threads = choices.threads
    if choices.precision != "auto":
        bundle = bundle.select(choices.precision)
    if name.startswith("onnxruntime"):
        from segmif_ros.engines.onnxruntime import PROVIDERS, OnnxRuntimeEngine

        if name in PROVIDERS:
            return OnnxRuntimeEngine(bundle, threads=threads, name=name, cache=choices.cache)
    if name == "openvino":
        from segmif_ros.engines.openvino import OpenVinoEngine

        return OpenVinoEngine(bundle, threads=threads)
    if name == "null":
        from segmif_ros.engines.null import NullEngine

        return NullEngine(bundle)
    raise EngineError(f"engine {name!r} is unknown, expected one of {ENGINES}")
