# SPDX-License-Identifier: Apache-2.0
"""Real-time thermal and RGB fusion with semantic segmentation (SegMiF) for ROS 2.

What is imported from here is the public library (docs/api.md); modules and names below are not.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segmif_ros.api import Segmif, SegmifResult
    from segmif_ros.bundle import Bundle, BundleError, LabelClass
    from segmif_ros.engines import open_engine
    from segmif_ros.engines.base import EngineError, EngineOptions
    from segmif_ros.frames import Pair, Result
    from segmif_ros.images.pictures import PictureError, read_rgb, read_thermal
    from segmif_ros.metrics.boxes import Box, BoxScores
    from segmif_ros.metrics.fusion import fusion_scores
    from segmif_ros.metrics.segmentation import Confusion
    from segmif_ros.objects.regions import DetectedObject, find_objects
    from segmif_ros.pairing import PairingConfig, Stream, StreamPairer
    from segmif_ros.perceiver import Perceiver
    from segmif_ros.registration import (
        Calibration,
        Registration,
        RegistrationError,
        RigCalibration,
        load_calibration,
    )
    from segmif_ros.render import overlay, palette
    from segmif_ros.share import share_path
    from segmif_ros.thermal import ThermalError, ThermalNormaliser, ThermalSettings

# From 1.29 on ONNX Runtime sends telemetry to its maker unless that is disabled before the import;
# a robot sends nothing without its owner's consent.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"

_PUBLIC = {
    "api": "Segmif SegmifResult",
    "bundle": "Bundle BundleError LabelClass",
    "engines": "open_engine",
    "engines.base": "EngineError EngineOptions",
    "frames": "Pair Result",
    "images.pictures": "PictureError read_rgb read_thermal",
    "metrics.boxes": "Box BoxScores",
    "metrics.fusion": "fusion_scores",
    "metrics.segmentation": "Confusion",
    "objects.regions": "DetectedObject find_objects",
    "pairing": "PairingConfig Stream StreamPairer",
    "perceiver": "Perceiver",
    "registration": "Calibration Registration RegistrationError RigCalibration load_calibration",
    "render": "overlay palette",
    "share": "share_path",
    "thermal": "ThermalError ThermalNormaliser ThermalSettings",
}
_MODULE_OF = {name: module for module, names in _PUBLIC.items() for name in names.split()}
"""Public name -> module; loaded on first use, so that a node does not load it."""

__all__ = [
    "Box",
    "BoxScores",
    "Bundle",
    "BundleError",
    "Calibration",
    "Confusion",
    "DetectedObject",
    "EngineError",
    "EngineOptions",
    "LabelClass",
    "Pair",
    "PairingConfig",
    "Perceiver",
    "PictureError",
    "Registration",
    "RegistrationError",
    "Result",
    "RigCalibration",
    "Segmif",
    "SegmifResult",
    "Stream",
    "StreamPairer",
    "ThermalError",
    "ThermalNormaliser",
    "ThermalSettings",
    "__version__",
    "find_objects",
    "fusion_scores",
    "load_calibration",
    "open_engine",
    "overlay",
    "palette",
    "read_rgb",
    "read_thermal",
    "share_path",
]


def __getattr__(name: str) -> Any:
    """Load an exported name."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
