# SPDX-License-Identifier: Apache-2.0
"""What a well-formed image must still be, so that the worker can use it.

An image that would make its pair fail is refused where it is taken in: its camera then counts as
lost and the other one may go on. The worker would fail pair after pair, in mode `fused`.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from segmif_ros.frames import View
from segmif_ros.images.raw import ImageRefused, Refusal
from segmif_ros.pairing import Stream

_STRIDE = 8


class Calibrated(Protocol):
    """What is asked of a calibration."""

    @property
    def thermal_size(self) -> tuple[int, int]:
        """Thermal image (height, width)."""


def objection(
    stream: Stream, view: View, *, thermal_mode: str, calibration: Calibrated | None
) -> ImageRefused | None:
    """Return why an image cannot be used, None if it can.

    Args:
        stream: the camera.
        view: its pixels.
        thermal_mode: parameter in force.
        calibration: what the node registers with, None without one. An RGB image of another size
            can still be used alone.
    """
    if calibration is not None and stream is Stream.THERMAL:
        expected = calibration.thermal_size
        height, width = view.pixels.shape[:2]
        if (height, width) != expected:
            return ImageRefused(
                Refusal.SIZE,
                f"image of {width}x{height} pixels, the calibration is for "
                f"{expected[1]}x{expected[0]}; calibrate again at this resolution",
            )
    return _thermal_objection(view, thermal_mode) if stream is Stream.THERMAL else None


def _thermal_objection(view: View, mode: str) -> ImageRefused | None:
    kind = view.pixels.dtype
    if mode == "passthrough" and kind.itemsize > 1:
        return ImageRefused(
            Refusal.ENCODING,
            f"encoding {view.encoding!r} has more than the 8 bits that thermal_mode "
            "'passthrough' takes; set it to 'auto', 'percentile', 'plateau' or 'range'",
        )
    if kind.kind == "f" and not _has_a_value(view):
        return ImageRefused(Refusal.NO_VALUES, f"{view.encoding} image without one finite value")
    return None


def _has_a_value(view: View) -> bool:
    """Look at a few pixels; at all of them only when these say nothing."""
    few = view.pixels[::_STRIDE, ::_STRIDE]
    return bool(np.isfinite(few).any() or np.isfinite(view.pixels).any())
