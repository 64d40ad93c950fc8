# SPDX-License-Identifier: Apache-2.0
"""What engines share: checks before a runtime touches the data, arrays for results, cores."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from segmif_ros.bundle import Bundle
from segmif_ros.engines.base import EngineError, Inference
from segmif_ros.frames import Image8


def check_inputs(size: tuple[int, int], rgb: Image8, thermal: Image8) -> None:
    """Refuse images that are not exactly what the graph was exported for.

    Raises:
        EngineError: naming the image, its shape and type, and what was expected.
    """
    for name, image, shape in (("rgb", rgb, (*size, 3)), ("thermal", thermal, size)):
        if image.shape != shape or image.dtype != np.uint8 or not image.flags.c_contiguous:
            raise EngineError(
                f"{name} of shape {image.shape} and type {image.dtype}, expected {shape} uint8, "
                "C-contiguous; scale it first or export the model at this size"
            )


def empty_inference(size: tuple[int, int]) -> Inference:
    """Return the arrays that an engine writes its results to at every run.

    Args:
        size: (height, width) of the engine.
    """
    return Inference(
        np.empty((*size, 3), np.uint8), np.empty(size, np.uint8), np.empty(size, np.uint8)
    )


def one_line(err: Exception) -> str:
    """Return the text of a runtime's exception as one line: runtimes write paragraphs."""
    return ": ".join(line.strip().rstrip(":") for line in str(err).splitlines() if line.strip())


Tensor = tuple[str, tuple[object, ...]]
"""NumPy dtype name and shape; a dimension that is not fixed is anything but an int."""


def check_signature(
    bundle: Bundle, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]
) -> None:
    """Refuse a model whose inputs and outputs are not those of `segmif export`.

    Args:
        bundle: the bundle the model came from; its manifest says the size.
        inputs: dtype and shape of every input, by name.
        outputs: the same of every output; a shape that the runtime leaves open is not compared.

    Raises:
        EngineError: naming what the model has and what was expected.
    """
    size = bundle.manifest.size
    expected = {"rgb": ("uint8", (*size, 3)), "thermal": ("uint8", size)}
    given = {"fused": ("uint8", (*size, 3)), "mask": ("uint8", size), "confidence": ("uint8", size)}
    known = {
        name: (dtype, shape if all(isinstance(n, int) for n in shape) else given[name][1])
        for name, (dtype, shape) in outputs.items()
        if name in given
    }
    if dict(inputs) != expected or known != given or len(outputs) != len(given):
        raise EngineError(
            f"{bundle.model_path} takes {dict(inputs)} and gives {dict(outputs)}, expected "
            f"{expected} and {given}; make it with `segmif export`"
        )


def restricted_cores() -> int | None:
    """Return how many cores the calling thread may run on, None when it may use all of them.

    Runtimes count the cores of the machine instead, and would start a thread for each on the few
    that `cpu_affinity`, `taskset` or a container leaves them.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    cores = len(os.sched_getaffinity(0))
    return cores if cores < (os.cpu_count() or cores) else None
