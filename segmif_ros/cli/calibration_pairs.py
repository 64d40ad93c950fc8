# SPDX-License-Identifier: Apache-2.0
"""Pairs that 8-bit models are calibrated on: from a folder of pictures, or from the virtual rig."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from segmif_ros.frames import Image8, ThermalImage
from segmif_ros.recordings.clips import ClipError, FolderPairs
from segmif_ros.rig.draw.render import training_frame
from segmif_ros.thermal import ThermalNormaliser

Pair = tuple[Image8, Image8]

_FIRST_SEED = 7000
"""Scenes that neither training nor the gate draws."""
_ALONE = 8
"""Every eighth pair comes once more with either camera blank, as the node runs one alone."""


def folder_pairs(
    folder: Path, size: tuple[int, int], count: int, names: Path | None = None
) -> list[Pair]:
    """Read up to `count` pairs of FOLDER/visible and FOLDER/infrared, evenly spaced.

    Args:
        folder: registered pictures of the same names.
        size: (height, width) to scale them to.
        count: pairs, before those with a blank camera.
        names: text file with the names to choose from, one a line; all if None.

    Raises:
        ClipError: no pairs, a name that is none, or a picture that cannot be read.
        OSError: `names` cannot be read.
    """
    source = FolderPairs(folder)
    wanted = list(range(len(source.names)))
    if names is not None:
        places = {name: i for i, name in enumerate(source.names)}
        listed = names.read_text(encoding="utf-8").split()
        unknown = [name for name in listed if name not in places]
        if unknown or not listed:
            shown = ", ".join(unknown[:3]) or "nothing"
            raise ClipError(f"{names} lists {shown}, expected names of pairs in {folder}")
        wanted = [places[name] for name in listed]
    spread = np.linspace(0, len(wanted) - 1, min(count, len(wanted))).round().astype(int)
    return _with_blanks([_ready(*source.pair(wanted[i]), size) for i in spread])


def rig_pairs(size: tuple[int, int], count: int) -> list[Pair]:
    """Draw `count` pairs in all lightings."""
    frames = [training_frame(_FIRST_SEED + i) for i in range(count)]
    return _with_blanks([_ready(frame.rgb, frame.thermal, size) for frame in frames])


def _ready(rgb: Image8, thermal: ThermalImage, size: tuple[int, int]) -> Pair:
    return _fitted(rgb, size), _fitted(ThermalNormaliser().normalise(thermal), size)


def _fitted(image: Image8, size: tuple[int, int]) -> Image8:
    if image.shape[:2] != size:
        image = np.asarray(cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    return np.ascontiguousarray(image)


def _with_blanks(pairs: list[Pair]) -> list[Pair]:
    chosen = pairs[::_ALONE]
    without_rgb = [(np.zeros_like(rgb), thermal) for rgb, thermal in chosen]
    return [*pairs, *without_rgb, *((rgb, np.zeros_like(thermal)) for rgb, thermal in chosen)]
