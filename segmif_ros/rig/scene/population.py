# SPDX-License-Identifier: Apache-2.0
"""Plans who moves through a street: vehicles, people, riders; and what is mistaken for them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from segmif_ros.rig.scene.scene import (
    SIDES,
    Building,
    Colour,
    Cycle,
    Furniture,
    Marking,
    Motion,
    Person,
    Scene,
    Street,
    Track,
    Vehicle,
    View,
)

CAR_KINDS = ("sedan", "hatchback", "suv", "van", "truck", "bus")
PAINTS: tuple[Colour, ...] = (
    (226, 226, 224), (70, 70, 72), (34, 33, 33), (168, 166, 160), (116, 112, 106),
    (44, 38, 150), (128, 66, 30), (72, 88, 40), (60, 120, 196), (150, 140, 96), (196, 204, 208),
)  # fmt: skip
CLOTHES: tuple[Colour, ...] = (
    (40, 38, 38), (92, 62, 34), (120, 118, 116), (50, 44, 146), (196, 196, 198), (64, 92, 48),
    (120, 80, 40), (70, 130, 180), (140, 150, 190), (90, 50, 90), (58, 74, 104), (44, 170, 210),
)  # fmt: skip
TROUSERS: tuple[Colour, ...] = (
    (38, 36, 36), (96, 66, 42), (70, 52, 40), (90, 92, 94), (120, 150, 170), (60, 70, 84),
)  # fmt: skip
SKINS: tuple[Colour, ...] = ((150, 180, 222), (120, 152, 200), (84, 112, 160), (52, 74, 112))
HAIRS: tuple[Colour, ...] = ((20, 22, 26), (30, 44, 66), (60, 96, 130), (140, 140, 140))
COMMON = (0.45, 0.3, 0.15, 0.1)
"""How common the skins and hairs are."""
PARKED, AHEAD, ONCOMING, CROSSING = (
    (30, 28, 22, 12, 6, 0), (24, 18, 16, 10, 16, 20), (28, 22, 20, 10, 10, 12),
    (24, 20, 16, 10, 16, 14),
)  # fmt: skip
"""Weights of CAR_KINDS by where they are."""


def _pick(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    b, g, r = colours[int(rng.integers(len(colours)))]
    b, g, r = (float(np.clip(v + rng.normal(0, 7), 8, 245)) for v in (b, g, r))
    return b, g, r


def _vehicle(
    rng: np.random.Generator, track: Track, heading: float, weights: tuple[int, ...]
) -> Vehicle:
    moving = track.motion is not Motion.STILL
    return Vehicle(
        kind=str(rng.choice(CAR_KINDS, p=np.asarray(weights) / sum(weights))),
        track=track,
        heading=heading,
        paint=_pick(rng, PAINTS),
        warmth=float(rng.uniform(0.75, 1.0)) if moving else float(rng.choice([0.0, 0.1, 0.6])),
        lights=moving,
        braking=bool(rng.random() < 0.35),
    )


def plan_vehicles(rng: np.random.Generator, street: Street, view: View) -> tuple[Vehicle, ...]:
    """Return parked cars and the traffic in all directions."""
    return (
        *_parked(rng, street),
        *_ahead(rng, street, view),
        *_oncoming(rng, street),
        *_crossing(rng, street),
    )


def _parked(rng: np.random.Generator, street: Street) -> list[Vehicle]:
    cars = []
    for side in SIDES:
        width = street.parking[side > 0]
        occupied = float(rng.uniform(0.3, 0.95))
        for z in np.arange(rng.uniform(0, 5), street.period_m - 4, 6.6).tolist():
            if width and rng.random() < occupied and street.clear(z, 9.0):
                x = side * (street.kerb(side) - width / 2 + float(rng.normal(0, 0.07)))
                turned = 0.0 if side > 0 or rng.random() < 0.15 else math.pi
                place = Track(x, z + float(rng.normal(0, 0.3)))
                cars.append(_vehicle(rng, place, turned, PARKED))
    return cars


def _ahead(rng: np.random.Generator, street: Street, view: View) -> list[Vehicle]:
    """Vehicles that drive in our direction."""
    lane, cars = street.lane, []
    if not view.driving:
        z = float(rng.uniform(0, 60))
        for _ in range(int(rng.integers(1, 4))):
            with_us = Track(lane * (street.lanes - 0.5), z, 6.0, Motion.ALONG)
            cars.append(_vehicle(rng, with_us, 0.0, ONCOMING))
            z += float(rng.uniform(18, 45))
        return cars
    if rng.random() < 0.62:
        lead = Track(lane * (street.lanes - 0.5), float(rng.uniform(9, 42)), motion=Motion.LEAD,
                     phase=float(rng.random()))  # fmt: skip
        cars.append(_vehicle(rng, lead, 0.0, AHEAD))
    if street.lanes == 2 and rng.random() < 0.5:
        beside = Track(lane * 0.5, float(rng.uniform(8, 40)), motion=Motion.LEAD, phase=0.4)
        cars.append(_vehicle(rng, beside, 0.0, AHEAD))
    return cars


def _oncoming(rng: np.random.Generator, street: Street) -> list[Vehicle]:
    cars = []
    for row in range(street.lanes):
        speed = -float(rng.uniform(4, 10))
        z = float(rng.uniform(0, 50))
        for _ in range(int(rng.integers(1, 5))):
            track = Track(-street.lane * (row + 0.5), z, speed, Motion.ALONG)
            cars.append(_vehicle(rng, track, math.pi, ONCOMING))
            z += float(rng.uniform(16, 38))
    return cars


def _crossing(rng: np.random.Generator, street: Street) -> list[Vehicle]:
    junction = street.junction
    if junction is None or rng.random() > 0.75:
        return []
    cars = []
    for direction in SIDES[: int(rng.integers(1, 3))]:
        across = Track(0.0, junction.z - direction * junction.width / 4,
                       direction * float(rng.uniform(3, 7)), Motion.THROUGH, 48.0,
                       float(rng.random()))  # fmt: skip
        cars.append(_vehicle(rng, across, direction * math.pi / 2, CROSSING))
    return cars


def _person(rng: np.random.Generator, track: Track, heading: float, stride: float) -> Person:
    child = rng.random() < 0.1
    return Person(
        track=track,
        heading=heading,
        height=float(rng.uniform(1.15, 1.5) if child else rng.normal(1.72, 0.08)),
        stride_mps=stride,
        phase=float(rng.random()),
        coat=_pick(rng, CLOTHES),
        trousers=_pick(rng, TROUSERS),
        skin=SKINS[int(rng.choice(4, p=COMMON))],
        hair=HAIRS[int(rng.choice(4, p=COMMON))],
        bag=int(rng.choice([0, 0, 1, 2])),
        build=float(rng.uniform(0.9, 1.18)),
    )


def plan_people(rng: np.random.Generator, street: Street, view: View) -> tuple[Person, ...]:
    """Return people on the sidewalks and on their way across."""
    crowd: list[Person] = []
    for side in SIDES:
        for _ in range(int(rng.integers(2, 10))):
            crowd += _on_sidewalk(rng, street, view, side)
    return (*crowd, *_across(rng, street))


def _on_sidewalk(rng: np.random.Generator, street: Street, view: View, side: int) -> list[Person]:
    """Return no person, one, or two who walk together."""
    inner, outer = street.walk(side)
    x = side * float(rng.uniform(inner + 0.35, outer - 0.35))
    # Half of them near the start: what is far away is a few pixels high.
    z = float(rng.uniform(5, 36) if rng.random() < 0.5 else rng.uniform(36, street.period_m * 0.75))
    if not view.driving and abs(x - view.x) < 1.2 and z < 12:
        return []
    if rng.random() < 0.25:
        return [_person(rng, Track(x, z), float(rng.uniform(-math.pi, math.pi)), 0.0)]
    speed = float(rng.choice([-1.0, 1.0]) * rng.uniform(0.8, 1.6))
    heading = 0.0 if speed > 0 else math.pi
    walkers = [_person(rng, Track(x, z, speed, Motion.ALONG), heading, abs(speed))]
    if rng.random() < 0.3:
        inwards = -side if abs(x) > (inner + outer) / 2 else side
        beside = Track(x + 0.55 * inwards, z, speed, Motion.ALONG)
        walkers.append(_person(rng, beside, heading, abs(speed)))
    return walkers


def _across(rng: np.random.Generator, street: Street) -> list[Person]:
    spots = []
    if street.junction is not None:
        reach = street.junction.width / 2 + 2.4
        spots = [street.junction.z - reach, street.junction.z + reach]
    if rng.random() < 0.6:
        spots.append(float(rng.uniform(10, 34)))
    crowd = []
    half = (street.kerb(-1) + street.kerb(1)) / 2 + 1.2
    middle = (street.kerb(1) - street.kerb(-1)) / 2
    for spot in spots:
        for _ in range(int(rng.integers(0, 4))):
            speed, z = float(rng.uniform(0.9, 1.5)), spot + float(rng.uniform(-1.1, 1.1))
            track = Track(middle, z, speed, Motion.ACROSS, half, float(rng.random()))
            crowd.append(_person(rng, track, math.pi / 2, speed))
    return crowd


def plan_cycles(
    rng: np.random.Generator, street: Street, view: View, vehicles: tuple[Vehicle, ...]
) -> tuple[Cycle, ...]:
    """Return ridden and parked bicycles and motorcycles; they keep clear of what drives ahead."""
    cycles: list[Cycle] = []
    edge = street.lane * street.lanes - 0.7
    if rng.random() < 0.75:
        for _ in range(int(rng.integers(1, 3))):
            cycles.append(_ridden(rng, "bicycle", edge, view))
    if street.junction is not None and rng.random() < 0.4:
        z = street.junction.z - street.junction.width / 2 - 2.4
        track = Track(0.0, z, 3.4, Motion.THROUGH, 30.0, float(rng.random()))
        cycles.append(_mounted(rng, "bicycle", track, math.pi / 2))
    if rng.random() < 0.75:
        cycles.append(_ridden(rng, "motorcycle", edge - 0.9, view))
    taken = [v.track for v in vehicles if v.track.motion is Motion.LEAD]
    cycles = [
        c for c in cycles
        if c.track.motion is not Motion.LEAD or all(_apart(c.track, other) for other in taken)
    ]  # fmt: skip
    for kind, chance, most in (("bicycle", 0.6, 7), ("motorcycle", 0.55, 4)):
        if rng.random() < chance:
            cycles += _rack(rng, street, view, kind, int(rng.integers(2, most)))
    return tuple(cycles)


def _apart(a: Track, b: Track) -> bool:
    return abs(a.x - b.x) > 1.7 or abs(a.z - b.z) > 9.0


def _mounted(rng: np.random.Generator, kind: str, track: Track, heading: float) -> Cycle:
    person = _person(rng, track, heading, 0.0)
    person = replace(person, height=max(person.height, 1.55), bag=int(rng.choice([0, 1])))
    return Cycle(kind, track, heading, _pick(rng, PAINTS), person, 0.9)


def _ridden(rng: np.random.Generator, kind: str, x: float, view: View) -> Cycle:
    if view.driving and rng.random() < 0.7:
        z = float(rng.uniform(7, 22))
        ahead = Track(x, z, motion=Motion.LEAD, phase=float(rng.random()))
        return _mounted(rng, kind, ahead, 0.0)
    speed = -4.2 if kind == "bicycle" else -8.0
    return _mounted(rng, kind, Track(-x, float(rng.uniform(0, 120)), speed, Motion.ALONG), math.pi)


def _rack(
    rng: np.random.Generator, street: Street, view: View, kind: str, count: int
) -> list[Cycle]:
    side = int(rng.choice(SIDES))
    z = float(rng.uniform(7, 30))
    if not street.clear(z, 6.0, 5.0):
        return []
    x = side * (street.walk(side)[0] + 0.7)
    if not view.driving and abs(x - view.x) < 2.0:
        z += 8.0
    spacing = 0.62 if kind == "bicycle" else 0.95
    return [
        Cycle(kind, Track(x, z + index * spacing), math.pi / 2 + float(rng.normal(0, 0.12)),
              _pick(rng, PAINTS), None, 0.0)
        for index in range(count)
    ]  # fmt: skip


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
