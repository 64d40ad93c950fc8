# SPDX-License-Identifier: Apache-2.0
"""Cars, trucks and buses of a scene: coloured, lit and warmed once, then only moved."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmif_ros.rig.draw.items import Item, Polygons
from segmif_ros.rig.draw.vehicles import Stuff, shape_of
from segmif_ros.rig.scene.climate import Climate
from segmif_ros.rig.scene.lighting import Light
from segmif_ros.rig.scene.scene import Colour, Label, Vehicle

Points = NDArray[np.float64]

LEVELS_M = (22.0, 40.0, math.inf)
"""Up to these distances vehicles are drawn in full, without small parts, and with few faces."""
LABELS = {"truck": Label.TRUCK, "bus": Label.BUS}
BUS_PAINTS: tuple[Colour, ...] = ((60, 60, 190), (70, 170, 214), (170, 110, 50), (210, 214, 214))


def _turn(points: Points, heading: float) -> Points:
    """Turn local (x right, y up, z forward) points to `heading` (from +z towards +x)."""
    c, s = math.cos(heading), math.sin(heading)
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    return np.stack([x * c + z * s, y, z * c - x * s], axis=-1)


def _normals(faces: Points) -> Points:
    middle = faces.shape[1] // 2
    n = np.cross(faces[:, middle] - faces[:, 0], faces[:, -1] - faces[:, 1])
    unit: Points = n / np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-9)
    return unit


class Body:
    """One vehicle of a scene.

    Args:
        vehicle: which one.
        light: the visible light of the street.
        climate: its temperatures.
    """

    def __init__(self, vehicle: Vehicle, light: Light, climate: Climate) -> None:
        self.vehicle, self._light, self._climate = vehicle, light, climate
        self._levels: dict[int, list[Polygons]] = {}

    def _level(self, level: int) -> list[Polygons]:
        vehicle = self.vehicle
        label = LABELS.get(vehicle.kind, Label.CAR)
        shape = shape_of(vehicle.kind, coarse=level == 2)
        made = []
        for local, stuff, fine in (shape.quads, shape.discs):
            keep = ~fine if level else np.ones(len(fine), bool)
            faces, kinds = _turn(local[keep], vehicle.heading), stuff[keep]
            normals = _normals(faces)
            bgr, heat = self._colours(kinds, normals), self._heat(kinds, normals)
            made.append(Polygons(faces, bgr, heat, label, self._glow(kinds), cull=True))
        return made

    def at(self, x: float, z: float) -> list[Item]:
        """Return its surfaces when it stands at street position x, `z` metres ahead."""
        offset = np.array([x, 0.0, z])
        level = next(i for i, limit in enumerate(LEVELS_M) if z < limit)
        if level not in self._levels:
            self._levels[level] = self._level(level)
        return [part.moved(offset) for part in self._levels[level]]

    def _colours(self, kinds: NDArray[np.intp], normals: Points) -> NDArray[Any]:
        vehicle, light = self.vehicle, self._light
        paint = np.asarray(vehicle.paint)
        if vehicle.kind == "bus":
            paint = np.asarray(BUS_PAINTS[round(paint.sum()) % len(BUS_PAINTS)], dtype=float)
        lit = vehicle.lights and light.lamps
        tail = (60, 52, 255) if lit or (vehicle.lights and vehicle.braking) else (36, 28, 128)
        table = np.array([
            paint, paint * 0.97, (64, 58, 52), (34, 34, 35), (30, 30, 31), (132, 132, 134),
            (236, 250, 255) if lit else (206, 208, 206), tail, (196, 206, 208), (208, 210, 210),
            (44, 44, 46), (16, 16, 17), paint[[2, 0, 1]], (64, 64, 66),
        ], dtype=np.float64)  # fmt: skip
        colours = table[kinds]
        shade = light.shade(normals)
        glass = (kinds == Stuff.GLASS)[:, None]
        # Panes mirror the sky: brighter the more they face upwards.
        mirrored = np.asarray(light.sky_low) * (0.08 + 0.34 * np.maximum(normals[:, 1:2], 0.0))
        shown = np.where(glass, colours * shade + mirrored, colours * shade)
        glow = self._glow(kinds)
        return np.where(glow[:, None], colours, shown)

    def _glow(self, kinds: NDArray[np.intp]) -> NDArray[np.bool_]:
        lit = self.vehicle.lights and self._light.lamps
        return np.isin(kinds, (Stuff.TAIL, Stuff.HEAD)) & lit

    def _heat(self, kinds: NDArray[np.intp], normals: Points) -> NDArray[Any]:
        vehicle, light, c = self.vehicle, self._light, self._climate
        hot = vehicle.warmth
        running = 1.0 if vehicle.lights else 0.35
        table = np.array([
            c.body, c.body + 7.0 * hot, c.glass + 1.5 * hot, c.body + 2 * hot,
            c.steel + 9.0 * hot * running, c.steel + 12.0 * hot * running,
            c.body + 6 * hot * running, c.body + 2 * hot, c.body + hot, c.body - 0.5,
            c.body + 15.0 * hot, c.road + 8.0 * hot, c.body, c.steel + 18 * hot * running,
        ])  # fmt: skip
        sunny = np.maximum(sum(normals[:, i] * light.sun[i] for i in range(3)), 0.0)
        sky = np.maximum(normals[:, 1], 0.0)
        metal = np.isin(kinds, (Stuff.PAINT, Stuff.HOOD, Stuff.CARGO, Stuff.STRIPE))
        # Shiny metal mirrors the cold sky, most on roofs.
        mirror = (c.air - c.sky_top) * 0.06
        heat: NDArray[Any] = table[kinds] + metal * (0.6 * c.wall_sun * sunny - mirror * sky)
        return heat
