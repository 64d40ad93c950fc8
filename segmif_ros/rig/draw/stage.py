# SPDX-License-Identifier: Apache-2.0
"""Sets one street up under one light, and lists its surfaces back to front for a moment in time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmif_ros.rig.draw.figures import Limbs, bicycle, motorcycle, outline, rider, walker
from segmif_ros.rig.draw.ground import Ground
from segmif_ros.rig.draw.houses import Houses
from segmif_ros.rig.draw.items import Item, Points, Polygons
from segmif_ros.rig.draw.props import Prop, Props
from segmif_ros.rig.draw.shadows import Shadows
from segmif_ros.rig.draw.vehicles import Stuff, shape_of
from segmif_ros.rig.scene.lighting import Climate, Light
from segmif_ros.rig.scene.scene import BEHIND_M, Colour, Label, Scene, Vehicle

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


WIDEST = 0.8
"""Tangent of the half angle that either camera sees, with some room."""
FIGURES_M = 80.0
FINE_M = 26.0
"""Figures farther away have fewer limbs."""
FIRST_VEHICLE, FIRST_PERSON, FIRST_CYCLE, FIRST_RIDER = 1, 1001, 2001, 3001
"""Numbers of what moves, counted up in the order of the scene's lists."""


class _Row:
    """Props with their positions side by side, so that the ones in sight are found in one go."""

    def __init__(self, props: list[Prop]) -> None:
        self.props = props
        self.x = np.array([p.x for p in props])
        self.z = np.array([p.z for p in props])
        self.reach = np.array([p.reach for p in props])
        self.nearest = np.array([p.nearest for p in props])
        self.farthest = np.array([p.farthest for p in props])


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """A street at one time, ready to be drawn by either camera.

    Attributes:
        t: seconds.
        travelled: how far the rig has driven, metres.
        ground: what lies on the fixed ground, in painter's order.
        shadows: dark areas on the ground; `bgr` column 0 is the light left.
        items: what stands on it, back to front.
        lamps: (x, height, distance ahead) of lit street lamps, metres.
        headlights: (x, distance ahead, heading) of vehicles with their lights on.
        owners: `id()` of an item of `items` -> number of the vehicle, person or cycle that it
            belongs to; the same one at every moment.
    """

    t: float
    travelled: float
    ground: list[Item]
    shadows: list[Polygons]
    items: list[Item]
    lamps: list[tuple[float, float, float]]
    headlights: list[tuple[float, float, float]]
    owners: dict[int, int]


