# SPDX-License-Identifier: Apache-2.0
"""A pair of frames becomes a perception: the whole chain with its times; no ROS, no torch."""

from __future__ import annotations

from time import perf_counter

import cv2
import numpy as np

from segmif_ros.engines.base import Engine
from segmif_ros.frames import UNLABELLED, FramePair, Image8, Perception
from segmif_ros.registration import Registration
from segmif_ros.thermal import ThermalNormaliser


class Perceiver:
    """Thermal normalisation, registration and inference, in this order, on one thread.

    Frames of another size than the engine's are scaled on the way in and the results are scaled
    back, so every output lines up pixel by pixel with the RGB frame (or, while that is missing,
    with the thermal frame in the RGB geometry if that is known).
    """

    def __init__(
        self,
        engine: Engine,
        normaliser: ThermalNormaliser | None = None,
        registration: Registration | None = None,
        *,
        confidence_threshold: float = 0.0,
    ) -> None:
        """Take over `engine`; `close` frees it.

        Args:
            engine: the opened network.
            normaliser: thermal rendering, default settings if None.
            registration: thermal -> RGB geometry, none if None.
            confidence_threshold: pixels below it become 255 (unlabelled), range 0 to 1.
        """
        self.engine = engine
        self.normaliser = normaliser or ThermalNormaliser()
        self.registration = registration or Registration()
        self.confidence_threshold = confidence_threshold

    def perceive(self, pair: FramePair) -> Perception:
        """Run the chain once.

        With one frame missing the network gets zeros in its place, as in training, and `fused` is
        the other frame itself: there is nothing to fuse.

        Raises:
            ThermalError, RegistrationError, EngineError: the pair does not fit the set-up.
        """
        started = perf_counter()
        normalised = self._normalised(pair)
        rendered = perf_counter()
        size = _size_of(pair)
        thermal = normalised
        if thermal is not None and (pair.rgb is not None or pair.rgb_size is not None):
            thermal = self.registration.apply(thermal, size)
        registered = perf_counter()
        fused, mask, confidence = self._infer(pair.rgb, thermal, size)
        inferred = perf_counter()
        return Perception(
            fused=fused,
            mask=mask,
            confidence=confidence,
            thermal=np.zeros(size, np.uint8) if thermal is None else thermal,
            stamp_ns=pair.stamp_ns,
            frame_id=pair.frame_id,
            timings_ms={
                "thermal": 1e3 * (rendered - started),
                "registration": 1e3 * (registered - rendered),
                "inference": 1e3 * (inferred - registered),
            },
        )

    def close(self) -> None:
        """Free the engine."""
        self.engine.close()

    def _normalised(self, pair: FramePair) -> Image8 | None:
        if pair.thermal is None:
            return None
        return self.normaliser.normalise(pair.thermal, pair.thermal_stamp_ns)

    def _infer(
        self, rgb: Image8 | None, thermal: Image8 | None, size: tuple[int, int]
    ) -> tuple[Image8, Image8, Image8]:
        """Run the network; a missing camera is zeros, and the other one is the fused image."""
        wanted = self.engine.size
        rgb_in = np.zeros((*wanted, 3), np.uint8) if rgb is None else _fitted(rgb, wanted)
        thermal_in = np.zeros(wanted, np.uint8) if thermal is None else _fitted(thermal, wanted)
        fused, mask, confidence = self.engine.infer(rgb_in, thermal_in)
        if thermal is None and rgb is not None:
            fused = rgb
        elif rgb is None and thermal is not None:
            fused = np.asarray(cv2.cvtColor(thermal, cv2.COLOR_GRAY2RGB), np.uint8)
        fused = _scaled(fused, size, cv2.INTER_LINEAR)
        mask = _scaled(mask, size, cv2.INTER_NEAREST)
        confidence = _scaled(confidence, size, cv2.INTER_LINEAR)
        # Id 0 stays what the model's class list says it is; only doubt turns into 255.
        if self.confidence_threshold > 0.0:
            doubtful = confidence < round(255 * self.confidence_threshold)
            mask = np.where(doubtful, np.uint8(UNLABELLED), mask)
        return fused, mask, confidence


def _size_of(pair: FramePair) -> tuple[int, int]:
    """Return the (height, width) of the results."""
    if pair.rgb is None and pair.rgb_size is not None:
        return pair.rgb_size
    frame = pair.thermal if pair.rgb is None else pair.rgb
    assert frame is not None
    return int(frame.shape[0]), int(frame.shape[1])


def _fitted(image: Image8, size: tuple[int, int]) -> Image8:
    return np.ascontiguousarray(_scaled(image, size, cv2.INTER_AREA))


def _scaled(image: Image8, size: tuple[int, int], interpolation: int) -> Image8:
    if image.shape[:2] == size:
        return image
    scaled: Image8 = cv2.resize(image, size[::-1], interpolation=interpolation)
    return scaled
