# SPDX-License-Identifier: Apache-2.0
"""A pair of images becomes a result: the whole chain with its times; no ROS, no torch."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.engines.base import Engine
from segmif_ros.frames import (
    UNLABELLED,
    Buffers,
    Frame,
    Image8,
    Pair,
    PictureState,
    Result,
    ThermalImage,
)
from segmif_ros.registration import Registration
from segmif_ros.thermal import ThermalNormaliser

"""Whether the network processes the middle of the picture once more, at twice the size."""

_SECOND_WARM_UP_BELOW_MS = 2_000.0


class Perceiver:
    """Conversion, thermal normalisation, registration and inference, in this order, on one thread.

    Frames of another size than the engine's are scaled on the way in and the results are scaled
    back, so every output lines up pixel by pixel with the RGB frame (or, while that is missing,
    with the thermal frame in the RGB geometry if that is known).

    Once frames keep their size, nothing of an image's size is allocated: every stage writes into
    arrays of this object, which the next frame writes over.

    >>> import numpy as np
    >>> from segmif_ros import Bundle, Pair, Perceiver, open_engine
    >>> perceiver = Perceiver(open_engine("null", Bundle.load("segmif-nano")))
    >>> rgb, counts = np.zeros((720, 1280, 3), np.uint8), np.full((512, 640), 30000, np.uint16)
    >>> result = perceiver.perceive(Pair(rgb, counts, stamp_ns=1, thermal_stamp_ns=1))
    >>> result.fused.shape, result.mask.shape, sorted(result.timings_ms)
    ((720, 1280, 3), (720, 1280), ['inference', 'registration', 'thermal'])
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
        self._buffers, self._raw = Buffers(), Buffers()

    def warm_up(self) -> float:
        """Run the engine on zeros, so that the first pair is not the slow one.

        Returns:
            Milliseconds of a warm inference; a slow model is only run once.

        Raises:
            EngineError: the model cannot be executed.
        """
        rgb = np.zeros((*self.engine.size, 3), np.uint8)
        thermal = np.zeros(self.engine.size, np.uint8)
        milliseconds = 0.0
        for _ in range(2):
            started = perf_counter()
            self.engine.infer(rgb, thermal)
            milliseconds = 1e3 * (perf_counter() - started)
            if milliseconds > _SECOND_WARM_UP_BELOW_MS:
                break
        return milliseconds

    def perceive(self, pair: Pair) -> Result:
        """Run the chain once.

        With one frame missing the network gets zeros in its place, as in training, and `fused` is
        the other frame itself: there is nothing to fuse.

        Returns:
            The results, valid until the next call.

        Raises:
            ThermalError, RegistrationError, EngineError: the pair does not fit the set-up.
        """
        started = perf_counter()
        rgb, raw, picture = self._converted(pair)
        converted = perf_counter()
        thermal = self._normalised(raw, pair.thermal_stamp_ns, picture)
        rendered = perf_counter()
        size = _size_of(rgb, raw, pair.rgb_size)
        if thermal is not None and (rgb is not None or pair.rgb_size is not None):
            out = self._buffers.take("registered", size)
            thermal = self.registration.apply(thermal, size, out)
        registered = perf_counter()
        fused, mask, confidence = self._infer(rgb, thermal, size)
        inferred = perf_counter()
        timings_ms = {
            "thermal": 1e3 * (rendered - converted),
            "registration": 1e3 * (registered - rendered),
            "inference": 1e3 * (inferred - registered),
        }
        if isinstance(pair.rgb, Frame) or isinstance(pair.thermal, Frame):
            timings_ms["conversion"] = 1e3 * (converted - started)
        return Result(
            fused=fused,
            mask=self._without_doubt(mask, confidence),
            confidence=confidence,
            thermal=self._blank("no thermal", size) if thermal is None else thermal,
            stamp_ns=pair.stamp_ns,
            frame_id=pair.frame_id,
            rgb=rgb,
            raw_thermal=raw,
            timings_ms=timings_ms,
        )

    def close(self) -> None:
        """Free the engine."""
        self.engine.close()

    def _converted(
        self, pair: Pair
    ) -> tuple[Image8 | None, ThermalImage | None, PictureState | None]:
        """Return arrays; of a thermal frame also whether its camera repeats it."""
        rgb, thermal, picture = pair.rgb, pair.thermal, None
        if isinstance(rgb, Frame):
            rgb = rgb.view.to_rgb(self._raw)
        if isinstance(thermal, Frame):
            picture = thermal.picture
            thermal = thermal.view.to_thermal(self._raw)
        return rgb, thermal, picture

    def _normalised(
        self, thermal: ThermalImage | None, stamp_ns: int, picture: PictureState | None
    ) -> Image8 | None:
        if thermal is None:
            return None
        out = self._buffers.take("normalised", thermal.shape)
        return self.normaliser.normalise(thermal, stamp_ns, out, picture=picture)

    def _infer(
        self, rgb: Image8 | None, thermal: Image8 | None, size: tuple[int, int]
    ) -> tuple[Image8, Image8, Image8]:
        """Run the network; a missing camera is zeros, and the other one is the fused image."""
        seen, dark = self._inputs(rgb, thermal)
        fused, mask, confidence = self.engine.infer(seen, dark)
        if rgb is not None and thermal is not None:
            fused = self._changed(rgb, seen, fused)
        elif thermal is None and rgb is not None:
            fused = rgb
        elif rgb is None and thermal is not None:
            out = self._buffers.take("grey", (*thermal.shape, 3))
            fused = np.asarray(cv2.cvtColor(thermal, cv2.COLOR_GRAY2RGB, dst=out), np.uint8)
        fused = self._scaled("fused", fused, size, cv2.INTER_LINEAR)
        mask = self._scaled("mask", mask, size, cv2.INTER_NEAREST)
        confidence = self._scaled("confidence", confidence, size, cv2.INTER_LINEAR)
        return fused, mask, confidence

    def _inputs(self, rgb: Image8 | None, thermal: Image8 | None) -> tuple[Image8, Image8]:
        """Resize both to the engine's size; a missing camera is zeros."""
        size = self.engine.size
        return (
            self._blank("no rgb", (*size, 3)) if rgb is None else self._fitted("rgb", rgb),
            self._blank("dark", size) if thermal is None else self._fitted("thermal", thermal),
        )

    def _changed(self, rgb: Image8, seen: Image8, fused: Image8) -> Image8:
        """Add to the camera's picture what the network changed in the one that it saw.

        So fusion keeps the detail of a camera that is larger than the engine.
        """
        if rgb.shape == fused.shape:
            return fused
        change = self._buffers.take("change", fused.shape, np.int16)
        cv2.subtract(fused, seen, change, dtype=cv2.CV_16S)
        change = self._scaled("large change", change, rgb.shape[:2], cv2.INTER_LINEAR)
        out = self._buffers.take("fused", rgb.shape)
        return np.asarray(cv2.add(rgb, change, out, dtype=cv2.CV_8U), np.uint8)

    def _without_doubt(self, mask: Image8, confidence: Image8) -> Image8:
        """Set pixels of low confidence to 255; id 0 keeps its meaning in the model's class list."""
        if self.confidence_threshold == 0.0:
            return mask
        doubtful = self._buffers.take("doubtful", mask.shape, np.bool_)
        np.less(confidence, round(255 * self.confidence_threshold), out=doubtful)
        out = self._buffers.take("certain", mask.shape)
        np.copyto(out, mask)
        np.copyto(out, UNLABELLED, where=doubtful)
        return out

    def _blank(self, name: str, shape: tuple[int, ...]) -> Image8:
        blank = self._buffers.take(name, shape)
        blank.fill(0)
        return blank

    def _fitted(self, name: str, image: Image8) -> Image8:
        """Resize an image to the engine's size, C-contiguous."""
        larger = image.shape[0] > self.engine.size[0] or image.shape[1] > self.engine.size[1]
        how = cv2.INTER_AREA if larger else cv2.INTER_LINEAR
        image = self._scaled(f"{name} in", image, self.engine.size, how)
        if image.flags.c_contiguous:
            return image
        out = self._buffers.take(f"{name} in", image.shape, image.dtype)
        np.copyto(out, image)
        return out

    def _scaled(
        self, name: str, image: NDArray[Any], size: tuple[int, int], how: int
    ) -> NDArray[Any]:
        if image.shape[:2] == size:
            return image
        out = self._buffers.take(name, (*size, *image.shape[2:]), image.dtype)
        return np.asarray(cv2.resize(image, size[::-1], out, interpolation=how))


def _size_of(
    rgb: Image8 | None, thermal: ThermalImage | None, rgb_size: tuple[int, int] | None
) -> tuple[int, int]:
    """Return the (height, width) of the results."""
    if rgb is None and rgb_size is not None:
        return rgb_size
    image = thermal if rgb is None else rgb
    assert image is not None
    return int(image.shape[0]), int(image.shape[1])
