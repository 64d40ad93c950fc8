# SPDX-License-Identifier: Apache-2.0
"""Plans a street from a seed: widths, houses, plants, traffic, people, and where the rig stands."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from segmif_ros.rig.scene import (
    Building,
    Colour,
    Conditions,
    Cycle,
    Furniture,
    Junction,
    Motion,
    Person,
    Plant,
    Scene,
    Street,
    Track,
    Vehicle,
    View,
)

PERIOD_M = 163.84
SIDES = (-1, 1)
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
WALLS: dict[str, tuple[Colour, ...]] = {
    "brick": ((62, 80, 142), (74, 92, 150), (60, 66, 112), (96, 116, 158)),
    "plaster": (
        (186, 206, 218),
        (160, 190, 214),
        (200, 204, 202),
        (150, 176, 176),
        (172, 186, 224),
    ),
    "concrete": ((158, 164, 166), (134, 140, 144), (176, 176, 172)),
    "glass": ((128, 112, 92), (110, 104, 92), (140, 126, 100)),
}


def plan(seed: int) -> Scene:
    """Return the scene of `seed`."""
    rng = np.random.default_rng([41, seed])
    street = _street(rng)
    view = _view(rng, street)
    speed = 0.0 if not view.driving or rng.random() < 0.2 else float(rng.uniform(2.5, 9.0))
    conditions = Conditions(
        air_kelvin=float(rng.uniform(271.0, 300.0)),
        cloud=float(rng.beta(0.8, 0.9)),
        sun_azimuth=float(rng.uniform(-math.pi, math.pi)),
        sun_elevation=float(rng.uniform(0.45, 1.05)),
        autumn=float(rng.choice([0.0, 0.0, 0.25, 0.7, 1.0])),
    )
    park_side = int(rng.choice([0, 0, 0, -1, 1]))
    return Scene(
        seed=seed,
        street=street,
        view=view,
        conditions=conditions,
        ego_speed=speed,
        buildings=_buildings(rng, street, park_side),
        plants=_plants(rng, street, park_side, conditions.autumn),
        vehicles=_vehicles(rng, street, view),
        people=_people(rng, street, view),
        cycles=_cycles(rng, street, view),
        furniture=_furniture(rng, street),
    )


def _street(rng: np.random.Generator) -> Street:
    lanes = int(rng.choice([1, 1, 1, 2]))
    junction = None
    if rng.random() < 0.65:
        width = float(rng.uniform(7.0, 11.0))
        junction = Junction(float(rng.uniform(24.0, 70.0)), width, bool(rng.random() < 0.75))

    def pair(chance: float, low: float, high: float) -> tuple[float, float]:
        left, right = (float(rng.uniform(low, high)) * (rng.random() < chance) for _ in SIDES)
        return left, right

    return Street(
        lane=float(rng.uniform(3.1, 3.7)),
        lanes=lanes,
        parking=pair(0.6, 2.2, 2.5),
        verge=pair(0.4, 1.2, 2.6),
        sidewalk=(float(rng.uniform(1.9, 3.8)), float(rng.uniform(1.9, 3.8))),
        garden=pair(0.35, 2.0, 5.0),
        period_m=PERIOD_M,
        junction=junction,
        wear=float(rng.uniform(0.25, 1.0)),
    )


def _view(rng: np.random.Generator, street: Street) -> View:
    if rng.random() < 0.75:
        return View(
            x=street.lane * (street.lanes - 0.5) + float(rng.normal(0, 0.25)),
            height=float(rng.uniform(1.35, 1.9)),
            yaw=float(rng.normal(0, 0.05)),
            pitch=float(rng.uniform(0.0, 0.07)),
            driving=True,
        )
    side = int(rng.choice(SIDES))
    inner, outer = street.walk(side)
    return View(
        x=side * float(rng.uniform(inner + 0.3, outer - 0.4)),
        height=float(rng.uniform(1.5, 2.3)),
        yaw=-side * float(rng.uniform(0.06, 0.4)),
        pitch=float(rng.uniform(0.0, 0.1)),
        driving=False,
    )


def _clear_of_junction(street: Street, z: float, margin: float, length: float = 0.0) -> bool:
    junction = street.junction
    if junction is None:
        return True
    reach = junction.width / 2 + margin
    return z + length < junction.z - reach or z > junction.z + reach


def _buildings(rng: np.random.Generator, street: Street, park_side: int) -> tuple[Building, ...]:
    rows = []
    for side in SIDES:
        if side == park_side:
            continue
        z = float(rng.uniform(0, 4))
        while z < PERIOD_M - 8:
            length = min(float(rng.uniform(9, 24)), PERIOD_M - z)
            if not _clear_of_junction(street, z, 3.2, length):
                z += 2.0
                continue
            style = str(rng.choice(list(WALLS), p=[0.34, 0.38, 0.2, 0.08]))
            colours = WALLS[style]
            floors = int(rng.integers(2, 8)) if style != "plaster" else int(rng.integers(1, 5))
            rows.append(
                Building(
                    side=side,
                    x=street.frontage(side) + float(rng.choice([0.0, 0.0, 0.6, 1.5])),
                    z=z,
                    length=length,
                    depth=float(rng.uniform(8, 14)),
                    floors=floors,
                    floor_m=float(rng.uniform(2.9, 3.6)),
                    bay_m=float(rng.uniform(2.2, 3.6)),
                    style=style,
                    colour=colours[int(rng.integers(len(colours)))],
                    gable=floors <= 3 and bool(rng.random() < 0.7),
                    shop=street.garden[side > 0] == 0 and bool(rng.random() < 0.5),
                    seed=int(rng.integers(1 << 30)),
                )
            )
            z += length + float(rng.choice([0.0, 0.0, 0.0, 2.5, 7.0]))
    return tuple(rows)


def _plants(
    rng: np.random.Generator, street: Street, park_side: int, autumn: float
) -> tuple[Plant, ...]:
    plants: list[Plant] = []

    def tree(x: float, z: float, low: float, high: float) -> None:
        height = float(rng.uniform(low, high))
        variant = int(rng.choice(6, p=[0.25, 0.23, 0.22, 0.14, 0.1, 0.06]))
        width = height * (0.45 if variant == 4 else float(rng.uniform(0.75, 1.0)))
        tint = int(rng.integers(3, 6)) if rng.random() < autumn else int(rng.integers(0, 3))
        plants.append(
            Plant("tree", x, z, height, width, variant, tint, flip=bool(rng.random() < 0.5))
        )

    for side in SIDES:
        inner, outer = street.walk(side)
        if rng.random() < 0.65:
            spacing = float(rng.uniform(9, 18))
            x = side * (street.kerb(side) + max(street.verge[side > 0] / 2, 0.55))
            for z in np.arange(rng.uniform(0, spacing), PERIOD_M - 3, spacing):
                if _clear_of_junction(street, float(z), 5.0):
                    tree(x, float(z + rng.normal(0, 0.8)), 4.5, 9.0)
        garden = street.garden[side > 0]
        if garden > 0 or side == park_side:
            for z in np.arange(rng.uniform(0, 6), PERIOD_M - 10, rng.uniform(7, 12)):
                if not _clear_of_junction(street, float(z), 4.0, 8.0):
                    continue
                tint = int(rng.integers(0, 3))
                if rng.random() < 0.55:
                    height = float(rng.uniform(0.8, 1.7))
                    plants.append(
                        Plant("hedge", side * (outer + 0.4), float(z), height, 0.8, 0, tint,
                              length=float(rng.uniform(4, 8)))
                    )  # fmt: skip
                else:
                    size = float(rng.uniform(0.9, 2.2))
                    plants.append(
                        Plant("bush", side * (outer + 0.9), float(z), size, size * 1.3, 0, tint)
                    )
        if side == park_side:
            for _ in range(30):
                x = side * (outer + float(rng.uniform(2.5, 40.0)))
                z = float(rng.uniform(0, PERIOD_M))
                if _clear_of_junction(street, z, 5.0):
                    tree(x, z, 6.0, 15.0)
        else:
            for _ in range(4):
                x, z = side * (street.frontage(side) + 16.0), float(rng.uniform(0, PERIOD_M))
                if _clear_of_junction(street, z, 6.0):
                    tree(x, z, 9.0, 15.0)
    return tuple(plants)


def _pick(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    b, g, r = colours[int(rng.integers(len(colours)))]
    b, g, r = (float(np.clip(v + rng.normal(0, 7), 8, 245)) for v in (b, g, r))
    return b, g, r


def _vehicle(
    rng: np.random.Generator, track: Track, heading: float, weights: tuple[float, ...]
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


def _vehicles(rng: np.random.Generator, street: Street, view: View) -> tuple[Vehicle, ...]:
    fleet: list[Vehicle] = []
    for side in SIDES:
        width = street.parking[side > 0]
        occupied = float(rng.uniform(0.3, 0.95))
        for z in np.arange(rng.uniform(0, 5), PERIOD_M - 4, 6.6):
            if width and rng.random() < occupied and _clear_of_junction(street, float(z), 9.0):
                spot = side * (street.kerb(side) - width / 2 + float(rng.normal(0, 0.07)))
                place = Track(spot, float(z + rng.normal(0, 0.3)))
                turned = 0.0 if side > 0 or rng.random() < 0.15 else math.pi
                fleet.append(_vehicle(rng, place, turned, (30, 28, 22, 12, 6, 0)))
    lane = street.lane
    if view.driving and rng.random() < 0.62:
        lead = Track(lane * (street.lanes - 0.5), float(rng.uniform(9, 42)), motion=Motion.LEAD,
                     phase=float(rng.random()))  # fmt: skip
        fleet.append(_vehicle(rng, lead, 0.0, (26, 20, 18, 10, 18, 14)))
    if view.driving and street.lanes == 2 and rng.random() < 0.5:
        other = Track(lane * 0.5, float(rng.uniform(8, 40)), motion=Motion.LEAD, phase=0.4)
        fleet.append(_vehicle(rng, other, 0.0, (26, 20, 18, 10, 18, 14)))
    for row in range(street.lanes):
        count = int(rng.integers(1, 5))
        speed = -float(rng.uniform(4, 10))
        starts = np.sort(rng.uniform(0, PERIOD_M, count)) + np.arange(count) * 1.5
        for z in starts:
            oncoming = Track(-lane * (row + 0.5), float(z), speed, Motion.ALONG)
            if not fleet or all(_apart(oncoming, v.track) for v in fleet):
                fleet.append(_vehicle(rng, oncoming, math.pi, (28, 22, 20, 10, 11, 9)))
    if not view.driving:
        for z in rng.uniform(0, PERIOD_M, int(rng.integers(2, 5))):
            with_us = Track(lane * (street.lanes - 0.5), float(z), 6.0, Motion.ALONG)
            if all(_apart(with_us, v.track) for v in fleet):
                fleet.append(_vehicle(rng, with_us, 0.0, (28, 22, 20, 10, 11, 9)))
    if street.junction is not None and rng.random() < 0.75:
        for direction in SIDES[: int(rng.integers(1, 3))]:
            across = Track(0.0, street.junction.z - direction * street.junction.width / 4,
                           direction * float(rng.uniform(3, 7)), Motion.THROUGH, 48.0,
                           float(rng.random()))  # fmt: skip
            fleet.append(_vehicle(rng, across, direction * math.pi / 2, (24, 20, 16, 10, 16, 14)))
    return tuple(fleet)


def _apart(a: Track, b: Track) -> bool:
    return abs(a.x - b.x) > 1.5 or a.motion is not b.motion or abs(a.z - b.z) > 15.0


def _person(rng: np.random.Generator, track: Track, heading: float, stride: float) -> Person:
    skin = SKINS[int(rng.choice(4, p=[0.45, 0.3, 0.15, 0.1]))]
    hair: tuple[Colour, ...] = ((20, 22, 26), (30, 44, 66), (60, 96, 130), (140, 140, 140))
    child = rng.random() < 0.1
    return Person(
        track=track,
        heading=heading,
        height=float(rng.uniform(1.15, 1.5) if child else rng.normal(1.72, 0.08)),
        stride_mps=stride,
        phase=float(rng.random()),
        coat=_pick(rng, CLOTHES),
        trousers=_pick(rng, TROUSERS),
        skin=skin,
        hair=hair[int(rng.choice(4, p=[0.45, 0.3, 0.15, 0.1]))],
        bag=int(rng.choice([0, 0, 1, 2])),
        build=float(rng.uniform(0.9, 1.18)),
    )


def _people(rng: np.random.Generator, street: Street, view: View) -> tuple[Person, ...]:
    crowd: list[Person] = []
    for side in SIDES:
        inner, outer = street.walk(side)
        for _ in range(int(rng.integers(2, 10))):
            x = side * float(rng.uniform(inner + 0.35, outer - 0.35))
            z = float(rng.uniform(4, PERIOD_M * 0.75))
            if not view.driving and abs(x - view.x) < 1.2 and z < 12:
                continue
            if rng.random() < 0.25:
                spot = Track(x, z)
                crowd.append(_person(rng, spot, float(rng.uniform(-math.pi, math.pi)), 0.0))
                continue
            speed = float(rng.choice([-1.0, 1.0]) * rng.uniform(0.8, 1.6))
            heading = 0.0 if speed > 0 else math.pi
            walker = _person(rng, Track(x, z, speed, Motion.ALONG), heading, abs(speed))
            crowd.append(walker)
            if rng.random() < 0.3:
                beside = replace(walker.track, x=x + 0.55 * (1 if x < side * outer - 1 else -1))
                crowd.append(_person(rng, beside, heading, abs(speed)))
    spots = [] if street.junction is None else [
        street.junction.z + s * (street.junction.width / 2 + 2.4) for s in SIDES
    ]  # fmt: skip
    if rng.random() < 0.6:
        spots.append(float(rng.uniform(10, 34)))
    for z in spots:
        for _ in range(int(rng.integers(0, 4))):
            reach = (street.kerb(-1) + street.kerb(1)) / 2 + 1.2
            middle = (street.kerb(1) - street.kerb(-1)) / 2
            speed = float(rng.uniform(0.9, 1.5))
            track = Track(middle, z + float(rng.uniform(-1.1, 1.1)), speed, Motion.ACROSS, reach,
                          float(rng.random()))  # fmt: skip
            crowd.append(_person(rng, track, math.pi / 2, speed))
    return tuple(crowd)


def _cycles(rng: np.random.Generator, street: Street, view: View) -> tuple[Cycle, ...]:
    cycles: list[Cycle] = []

    def ride(kind: str, track: Track, heading: float) -> None:
        rider = _person(rng, track, heading, 0.0)
        rider = replace(rider, height=max(rider.height, 1.55), bag=int(rng.choice([0, 1])))
        cycles.append(Cycle(kind, track, heading, _pick(rng, PAINTS), rider, 0.9))

    edge = street.lane * street.lanes - 0.7
    if rng.random() < 0.6:
        for _ in range(int(rng.integers(1, 3))):
            if rng.random() < 0.5 and view.driving:
                ride("bicycle", Track(edge, float(rng.uniform(8, 30)), motion=Motion.LEAD,
                                      phase=float(rng.random())), 0.0)  # fmt: skip
            else:
                ride("bicycle", Track(-edge, float(rng.uniform(0, 120)), -4.2, Motion.ALONG),
                     math.pi)  # fmt: skip
    if street.junction is not None and rng.random() < 0.4:
        z = street.junction.z - street.junction.width / 2 - 2.4
        ride("bicycle", Track(0.0, z, 3.4, Motion.THROUGH, 30.0, float(rng.random())), math.pi / 2)
    if rng.random() < 0.55:
        if rng.random() < 0.6 and view.driving:
            ride("motorcycle", Track(edge - 0.9, float(rng.uniform(8, 28)), motion=Motion.LEAD,
                                     phase=float(rng.random())), 0.0)  # fmt: skip
        else:
            ride("motorcycle", Track(-edge + 0.9, float(rng.uniform(0, 120)), -8.0, Motion.ALONG),
                 math.pi)  # fmt: skip
    for kind, chance, most in (("bicycle", 0.6, 7), ("motorcycle", 0.4, 3)):
        if rng.random() > chance:
            continue
        side = int(rng.choice(SIDES))
        z = float(rng.uniform(7, 40))
        if not _clear_of_junction(street, z, 6.0, 5.0):
            continue
        x = side * (street.walk(side)[0] + 0.7)
        if not view.driving and abs(x - view.x) < 2.0:
            z += 8.0
        for index in range(int(rng.integers(2, most))):
            lean = math.pi / 2 + float(rng.normal(0, 0.12))
            spot = Track(x, z + index * (0.62 if kind == "bicycle" else 0.95))
            cycles.append(Cycle(kind, spot, lean, _pick(rng, PAINTS), None, 0.0))
    return tuple(cycles)


def _furniture(rng: np.random.Generator, street: Street) -> tuple[Furniture, ...]:
    things: list[Furniture] = []
    lamp_sides = [(-1,), (1,), (-1, 1)][int(rng.integers(3))]
    lamp_height = float(rng.uniform(5.5, 8.5))
    for side in SIDES:
        x = side * (street.kerb(side) + 0.45)
        if side in lamp_sides:
            for z in np.arange(rng.uniform(6, 20), PERIOD_M - 4, rng.uniform(24, 34)):
                if _clear_of_junction(street, float(z), 1.5):
                    things.append(Furniture("lamp", x, float(z), lamp_height, -1, 0))
        for z in np.arange(rng.uniform(6, 16), PERIOD_M - 4, rng.uniform(15, 34)):
            if _clear_of_junction(street, float(z), 2.0):
                height = float(rng.uniform(2.2, 2.9))
                facing = -1 if side > 0 or rng.random() < 0.4 else 1
                things.append(
                    Furniture("sign", x, float(z + rng.normal(0, 2)), height, facing,
                              int(rng.integers(8)))
                )  # fmt: skip
        if rng.random() < 0.3:
            for z in np.arange(rng.uniform(10, 30), PERIOD_M - 4, 38.0):
                things.append(Furniture("pole", x + side * 0.4, float(z), 8.0, -1, 0))
        if rng.random() < 0.25:
            start = float(rng.uniform(6, 40))
            for z in np.arange(start, start + 14, 1.8):
                if _clear_of_junction(street, float(z), 1.0):
                    things.append(Furniture("bollard", x, float(z), 0.95, -1, 0))
    junction = street.junction
    if junction is not None and junction.signals:
        for side in SIDES:
            x = side * (street.kerb(side) + 0.6)
            near = junction.z - junction.width / 2 - 4.6
            far = junction.z + junction.width / 2 + 1.0
            arm = int(rng.random() < 0.4)
            things.append(Furniture("signal", x, near, 3.2, -1 if side > 0 else 1, 0))
            things.append(Furniture("signal", x, far, 5.2 if arm else 3.2, -1, arm))
    elif junction is None and rng.random() < 0.5:
        z = float(rng.uniform(14, 40))
        for side in SIDES:
            things.append(Furniture("signal", side * (street.kerb(side) + 0.6), z, 3.2, -1, 0))
    return tuple(things)
