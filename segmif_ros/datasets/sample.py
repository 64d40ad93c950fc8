# SPDX-License-Identifier: Apache-2.0
"""One registered pair as plain arrays, and what a data set is: a list of loaders."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from segmif_ros.frames import Image8
from segmif_ros.metrics.boxes import Box

IGNORE = 255
"""Nothing is known about this pixel."""
BACKGROUND = 254
"""Known to be neither person nor car nor bicycle, otherwise unknown."""

PERSON, CAR, BICYCLE = 8, 9, 13
"""FMB ids of what BACKGROUND is not."""

POSSIBLE = {PERSON: 1, CAR: 2, BICYCLE: 4}
"""What is subtracted from BACKGROUND for each road user that a pixel may be after all.

254 is none of the three, 253 a person or none, 252 a car or none, ..., 247 excludes none.
"""
VAGUE = BACKGROUND - sum(POSSIBLE.values())
"""Ids from here to BACKGROUND are no classes: they only exclude road users from a pixel."""

When: TypeAlias = Literal["day", "night"]


class DatasetError(ValueError):
    """A data set is not where or what the recipe names; the message has the path."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One registered pair.

    Attributes:
        rgb: HxWx3 uint8.
        thermal: HxW uint8, rendered as the node renders it and scaled onto the RGB picture.
        labels: HxW uint8 ids of one class list, 255 ignore, 254 background; None for pairs without
            labels.
        name: where it came from.
        when: day or night, None where the data set does not say.
        boxes: drawn by people, in ids of the same class list; None where there are none.
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
