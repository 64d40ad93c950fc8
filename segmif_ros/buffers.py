# SPDX-License-Identifier: Apache-2.0
"""Arrays that are allocated once and written over at every frame.

An image-sized array that is made and thrown away for each frame costs more than it looks: its pages
are touched cold, and on a busy machine given back and faulted in again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class Buffers:
    """Named arrays of one owner on one thread.

    What is in one is valid until its owner asks for the same name again, so an owner that returns
    one says so, and a caller who keeps it makes a copy.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[Any]] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: DTypeLike = np.uint8) -> NDArray[Any]:
        """Return the C-contiguous array of this name; made anew when shape or dtype changed.

        Args:
            name: what it is for.
            shape: its shape.
            dtype: its type.

        Returns:
            The array with whatever was in it.
        """
        known = self._arrays.get(name)
        if known is None or known.shape != shape or known.dtype != dtype:
            known = self._arrays[name] = np.empty(shape, dtype)
        return known
