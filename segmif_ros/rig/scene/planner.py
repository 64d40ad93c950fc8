# SPDX-License-Identifier: Apache-2.0
"""Plans a street from a seed: widths, weather, where the rig stands, and everything else."""

from __future__ import annotations

import math

import numpy as np

from segmif_ros.rig.scene.population import plan_cycles, plan_people, plan_vehicles
from segmif_ros.rig.scene.roadside import plan_buildings, plan_furniture, plan_plants
from segmif_ros.rig.scene.scene import SIDES, Conditions, Junction, Scene, Street, View

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
