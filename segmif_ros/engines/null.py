# SPDX-License-Identifier: Apache-2.0
"""An engine that returns at once, to measure everything around the engine."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from segmif_ros.bundle import Bundle
from segmif_ros.engines.base import Inference
from segmif_ros.engines.checks import check_inputs
from segmif_ros.frames import UNLABELLED, Image8


class NullEngine:
    """Passes the RGB image through and labels nothing."""

    def __init__(self, bundle: Bundle) -> None:
        self._size = bundle.manifest.size
        self._mask = np.full(self._size, UNLABELLED, np.uint8)
        self._confidence = np.zeros(self._size, np.uint8)

    @property
    def name(self) -> str:
        """Runtime name."""
        return "null"

    @property
    def size(self) -> tuple[int, int]:
        """Input (height, width)."""
        return self._size

    def infer(self, rgb: Image8, thermal: Image8) -> Inference:
        """See `Engine.infer`; `fused` is the RGB image itself."""
        check_inputs(self._size, rgb, thermal)
        return Inference(rgb, self._mask, self._confidence)

    def describe(self) -> Mapping[str, str]:
        """See `Engine.describe`."""
        return {"runtime": "null", "device": "none", "precision": "none", "threads": "0"}

    def close(self) -> None:
        """See `Engine.close`."""
