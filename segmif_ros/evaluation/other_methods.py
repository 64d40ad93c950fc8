# SPDX-License-Identifier: Apache-2.0
"""Fused images that another method made, to be scored in the same run by the same code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from segmif_ros.datasets.pictures import images, read_rgb
from segmif_ros.datasets.sample import DatasetError
from segmif_ros.frames import Image8


def fused_images(folder: Path) -> Callable[[str], Image8]:
    """Return a reader of the pictures in a folder by the name of a pair.

    The file of a pair has its name, or the last part of it, with any suffix of a picture.

    Raises:
        DatasetError: no such folder, or no picture in it; from the reader, no picture of that name.
    """
    found = images(folder)
    if not found:
        raise DatasetError(f"{folder} holds no picture; give a folder of fused images")

    def read(name: str) -> Image8:
        for wanted in (name, name.rsplit("/", 1)[-1]):
            if wanted in found:
                return read_rgb(found[wanted])
        example = next(iter(found))
        raise DatasetError(
            f"{folder} has no picture {name!r} (it has {example!r} and {len(found) - 1} more); "
            "a method is compared on all pairs or on none: leave pairs out with --limit or --split"
        )

    return read