class Stage:
    """One scene under one light: everything that does not change from frame to frame is kept.

    Args:
        scene: the street.
        light: its visible light.
        climate: its temperatures.
    """

    def __init__(self, scene: Scene, light: Light, climate: Climate) -> None:
        self.scene, self.light, self.climate = scene, light, climate
        self.ground = Ground(scene, light, climate)
        self._shadows = Shadows(scene, light)
        self._houses = _Row(Houses(scene, light, climate).props())
        self._props = _Row(Props(scene, light, climate).props())
        self._bodies = [Body(vehicle, light, climate) for vehicle in scene.vehicles]
        self._lamp_posts = [f for f in scene.furniture if f.kind == "lamp"] if light.lamps else []
        v = scene.view
        self._eye = np.array([v.x, v.height, 0.0])
        self._forward = (math.sin(v.yaw), math.cos(v.yaw))
        sides = {house.side for house in scene.buildings}
        self._walls = {s: scene.street.frontage(s) - 0.3 if s in sides else 1e9 for s in (-1, 1)}

    def at(self, t: float) -> Moment:
        """Return the street at time `t` seconds."""
        owners: dict[int, int] = {}
        return Moment(
            t=t,
            travelled=self.scene.travelled(t),
            ground=[*self.ground.moving(t), *self.ground.kerbs(t)],
            shadows=self._shadows.at(t),
            items=self._items(t, owners),
            lamps=self._lamps(t),
            headlights=self._headlights(t),
            owners=owners,
        )

    def _items(self, t: float, owners: dict[int, int]) -> list[Item]:
        """Return everything above the ground at time `t` seconds, back to front."""
        behind: list[tuple[float, list[Item]]] = []
        front: list[tuple[float, list[Item]]] = []
        for depth, x, items in self._things(t, owners):
            (behind if abs(x) > self._walls[1 if x > 0 else -1] else front).append((depth, items))
        houses = list(self._visible(self._houses, t, 0.5))
        ordered: list[Item] = []
        for layer in (behind, [(depth, items) for depth, _, items in houses], front):
            for _, items in sorted(layer, key=lambda entry: -entry[0]):
                ordered += items
        return ordered

    def _things(
        self, t: float, owners: dict[int, int]
    ) -> Iterator[tuple[float, float, list[Item]]]:
        yield from self._visible(self._props, t, 0.0)
        for number, body in enumerate(self._bodies, FIRST_VEHICLE):
            x, z, _ = self.scene.locate(body.vehicle.track, t)
            if z < 128.0 and self._seen(x, z, 6.0):
                items = body.at(x, z)
                owners.update((id(item), number) for item in items)
                yield self._depth(x, z), x, items
        yield from self._figures(t, owners)

    def _visible(
        self, row: _Row, t: float, part: float
    ) -> Iterator[tuple[float, float, list[Item]]]:
        """Yield depth (`part` of the reach farther than the near end), x and surfaces."""
        scene = self.scene
        period = scene.street.period_m
        ahead = np.mod(row.z - scene.travelled(t) + BEHIND_M, period) - BEHIND_M
        dx = row.x - scene.view.x
        depth = dx * self._forward[0] + ahead * self._forward[1]
        across = np.abs(dx * self._forward[1] - ahead * self._forward[0])
        seen = (ahead > row.nearest) & (ahead < row.farthest) & (depth > -row.reach)
        seen &= across < WIDEST * np.maximum(depth + row.reach, 0.0) + row.reach
        order = depth + part * row.reach
        for index in np.flatnonzero(seen).tolist():
            items = row.props[index].at(float(ahead[index]))
            yield float(order[index]), float(row.x[index]), items

    def _depth(self, x: float, z: float) -> float:
        return float((x - self.scene.view.x) * self._forward[0] + z * self._forward[1])

    def _seen(self, x: float, z: float, margin: float) -> bool:
        """True when something within `margin` of (x, z) can be inside either field of view."""
        dx = x - self.scene.view.x
        depth = dx * self._forward[0] + z * self._forward[1]
        across = dx * self._forward[1] - z * self._forward[0]
        return bool(depth > -margin and abs(across) < WIDEST * max(depth, 0.0) + margin)

    def _figures(
        self, t: float, owners: dict[int, int]
    ) -> Iterator[tuple[float, float, list[Item]]]:
        scene, climate = self.scene, self.climate
        cast: list[tuple[float, float, Limbs]] = []
        numbers: list[int] = []
        for number, person in enumerate(scene.people, FIRST_PERSON):
            x, z, way = scene.locate(person.track, t)
            if 1.2 < z < FIGURES_M and self._seen(x, z, 1.0):
                heading = person.heading if way > 0 else person.heading + math.pi
                limbs = walker(person, t, heading, climate, Label.PERSON, fine=z < FINE_M)
                cast.append((x, z, limbs))
                numbers.append(number)
        for number, cycle in enumerate(scene.cycles, FIRST_CYCLE):
            x, z, _ = scene.locate(cycle.track, t)
            if not 1.8 < z < FIGURES_M or not self._seen(x, z, 1.5):
                continue
            if cycle.kind == "bicycle":
                limbs = bicycle(cycle, t, cycle.heading, climate, Label.BICYCLE, fine=z < FINE_M)
            else:
                limbs = motorcycle(cycle, cycle.heading, climate, Label.MOTORCYCLE)
            cast.append((x, z, limbs))
            numbers.append(number)
            on_it = rider(cycle, t, cycle.heading, climate, Label.PERSON)
            if on_it is not None:
                cast.append((x, z - 1e-3, on_it))
                numbers.append(number - FIRST_CYCLE + FIRST_RIDER)
        if cast:
            for number, made in zip(numbers, self._outlined(cast), strict=True):
                owners.update((id(item), number) for item in made[2])
                yield made

    def _outlined(
        self, cast: list[tuple[float, float, Limbs]]
    ) -> Iterator[tuple[float, float, list[Item]]]:
        """Turn all figures into polygons in one go."""
        counts = [len(limbs.parts) for _, _, limbs in cast]
        where = np.array([(x, z, math.cos(f.heading), math.sin(f.heading)) for x, z, f in cast])
        x0, z0, c, s = np.repeat(where, counts, axis=0).T
        start, stop, radius, bgr, kelvin = (
            np.array(column) for column in zip(*(p for *_, f in cast for p in f.parts), strict=True)
        )
        ends = [
            np.stack([x0 + p[:, 0] * s + p[:, 2] * c, p[:, 1], z0 + p[:, 0] * c - p[:, 2] * s], 1)
            for p in (start, stop)
        ]
        corners = outline(ends[0], ends[1], radius, self._eye)
        bgr = bgr * self.light.shade(np.array([[0.0, 0.25, -0.95]]))[0]
        first = 0
        for (x, z, limbs), count in zip(cast, counts, strict=True):
            part = slice(first, first + count)
            first += count
            figure = Polygons(corners[part], bgr[part], kelvin[part], limbs.label)
            yield self._depth(x, z), x, [figure]

    def _lamps(self, t: float) -> list[tuple[float, float, float]]:
        """Return (x, height, distance ahead) of the lit street lamps at time `t`."""
        found = []
        for thing in self._lamp_posts:
            z = self.scene.ahead(thing.z, t)
            if -6.0 < z < 90.0:
                side = -1.0 if thing.x > 0 else 1.0
                found.append((thing.x + side * 1.8, thing.height, z))
        return found

    def _headlights(self, t: float) -> list[tuple[float, float, float]]:
        """Return (x, distance ahead, heading) of vehicles with their headlights on."""
        found = []
        for body in self._bodies if self.light.lamps else ():
            if body.vehicle.lights:
                x, z, _ = self.scene.locate(body.vehicle.track, t)
                if 2.0 < z < 80.0:
                    found.append((x, z, body.vehicle.heading))
        return found
