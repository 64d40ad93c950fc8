# SPDX-License-Identifier: Apache-2.0
"""One registered pair as plain arrays, and what a data set is: a list of loaders."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from segmif_ros.frames import Image8

IGNORE = 255
"""Nothing is known about this pixel."""
BACKGROUND = 254
"""Known to be neither person nor car nor bicycle, otherwise unknown."""

PERSON, CAR, BICYCLE = 8, 9, 13
"""FMB ids of what BACKGROUND is not."""


class DatasetError(ValueError):
    """A data set is not where or what the recipe says; the message names the path."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One registered pair.

    Attributes:
        rgb: HxWx3 uint8.
        thermal: HxW uint8.
        labels: HxW uint8 FMB ids, 255 ignore, 254 background; None for pairs without labels.
        name: where it came from.
    """

    rgb: Image8
    thermal: Image8
    labels: Image8 | None
    name: str


Source = Sequence[Callable[[], Sample]]
"""A data set is a list of loaders, so that only what a batch needs is decoded."""


def cached(loaders: Sequence[Callable[[], Sample]]) -> list[Callable[[], Sample]]:
    """Keep every decoded sample in memory (1.5 MB a VGA pair) after its first use."""
    return [functools.cache(load) for load in loaders]
