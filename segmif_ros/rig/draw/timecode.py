# SPDX-License-Identifier: Apache-2.0
"""A number written into a picture, so that whoever sees the picture knows when it was taken.

Two equal bars of black and white cells, one along the top and one along the bottom edge: 24 bits of
milliseconds and 8 check bits. A picture whose bars differ is torn; two pictures whose numbers are
far apart do not belong together. Cells are a share of the picture, so scaling does not hurt them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

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
