# SPDX-License-Identifier: Apache-2.0
"""A test pattern instead of the street: nothing to render, and no two pictures are the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from segmif_ros.frames import Image8, ThermalImage
from segmif_ros.rig.cameras.cameras import Pinhole, Rig
from segmif_ros.rig.scene.labels import Label

_STEP = 4
"""Pixels that the pattern moves from one picture to the next."""
_NOISE = 8
_CENTIKELVIN_PER_GREY = 10
_COLDEST = 28_000


class Pattern:
    """Moving ramps with noise; has the methods of `Footage` that a publisher needs.

    Args:
        rig: the cameras.
        encoding: thermal "mono16" (0.01 K, 280 K to 305.5 K) or "mono8".
    """

    def __init__(self, rig: Rig, *, encoding: str) -> None:
        rng = np.random.default_rng(1)
        self._rgb = _ramps(rig.rgb.intrinsics, rng)
        grey = _ramps(rig.thermal.intrinsics, rng)[..., 0]
        self._thermal: ThermalImage = grey
        if encoding == "mono16":
            self._thermal = (_COLDEST + _CENTIKELVIN_PER_GREY * grey.astype(np.int32)).astype(
                np.uint16
            )
        self._labels = np.full(self._rgb.shape[:2], Label.UNLABELLED, np.uint8)

    def prepare(self, _progress: Callable[[int, int], bool]) -> bool:
        """There is nothing to render ahead, and nothing to stop."""
        return True

    def visible(self, number: int) -> tuple[Image8, Image8]:
        """Return RGB frame `number` (HxWx3 uint8) and its labels, all unlabelled."""
        return np.roll(self._rgb, number * _STEP, axis=1), self._labels

    def thermal(self, number: int) -> ThermalImage:
        """Return thermal frame `number`, hxw uint16 or uint8."""
        return np.roll(self._thermal, number * _STEP, axis=1)


def _ramps(camera: Pinhole, rng: np.random.Generator) -> Image8:
    """Return HxWx3: red grows to the right, green downwards, blue is even."""
    ramp_x = np.linspace(0, 255 - _NOISE, camera.width)[None, :]
    ramp_y = np.linspace(0, 255 - _NOISE, camera.height)[:, None]
    planes = np.broadcast_arrays(ramp_x, ramp_y, np.array([[100.0]]))
    noise = rng.integers(0, _NOISE, (camera.height, camera.width, 3))
    return (np.stack(planes, axis=-1) + noise).astype(np.uint8)
