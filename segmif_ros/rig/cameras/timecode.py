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
_ROWS, _COLUMNS = 4, 8
_BAR_SHARE = 6
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
    bar = height // _BAR_SHARE
    rows = np.arange(bar) * _ROWS // bar
    columns = np.arange(width) * _COLUMNS // width
    cells = _cells(milliseconds % WRAP_MS)[rows][:, columns]
    values = np.where(cells, pixels.max(), pixels.min()).astype(pixels.dtype)
    if pixels.ndim == 3:
        values = values[..., None]
    out[:bar] = values
    out[height - bar :] = values
    return out


def read_bars(pixels: NDArray[Any]) -> tuple[int | None, int | None]:
    """Return the milliseconds on the top and on the bottom bar, None where there is no code.

    Args:
        pixels: HxW or HxWx3, unsigned integers.
    """
    grey = pixels if pixels.ndim == 2 else pixels[..., 1]
    height = grey.shape[0]
    bar = height // _BAR_SHARE
    return _number(grey[:bar]), _number(grey[height - bar :])


def _check_bits(value: int) -> int:
    return (value ^ value >> 8 ^ value >> 16 ^ _CHECK) & 0xFF


def _cells(value: int) -> NDArray[np.bool_]:
    word = value | _check_bits(value) << 24
    bits = [word >> index & 1 for index in range(_ROWS * _COLUMNS)]
    return np.array(bits, np.bool_).reshape(_ROWS, _COLUMNS)


def _number(bar: NDArray[Any]) -> int | None:
    height, width = bar.shape
    rows = (2 * np.arange(_ROWS) + 1) * height // (2 * _ROWS)
    columns = (2 * np.arange(_COLUMNS) + 1) * width // (2 * _COLUMNS)
    cells = bar[np.ix_(rows, columns)].ravel().astype(np.int64)
    bits = 2 * cells > cells.min() + cells.max()
    word = sum(int(bit) << index for index, bit in enumerate(bits))
    value = word & 0xFFFFFF
    return value if word >> 24 == _check_bits(value) else None
