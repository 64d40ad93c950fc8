# SPDX-License-Identifier: Apache-2.0
"""The interface of all engines, and their common checks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from segmif_ros.bundle import Bundle
from segmif_ros.frames import Image8

WORKSPACE_MIB = 1024
OPTIMIZATION_LEVEL = 3


class EngineError(RuntimeError):
    """An engine cannot be opened or failed to run; the message names the value and the remedy."""


class RefusedError(EngineError):
    """The accuracy gate refused an engine."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Options to open a bundle, except the runtime.

    Attributes:
        threads: CPU threads, 0 = all cores; on a GPU those of the gate's reference.
        precision: "auto", or a precision of a file in the bundle. "auto" is the bundle's
            first file on the CPU, and those of `tensorrt.build.recipes` with TensorRT.
        device: of OpenVINO: "CPU", "GPU", "GPU.1", "NPU" or "AUTO".
        cache: folder of built engines and of the gate's verdicts, None for the user's.
        workspace_mib: scratch memory of a layer that TensorRT may use, MiB.
        optimization_level: of TensorRT: 0 builds fastest, 5 searches longest.
        rebuild: build and check again.
    """

    threads: int = 0
    precision: str = "auto"
    device: str = "CPU"
    cache: Path | None = None
    workspace_mib: int = WORKSPACE_MIB
    optimization_level: int = OPTIMIZATION_LEVEL
    rebuild: bool = False


class Inference(NamedTuple):
    """Raw output of one run, at the engine's own size.

    The arrays belong to the engine, and the next `infer` overwrites them. Copy them to keep them.

    Attributes:
        fused: HxWx3 uint8 RGB.
        mask: HxW uint8 class ids.
        confidence: HxW uint8, winning probability times 255.
    """

    fused: Image8
    mask: Image8
    confidence: Image8


class Engine(Protocol):
    """Runs one bundle. Not thread safe: one thread owns an engine from opening to closing."""

    @property
    def name(self) -> str:
        """Runtime, for example "onnxruntime"."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Fixed input size (height, width) in pixels."""
        ...

    def infer(self, rgb: Image8, thermal: Image8) -> Inference:
        """Run the network once; releases the GIL while it computes.

        Allocates no image-sized memory: the results are in preallocated arrays and valid until the
        next call.

        Args:
            rgb: HxWx3 uint8, C-contiguous, exactly `size`.
            thermal: HxW uint8, C-contiguous, registered to `rgb`.

        Raises:
            EngineError: the inputs have another size or type, or the runtime failed.
        """
        ...

    def describe(self) -> Mapping[str, str]:
        """Facts for diagnostics: runtime version, precision, threads, device."""
        ...

    def close(self) -> None:
        """Free the runtime's memory. Safe to call twice."""
        ...


def check_inputs(size: tuple[int, int], rgb: Image8, thermal: Image8) -> None:
    """Refuse images whose size or type is not that of the exported graph.

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
    """Return the multi-line text of a runtime's exception as one line."""
    return ": ".join(line.strip().rstrip(":") for line in str(err).splitlines() if line.strip())


Tensor = tuple[str, tuple[object, ...]]
"""NumPy dtype name and shape; a dynamic dimension is not an int."""


def check_signature(
    bundle: Bundle, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]
) -> None:
    """Refuse a model whose inputs and outputs are not those of `segmif export`.

    Args:
        bundle: of the model; its manifest has the size.
        inputs: dtype and shape of every input, by name.
        outputs: the same of every output; a shape that the runtime leaves open is not compared.

    Raises:
        EngineError: with the actual and the expected inputs and outputs.
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
    """Return the number of cores in the thread's affinity mask, None for all cores.

    Runtimes use the number of all cores instead, and would start that many threads on the few that
    `cpu_affinity`, `taskset` or a container permits.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    cores = len(os.sched_getaffinity(0))
    return cores if cores < (os.cpu_count() or cores) else None
