# SPDX-License-Identifier: Apache-2.0
"""The library in one class: two arrays in, fused image, classes and objects out; no ROS, no torch.

docs/api.md shows it at work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmif_ros.bundle import Bundle, LabelClass
from segmif_ros.engines import open_engine
from segmif_ros.engines.base import EngineOptions
from segmif_ros.frames import Image8, Pair, ThermalImage
from segmif_ros.objects.regions import DetectedObject, find_objects, thermal_values
from segmif_ros.perceiver import Perceiver
from segmif_ros.registration import Geometry, Registration, load_calibration
from segmif_ros.render import overlay, palette
from segmif_ros.thermal import ThermalNormaliser, ThermalSettings


@dataclass(frozen=True, eq=False)
class SegmifResult:
    """What one pair became. All images have the size of the RGB image and belong to the caller.

    Attributes:
        fused: HxWx3 uint8 RGB; the one image itself where the other is missing.
        mask: HxW uint8 class ids, 255 = unlabelled.
        confidence: HxW uint8, probability of the winning class times 255.
        thermal: HxW uint8, the thermal image as the network saw it: 8 bits, on the RGB image.
        temperature: HxW float32, the thermal values on the RGB image (degrees Celsius, or counts
            without a scale), NaN outside the thermal view; None
            without a thermal image.
        classes: the model's classes by id.
        timings_ms: milliseconds by stage.
    """

    fused: Image8
    mask: Image8
    confidence: Image8
    thermal: Image8
    temperature: NDArray[np.float32] | None
    classes: tuple[LabelClass, ...] = field(repr=False)
    timings_ms: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def objects(self) -> list[DetectedObject]:
        """People, vehicles and cycles, largest first; ids are 0, a picture alone tracks nothing."""
        return find_objects(self.mask, self.confidence, self.classes, self.temperature)

    def share(self, name: str) -> float:
        """Return the share of the picture that a class covers, 0 to 1.

        Raises:
            KeyError: the model has no class of that name.
        """
        ids = {label.name: label.id for label in self.classes}
        if name not in ids:
            raise KeyError(f"no class {name!r}; this model has {', '.join(ids)}")
        return float((self.mask == ids[name]).mean())

    def overlay(self, alpha: float = 0.5) -> Image8:
        """Return the fused image with the class colours over it, HxWx3 uint8 RGB.

        Args:
            alpha: weight of the colours, 0 to 1.

        Raises:
            ValueError: alpha is out of range.
        """
        return overlay(self.fused, self.mask, palette(self.classes), alpha)


class Segmif:
    """A model that is open: call it with an RGB and a thermal image.

    >>> from segmif_ros import Segmif, read_rgb, read_thermal, share_path
    >>> pictures = share_path("models", "segmif-nano", "reference")
    >>> rgb = read_rgb(pictures / "night_13_rgb.jpg")
    >>> thermal = read_thermal(pictures / "night_13_thermal.jpg")
    >>> with Segmif("segmif-nano", engine="onnxruntime") as segmif:
    ...     result = segmif(rgb, thermal)
    >>> result.fused.shape, result.mask.dtype, result.overlay().shape
    ((480, 640, 3), dtype('uint8'), (480, 640, 3))
    >>> result.share("road") > 0.2
    True

    Not thread safe: one thread owns it. Opening costs seconds, a call tens of milliseconds.
    """

    def __init__(
        self,
        model: str | Path = "segmif-nano",
        *,
        engine: str = "auto",
        threads: int = 0,
        precision: str = "auto",
        calibration: str | Path | Geometry | None = None,
        thermal: ThermalSettings | None = None,
        confidence_threshold: float = 0.0,
    ) -> None:
        """Open a model.

        Args:
            model: name of a shipped one, or folder of a bundle.
            engine: "auto", "openvino", "onnxruntime", "tensorrt", ... (docs/engines.md).
            threads: CPU threads, 0 = all cores.
            precision: "auto", or one the bundle has a file of: "fp32", "fp16", "int8".
            calibration: file or object with the thermal -> RGB geometry; None for pairs that are
                registered already.
            thermal: how thermal values become grey levels, and what they mean.
            confidence_threshold: pixels below it become 255 (unlabelled), 0 to 1.

        Raises:
            BundleError, EngineError, RegistrationError: with the value and the remedy.
            ValueError: a threshold out of range.
        """
        if not 0.0 <= confidence_threshold <= 1.0:
            raise ValueError(f"confidence_threshold is {confidence_threshold}; give 0 to 1")
        if isinstance(calibration, str | Path):
            calibration = load_calibration(calibration)
        self.bundle = Bundle.load(model)
        self._settings = thermal or ThermalSettings()
        self._perceiver = Perceiver(
            open_engine(engine, self.bundle, options=EngineOptions(threads, precision)),
            ThermalNormaliser(self._settings),
            Registration(calibration),
            confidence_threshold=confidence_threshold,
        )

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """The model's classes: `id`, `name`, `color`."""
        return self.bundle.manifest.classes

    @property
    def engine(self) -> str:
        """The runtime that executes the model."""
        return self._perceiver.engine.name

    def __call__(
        self, rgb: Any, thermal: Any = None, *, stamp_ns: int | None = None
    ) -> SegmifResult:
        """Fuse and segment one pair.

        Args:
            rgb: HxWx3 uint8, channel order R, G, B; None where only thermal is there.
            thermal: hxw uint8, uint16 or float (degrees Celsius); None likewise.
            stamp_ns: time of acquisition of a frame of a video, nanoseconds, rising: grey levels
                of 16-bit thermal then follow the scene slowly, as in the node. None renders every
                pair by itself.

        Raises:
            ValueError: an array of another shape or type, or none at all.
            RegistrationError: the sizes are not those of the calibration.
            EngineError: the runtime failed.
        """
        pair = Pair(_rgb(rgb), _thermal(thermal), stamp_ns or 0, stamp_ns or 0)
        if stamp_ns is None:
            self._perceiver.normaliser.reset()
        found = self._perceiver.perceive(pair)
        registration = self._perceiver.registration
        temperature, _ = thermal_values(found, pair, registration, self._settings)
        return SegmifResult(
            found.fused.copy(),
            found.mask.copy(),
            found.confidence.copy(),
            found.thermal.copy(),
            temperature,
            self.classes,
            dict(found.timings_ms),
        )

    def close(self) -> None:
        """Free the engine. Safe to call twice."""
        self._perceiver.close()

    def __enter__(self) -> Segmif:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _rgb(image: Any) -> Image8 | None:
    if image is None:
        return None
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise ValueError(
            f"rgb is {array.dtype} of shape {array.shape}; expected HxWx3 uint8 in the order R, G, "
            "B (of OpenCV's B, G, R: image[..., ::-1])"
        )
    return np.asarray(np.ascontiguousarray(array), np.uint8)


def _thermal(image: Any) -> ThermalImage | None:
    if image is None:
        return None
    array = np.asarray(image)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.dtype.kind == "f":
        array = array.astype(np.float32)
    if array.dtype not in (np.uint8, np.uint16, np.float32) or array.ndim != 2 or not array.size:
        raise ValueError(
            f"thermal is {array.dtype} of shape {array.shape}; expected HxW of uint8, uint16 or "
            "float, one channel"
        )
    return np.ascontiguousarray(array)
