# SPDX-License-Identifier: Apache-2.0
"""Plans a street from a seed: widths, weather, where the rig stands, and everything else."""

from __future__ import annotations

import math

import numpy as np

from segmif_ros.rig.scene.population import plan_cycles, plan_people, plan_vehicles
from segmif_ros.rig.scene.scene import (
    SIDES,
    Building,
    Colour,
    Conditions,
    Furniture,
    Junction,
    Plant,
    Scene,
    Street,
    View,
)

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
LIKELY_WALLS = (0.34, 0.38, 0.2, 0.08)


def plan_buildings(
    rng: np.random.Generator, street: Street, park_side: int
) -> tuple[Building, ...]:
    """Return rows of houses on both sides, none on `park_side`."""
    rows = []
    for side in SIDES:
        z = float(rng.uniform(0, 4))
        while side != park_side and z < street.period_m - 8:
            length = min(float(rng.uniform(9, 24)), street.period_m - z)
            if not street.clear(z, 3.2, length):
                z += 2.0
                continue
            rows.append(_building(rng, street, side, z, length))
            z += length + float(rng.choice([0.0, 0.0, 0.0, 2.5, 7.0]))
    return tuple(rows)


def _building(
    rng: np.random.Generator, street: Street, side: int, z: float, length: float
) -> Building:
    style = str(rng.choice(list(WALLS), p=LIKELY_WALLS))
    colours = WALLS[style]
    floors = int(rng.integers(2, 8)) if style != "plaster" else int(rng.integers(1, 5))
    return Building(
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


def plan_plants(
    rng: np.random.Generator, street: Street, park_side: int, autumn: float
) -> tuple[Plant, ...]:
    """Return avenue trees, gardens, the park, and trees that look over the roofs."""
    plants: list[Plant] = []
    for side in SIDES:
        if rng.random() < 0.65:
            spacing = float(rng.uniform(9, 18))
            x = side * (street.kerb(side) + max(street.verge[side > 0] / 2, 0.55))
            for z in np.arange(rng.uniform(0, spacing), street.period_m - 3, spacing).tolist():
                if street.clear(z, 5.0):
                    plants.append(_tree(rng, x, z + float(rng.normal(0, 0.8)), (4.5, 9.0), autumn))
        if street.garden[side > 0] > 0 or side == park_side:
            plants += _garden(rng, street, side)
        if side == park_side:
            plants += _park(rng, street, side, autumn)
        else:
            x = side * (street.frontage(side) + 16.0)
            for z in rng.uniform(0, street.period_m, 4).tolist():
                if street.clear(z, 6.0):
                    plants.append(_tree(rng, x, z, (9.0, 15.0), autumn))
    return tuple(plants)


def _tree(
    rng: np.random.Generator, x: float, z: float, heights: tuple[float, float], autumn: float
) -> Plant:
    height = float(rng.uniform(*heights))
    variant = int(rng.choice(6, p=[0.25, 0.23, 0.22, 0.14, 0.1, 0.06]))
    width = height * (0.45 if variant == 4 else float(rng.uniform(0.75, 1.0)))
    tint = int(rng.integers(3, 6)) if rng.random() < autumn else int(rng.integers(0, 3))
    return Plant("tree", x, z, height, width, variant, tint, flip=bool(rng.random() < 0.5))


def _garden(rng: np.random.Generator, street: Street, side: int) -> list[Plant]:
    plants: list[Plant] = []
    outer = street.walk(side)[1]
    spacing = rng.uniform(7, 12)
    for z in np.arange(rng.uniform(0, 6), street.period_m - 10, spacing).tolist():
        if not street.clear(z, 4.0, 8.0):
            continue
        tint = int(rng.integers(0, 3))
        if rng.random() < 0.55:
            height, length = float(rng.uniform(0.8, 1.7)), float(rng.uniform(4, 8))
            x = side * (outer + 0.4)
            plants.append(Plant("hedge", x, z, height, 0.8, 0, tint, length=length))
        else:
            size = float(rng.uniform(0.9, 2.2))
            plants.append(Plant("bush", side * (outer + 0.9), z, size, size * 1.3, 0, tint))
    return plants


def _park(rng: np.random.Generator, street: Street, side: int, autumn: float) -> list[Plant]:
    plants: list[Plant] = []
    outer = street.walk(side)[1]
    for _ in range(30):
        x, z = (
            side * (outer + float(rng.uniform(2.5, 40.0))),
            float(rng.uniform(0, street.period_m)),
        )
        if street.clear(z, 5.0):
            plants.append(_tree(rng, x, z, (6.0, 15.0), autumn))
    return plants


def plan_furniture(rng: np.random.Generator, street: Street) -> tuple[Furniture, ...]:
    """Return lamps, signs, poles, bollards and signals."""
    lamp_sides = [(-1,), (1,), (-1, 1)][int(rng.integers(3))]
    lamp_height = float(rng.uniform(5.5, 8.5))
    things: list[Furniture] = []
    for side in SIDES:
        x = side * (street.kerb(side) + 0.45)
        end = street.period_m - 4
        if side in lamp_sides:
            for z in np.arange(rng.uniform(6, 20), end, rng.uniform(24, 34)).tolist():
                if street.clear(z, 1.5):
                    things.append(Furniture("lamp", x, z, lamp_height, -1, 0))
        for z in np.arange(rng.uniform(6, 16), end, rng.uniform(15, 34)).tolist():
            if street.clear(z, 2.0):
                things.append(_sign(rng, side, x, z))
        if rng.random() < 0.3:
            for z in np.arange(rng.uniform(10, 30), end, 38.0).tolist():
                things.append(Furniture("pole", x + side * 0.4, z, 8.0, -1, 0))
        if rng.random() < 0.25:
            start = float(rng.uniform(6, 40))
            for z in np.arange(start, start + 14, 1.8).tolist():
                if street.clear(z, 1.0):
                    things.append(Furniture("bollard", x, z, 0.95, -1, 0))
    return (*things, *_signals(rng, street))


def _sign(rng: np.random.Generator, side: int, x: float, z: float) -> Furniture:
    height = float(rng.uniform(2.2, 2.9))
    facing = -1 if side > 0 or rng.random() < 0.4 else 1
    return Furniture("sign", x, z + float(rng.normal(0, 2)), height, facing, int(rng.integers(8)))


def _signals(rng: np.random.Generator, street: Street) -> list[Furniture]:
    junction = street.junction
    things: list[Furniture] = []
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
    return things


PERIOD_M = 163.84


def random_scene(seed: int) -> Scene:
    """Return the street that belongs to `seed`, always the same one.

    Raises:
        ValueError: `seed` is negative.
    """
    if seed < 0:
        raise ValueError(f"scene seed {seed}: expected 0 or more")
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
    vehicles = plan_vehicles(rng, street, view)
    return Scene(
        seed=seed,
        street=street,
        view=view,
        conditions=conditions,
        ego_speed=speed,
        buildings=plan_buildings(rng, street, park_side),
        plants=plan_plants(rng, street, park_side, conditions.autumn),
        vehicles=vehicles,
        people=plan_people(rng, street, view),
        cycles=plan_cycles(rng, street, view, vehicles),
        furniture=plan_furniture(rng, street),
    )


def _street(rng: np.random.Generator) -> Street:
    lanes = int(rng.choice([1, 1, 1, 2]))
    junction = None
    if rng.random() < 0.65:
        width = float(rng.uniform(7.0, 11.0))
        junction = Junction(float(rng.uniform(18.0, 60.0)), width, bool(rng.random() < 0.75))

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
