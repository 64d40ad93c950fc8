# SPDX-License-Identifier: Apache-2.0
"""Picture files, read as the arrays for the network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.datasets.sample import DatasetError
from segmif_ros.frames import Image8
from segmif_ros.images import pictures
from segmif_ros.images.pictures import PictureError
from segmif_ros.thermal import ThermalNormaliser, ThermalSettings

Read = TypeVar("Read")


def images(folder: Path) -> dict[str, Path]:
    """Return the picture files under a folder, see `pictures.find_pictures`.

    Raises:
        DatasetError: no such folder, or two pictures of one name.
    """
    return of_dataset(pictures.find_pictures, folder)


def read_rgb(path: Path) -> Image8:
    """Read a picture as HxWx3 uint8 RGB.

    Raises:
        DatasetError: missing, or no picture.
    """
    return of_dataset(pictures.read_rgb, path)


def read_grey(path: Path) -> Image8:
    """Read a picture as HxW uint8.

    Raises:
        DatasetError: missing, or no picture.
    """
    return of_dataset(pictures.read_grey, path)


def read_thermal(path: Path) -> Image8:
    """Read a thermal picture as HxW uint8; 16 bits and floats are rendered by the node's own code.

    Raises:
        DatasetError: missing, or no thermal picture.
    """
    return rendered(of_dataset(pictures.read_thermal, path))


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
    image = of_dataset(pictures.read_unchanged, path)
    if image.ndim != 3 or image.shape[2] != 4 or image.dtype != np.uint8:
        channels = 1 if image.ndim == 2 else image.shape[2]
        raise DatasetError(
            f"{path} is {image.shape[1]}x{image.shape[0]}, {channels} channels of {image.dtype}, "
            "expected four channels of 8 bits: RGB and thermal"
        )
    rgb = cv2.cvtColor(image[..., :3], cv2.COLOR_BGR2RGB)
    return np.asarray(rgb, np.uint8), np.ascontiguousarray(image[..., 3])


def of_dataset(read: Callable[[Path], Read], path: Path) -> Read:
    """Return what `read` makes of a path.

    Raises:
        DatasetError: with the text of its `PictureError`.
    """
    try:
        return read(path)
    except PictureError as err:
        raise DatasetError(str(err)) from err
