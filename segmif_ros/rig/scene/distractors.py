# SPDX-License-Identifier: Apache-2.0
"""Puts into a street what networks mistake for people and cars, as counterexamples."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from segmif_ros.rig.scene.scene import SIDES, Building, Colour, Furniture, Marking, Scene, Street

BLANK = "blank"
"""Style of a house without windows: a hall, a hoarding, a painted wall."""

_PAINT: tuple[Colour, ...] = (
    (206, 212, 214), (206, 212, 214), (40, 190, 235), (60, 60, 190), (180, 110, 60), (80, 140, 70),
)  # fmt: skip
"""White twice as often as yellow, red, blue and green."""
_OBJECTS = ("bollard", "bollard", "cone", "cabinet")
_NEAREST_M, _FARTHEST_M = 4.0, 45.0


def with_distractors(scene: Scene) -> Scene:
    """Return the same street with smooth walls, hot and dark bollards, cones, cabinets and paint.

    Every second house loses its windows; 4 to 12 objects stand on the sidewalks and at the edges
    of the road, some as warm as people or warmer; 5 to 14 markings of any colour lie on the road.
    """
    rng = np.random.default_rng([49, scene.seed])
    return replace(
        scene,
        buildings=tuple(_house(house, rng) for house in scene.buildings),
        furniture=(*scene.furniture, *_objects(scene.street, rng)),
        markings=_markings(scene.street, rng),
    )


def _house(house: Building, rng: np.random.Generator) -> Building:
    blank, pale = rng.random() < 0.5, rng.random() < 0.5
    low, high = (150.0, 235.0) if pale else (30.0, 190.0)
    blue, green, red = (float(value) for value in rng.uniform(low, high, 3))
    return replace(house, style=BLANK, colour=(blue, green, red), shop=False) if blank else house


def _objects(street: Street, rng: np.random.Generator) -> list[Furniture]:
    found = []
    for _ in range(int(rng.integers(4, 13))):
        kind = _OBJECTS[int(rng.integers(len(_OBJECTS)))]
        side = int(rng.choice(SIDES))
        edge = street.kerb(side)
        x = (
            edge - rng.uniform(0.2, 1.0)
            if kind == "cone"
            else rng.uniform(edge, street.walk(side)[1])
        )
        z = math.exp(rng.uniform(math.log(_NEAREST_M), math.log(_FARTHEST_M)))
        height = {"bollard": rng.uniform(0.6, 1.3), "cone": 0.75, "cabinet": rng.uniform(0.9, 1.7)}
        warmth = int(rng.choice((0, 0, 4, 10, 18)))
        found.append(Furniture(kind, side * float(x), z, float(height[kind]), -1, warmth))
    return found


def _markings(street: Street, rng: np.random.Generator) -> tuple[Marking, ...]:
    left, right = street.kerb(-1), street.kerb(1)
    found = []
    for _ in range(int(rng.integers(5, 15))):
        wide = rng.random() < 0.3
        width, length = (
            rng.uniform(1.5, 3.2) if wide else rng.uniform(0.1, 0.5),
            rng.uniform(0.4, 6.0),
        )
        x, z = rng.uniform(-left, right - width), rng.uniform(2.0, 40.0)
        colour = _PAINT[int(rng.integers(len(_PAINT)))]
        lean = rng.uniform(-1.5, 1.5) if rng.random() < 0.4 else 0.0
        found.append(Marking(float(x), float(z), float(width), float(length), float(lean), colour))
    return tuple(found)
