# SPDX-License-Identifier: Apache-2.0
"""The seam between the chain and whatever executes the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from segmif_ros.frames import Image8


class EngineError(RuntimeError):
    """An engine cannot be opened or failed to run; the message names the value and the remedy."""


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
