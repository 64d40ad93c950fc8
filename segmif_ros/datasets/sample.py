# SPDX-License-Identifier: Apache-2.0
"""One registered pair as plain arrays, and how its picture files are read for the network."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.frames import Image8
from segmif_ros.images import pictures
from segmif_ros.images.pictures import PictureError
from segmif_ros.metrics.boxes import Box
from segmif_ros.thermal import ThermalNormaliser, ThermalSettings

IGNORE = 255
"""Id of an unlabelled pixel."""
BACKGROUND = 254
"""Id of a pixel of unknown class that is neither person nor car nor bicycle."""

PERSON, CAR, BICYCLE = 8, 9, 13
"""FMB ids that BACKGROUND excludes."""

POSSIBLE = {PERSON: 1, CAR: 2, BICYCLE: 4}
"""Subtracted from BACKGROUND for each road user that a pixel may be.

254 is none of the three, 253 a person or none, 252 a car or none, ..., 247 excludes none.
"""
VAGUE = BACKGROUND - sum(POSSIBLE.values())
"""Ids from here to BACKGROUND are not classes: they only exclude road users from a pixel."""

When: TypeAlias = Literal["day", "night"]


class DatasetError(ValueError):
    """A data set is missing or invalid; the message has the path."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One registered pair.

    Attributes:
        rgb: HxWx3 uint8.
        thermal: HxW uint8, rendered as the node renders it and scaled onto the RGB picture.
        labels: HxW uint8 ids of one class list, 255 ignore, 254 background; None for pairs without
            labels.
        name: where it came from.
        when: day or night, None if unknown.
        boxes: manual boxes, in ids of the same class list; None without.
        machine_made: the labels are by a network: for training, not for scoring.
        thermal_size: (height, width) of the thermal picture before it was scaled; None if it was
            not.
    """

    rgb: Image8
    thermal: Image8
    labels: Image8 | None
    name: str
    when: When | None = None
    boxes: tuple[Box, ...] | None = None
    machine_made: bool = False
    thermal_size: tuple[int, int] | None = None


Source = Sequence[Callable[[], Sample]]
"""A data set is a list of loaders, so that only what a batch needs is decoded."""


def cached(loaders: Source) -> list[Callable[[], Sample]]:
    """Keep every decoded sample in memory (1.5 MB a VGA pair) after its first use."""
    return [functools.cache(load) for load in loaders]


Read = TypeVar("Read")


def of_dataset(read: Callable[[Path], Read], path: Path) -> Read:
    """Return the result of `read` for a path.

    Raises:
        DatasetError: with the text of its `PictureError`.
    """
    try:
        return read(path)
    except PictureError as err:
        raise DatasetError(str(err)) from err


images = functools.partial(of_dataset, pictures.find_pictures)
"""The picture files under a folder by name, see `pictures.find_pictures`."""
read_rgb = functools.partial(of_dataset, pictures.read_rgb)
"""A picture as HxWx3 uint8 RGB."""
read_grey = functools.partial(of_dataset, pictures.read_grey)
"""A picture as HxW uint8."""


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
