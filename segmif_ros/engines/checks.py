# SPDX-License-Identifier: Apache-2.0
"""What every engine checks before it lets a runtime touch the data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from segmif_ros.bundle import Bundle
from segmif_ros.engines.base import EngineError
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


def check_signature(
    bundle: Bundle, inputs: Mapping[str, tuple[object, ...]], outputs: Iterable[str]
) -> None:
    """Refuse a model whose inputs and outputs are not those of `segmif export`.

    Raises:
        EngineError: naming what the model has and what was expected.
    """
    size = bundle.manifest.size
    expected = {"rgb": (*size, 3), "thermal": size}
    if dict(inputs) != expected or set(outputs) != {"fused", "mask", "confidence"}:
        raise EngineError(
            f"{bundle.model_path} takes {dict(inputs)} and gives {sorted(outputs)}, expected "
            f"{expected} and ['confidence', 'fused', 'mask']; make it with `segmif export`"
        )
