# SPDX-License-Identifier: Apache-2.0
"""Thermal -> RGB geometry: calibration files, the remap table made from one, and its use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from segmif_ros.registration.warp import Geometry, Registration, RegistrationError

if TYPE_CHECKING:
    from segmif_ros.registration.calibration import Calibration, RigCalibration
    from segmif_ros.registration.calibration_file import load_calibration, save_calibration
    from segmif_ros.registration.lens import Intrinsics

__all__ = [
    "Calibration",
    "Geometry",
    "Intrinsics",
    "Registration",
    "RegistrationError",
    "RigCalibration",
    "load_calibration",
    "save_calibration",
]
_LATER = {
    "Calibration": "calibration",
    "Intrinsics": "lens",
    "RigCalibration": "calibration",
    "load_calibration": "calibration_file",
    "save_calibration": "calibration_file",
}
"""Name -> module: a node without a calibration starts without them."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
