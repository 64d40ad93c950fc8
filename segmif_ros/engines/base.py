# SPDX-License-Identifier: Apache-2.0
"""The seam between the chain and whatever executes the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from segmif_ros.frames import Image8

WORKSPACE_MIB = 1024
OPTIMIZATION_LEVEL = 3


class EngineError(RuntimeError):
    """An engine cannot be opened or failed to run; the message names the value and the remedy."""


class RefusedError(EngineError):
    """The accuracy gate refused an engine."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How to open a bundle, besides with which runtime.

    Attributes:
        threads: CPU threads, 0 = all cores; on a GPU those of the gate's reference.
        precision: "auto", or a precision that the bundle has a file of. "auto" is the bundle's
            first file on the CPU, and what `tensorrt.build.recipes` says with TensorRT.
        device: what OpenVINO computes on: "CPU", "GPU", "GPU.1", "NPU" or "AUTO".
        cache: folder of built engines and of the gate's verdicts, None for the user's.
        workspace_mib: scratch memory of a layer that TensorRT may use, MiB.
        optimization_level: of TensorRT: 0 builds fastest, 5 searches longest.
        rebuild: build and check even if that was done before.
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

    The arrays are the engine's: the next `infer` writes over them. Copy what is to be kept.

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

        Allocates nothing of the size of an image: the results lie in arrays that are made once and
        are valid until the next call.

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
