# SPDX-License-Identifier: Apache-2.0
"""Picture files, read as the arrays that the network sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.datasets.sample import DatasetError
from segmif_ros.frames import Image8
from segmif_ros.recordings.clips import PICTURES
from segmif_ros.thermal import ThermalNormaliser, ThermalSettings

JPEG_NAMES = (".jpg", ".jpeg")
_JPEG_END = b"\xff\xd9"
_TAIL = 65536
"""Some cameras write notes behind the end of a picture."""


def images(folder: Path) -> dict[str, Path]:
    """Return the picture files under a folder, at any depth, by relative path without suffix.

    Raises:
        DatasetError: no such folder, or two pictures of one name.
    """
    if not folder.is_dir():
        raise DatasetError(f"folder {folder} is missing")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in PICTURES and path.is_file():
            name = path.relative_to(folder).with_suffix("").as_posix()
            if name in found:
                raise DatasetError(f"{found[name]} and {path} have one name; which one is meant?")
            found[name] = path
    return found


def read_rgb(path: Path) -> Image8:
    """Read a picture as HxWx3 uint8 RGB.

    Raises:
        DatasetError: missing, or no picture.
    """
    return np.asarray(cv2.cvtColor(_read(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)


def read_grey(path: Path) -> Image8:
    """Read a picture as HxW uint8.

    Raises:
        DatasetError: missing, or no picture.
    """
    return np.asarray(_read(path, cv2.IMREAD_GRAYSCALE), np.uint8)


def read_thermal(path: Path) -> Image8:
    """Read a thermal picture as HxW uint8; 16 bits are rendered by the node's own code.

    Raises:
        DatasetError: missing, or no picture.
    """
    return rendered(_read(path, cv2.IMREAD_ANYDEPTH))


def rendered(thermal: NDArray[Any]) -> Image8:
    """Render one HxW thermal picture of 8 or 16 bits or float as the node does on its first frame.

    8 bits stay as they are.
    """
    if thermal.dtype == np.uint8:
        return thermal
    return ThermalNormaliser(ThermalSettings()).normalise(thermal)


def read_four(path: Path) -> tuple[Image8, Image8]:
    """Read a picture with RGB and, as its fourth channel, thermal.

    Returns:
        HxWx3 uint8 and HxW uint8.

    Raises:
        DatasetError: missing, no picture, or without a fourth channel.
    """
    image = _read(path, cv2.IMREAD_UNCHANGED)
    if image.ndim != 3 or image.shape[2] != 4 or image.dtype != np.uint8:
        raise DatasetError(
            f"{path} is {_shape(image)}, expected four channels of 8 bits: RGB and thermal"
        )
    rgb = cv2.cvtColor(image[..., :3], cv2.COLOR_BGR2RGB)
    return np.asarray(rgb, np.uint8), np.ascontiguousarray(image[..., 3])


def _read(path: Path, how: int) -> NDArray[Any]:
    try:
        image = cv2.imread(str(path), how)
    except cv2.error as err:
        raise DatasetError(f"{path} cannot be read: {str(err).splitlines()[0]}") from err
    if image is None:
        raise DatasetError(f"{path} is missing or no picture")
    if path.suffix.lower() in JPEG_NAMES and not _whole_jpeg(path):
        # The decoder fills the missing part with grey and says nothing.
        raise DatasetError(f"{path} is cut off: a JPEG without its end; copy it again")
    return np.asarray(image)


def _whole_jpeg(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        return _JPEG_END in file.read()


def _shape(image: NDArray[Any]) -> str:
    channels = 1 if image.ndim == 2 else image.shape[2]
    return f"{image.shape[1]}x{image.shape[0]}, {channels} channels of {image.dtype}"
