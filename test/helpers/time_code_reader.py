# SPDX-License-Identifier: Apache-2.0
"""Reads the number that the rig writes into its pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmif_ros.rig.draw.pattern import BAR_SHARE, COLUMNS, ROWS, check_bits


def read_bars(pixels: NDArray[Any]) -> tuple[int | None, int | None]:
    """Return the milliseconds on the top and on the bottom bar, None where there is no code.

    Args:
        pixels: HxW or HxWx3, unsigned integers.
    """
    grey = pixels if pixels.ndim == 2 else pixels[..., 1]
    height = grey.shape[0]
    bar = height // BAR_SHARE
    return _number(grey[:bar]), _number(grey[height - bar :])


def _number(bar: NDArray[Any]) -> int | None:
    height, width = bar.shape
    rows = (2 * np.arange(ROWS) + 1) * height // (2 * ROWS)
    columns = (2 * np.arange(COLUMNS) + 1) * width // (2 * COLUMNS)
    cells = bar[np.ix_(rows, columns)].ravel().astype(np.int64)
    bits = 2 * cells > cells.min() + cells.max()
    word = sum(int(bit) << index for index, bit in enumerate(bits))
    value = word & 0xFFFFFF
    return value if word >> 24 == check_bits(value) else None
