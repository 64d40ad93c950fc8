# SPDX-License-Identifier: Apache-2.0
"""An engine without a network, to measure the rest of the node."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from segmif_ros.bundle import Bundle
from segmif_ros.engines.base import EngineError, Inference, check_inputs
from segmif_ros.frames import UNLABELLED, Image8

DELAY_SWITCH = "null_delay_ms"
"""Switch of a manifest: duration of one inference, milliseconds; 0 without it."""


class NullEngine:
    """Returns the RGB image and an unlabelled mask.

    With a delay it waits without CPU load, like the host of a GPU engine.
    """

    name = "null"

    def __init__(self, bundle: Bundle) -> None:
        """Read the size and the delay.

        Raises:
            EngineError: the bundle's delay is no number of milliseconds.
        """
        self.size = bundle.manifest.size
        self._mask = np.full(self.size, UNLABELLED, np.uint8)
        self._confidence = np.zeros(self.size, np.uint8)
        delay_ms = bundle.manifest.switches.get(DELAY_SWITCH, 0.0)
        if not isinstance(delay_ms, int | float) or not 0.0 <= delay_ms <= 60_000.0:
            raise EngineError(
                f"{bundle.path}: switch {DELAY_SWITCH} is {delay_ms!r}, expected 0 to 60000 ms"
            )
        self._delay_s = delay_ms / 1e3

    def infer(self, rgb: Image8, thermal: Image8) -> Inference:
        """See `Engine.infer`; `fused` is the RGB image itself."""
        check_inputs(self.size, rgb, thermal)
        if self._delay_s:
            time.sleep(self._delay_s)
        return Inference(rgb, self._mask, self._confidence)

    def describe(self) -> Mapping[str, str]:
        """See `Engine.describe`."""
        return {"runtime": "null", "device": "none", "precision": "none", "threads": "0"}

    def close(self) -> None:
        """See `Engine.close`."""
