# SPDX-License-Identifier: Apache-2.0
"""A test pattern instead of the street, and the time that is written into it as black and white."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmif_ros.frames import Image8, ThermalImage
from segmif_ros.rig.cameras.cameras import Pinhole, Rig
from segmif_ros.rig.scene.scene import Label

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


WRAP_MS = 1 << 24
"""Codes begin again at 0 after so many milliseconds (4 h 39 min)."""
ROWS, COLUMNS = 4, 8
BAR_SHARE = 6
"""The height of a bar is this fraction of the picture's."""
_CHECK = 0xA5


def write_code(pixels: NDArray[Any], milliseconds: int) -> NDArray[Any]:
    """Return a copy of a picture with its time on it, in its own darkest and brightest value.

    Args:
        pixels: HxW or HxWx3, unsigned integers; a picture of one value cannot carry a code.
        milliseconds: 0 or more; taken modulo `WRAP_MS`.
    """
    out = pixels.copy()
    height, width = pixels.shape[:2]
    bar = height // BAR_SHARE
    rows = np.arange(bar) * ROWS // bar
    columns = np.arange(width) * COLUMNS // width
    cells = _cells(milliseconds % WRAP_MS)[rows][:, columns]
    values = np.where(cells, pixels.max(), pixels.min()).astype(pixels.dtype)
    if pixels.ndim == 3:
        values = values[..., None]
    out[:bar] = values
    out[height - bar :] = values
    return out


def check_bits(value: int) -> int:
    """Return the 8 check bits of a 24 bit number."""
    return (value ^ value >> 8 ^ value >> 16 ^ _CHECK) & 0xFF


def _cells(value: int) -> NDArray[np.bool_]:
    word = value | check_bits(value) << 24
    bits = [word >> index & 1 for index in range(ROWS * COLUMNS)]
    return np.array(bits, np.bool_).reshape(ROWS, COLUMNS)
