# SPDX-License-Identifier: Apache-2.0
"""The ground of a street: asphalt, kerbs, sidewalks, lawns, paint, the cross street, and shadows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segmif_ros.rig.climate import Climate
from segmif_ros.rig.labels import Label
from segmif_ros.rig.lighting import Light
from segmif_ros.rig.raster import Item, Polygons
from segmif_ros.rig.scene import Colour, Scene, Track
from segmif_ros.rig.vehicles import shape_of

Points = NDArray[np.float64]

FAR_M = 420.0
START_M = -6.0
KERB_M = 0.12
_CIRCLE = np.arange(12) * (2 * math.pi / 12)


def flat(corners: Sequence[tuple[float, float]], y: float = 0.0) -> Points:
    """Return (K, 3) street points of (x, z) corners at height `y`."""
    points = np.asarray(corners, dtype=np.float64)
    return np.stack([points[:, 0], np.full(len(points), y), points[:, 1]], axis=1)


def strip(x0: float, x1: float, z0: float, z1: float, y: float = 0.0) -> Points:
    """Return a (4, 3) rectangle on the ground."""
    return flat([(x0, z0), (x0, z1), (x1, z1), (x1, z0)], y)


def disc(x: float, z: float, rx: float, rz: float) -> Points:
    """Return a (12, 3) ellipse on the ground."""
    return flat(list(zip(x + rx * np.cos(_CIRCLE), z + rz * np.sin(_CIRCLE), strict=True)))


class Ground:
    """Makes the ground polygons of one street under one light.

    Surfaces that look the same wherever the rig is along the street are in `fixed`; paint, kerbs of
    the cross street and manholes come from `moving`.
    """

    def __init__(self, scene: Scene, light: Light, climate: Climate) -> None:
        self.scene, self.light, self.climate = scene, light, climate
        rng = np.random.default_rng([45, scene.seed])
        self.up = light.shade(np.array([[0.0, 1.0, 0.0]]))[0]
        tone = float(rng.uniform(72, 112))
        self.asphalt: Colour = (tone * 1.02, tone, tone * 0.98)
        pale = float(rng.uniform(128, 168))
        self.slabs: Colour = (pale * 0.96, pale, pale * 1.02)
        dry = scene.conditions.autumn * 0.4
        self.lawn: Colour = (46 + 20 * dry, 104 + 10 * dry, 74 + 70 * dry)
        self.stop_lines = bool(rng.random() < 0.7)
        self.dash = float(rng.uniform(2.5, 4.0))
        self.manholes = [
            (float(rng.uniform(-3, 3)), float(rng.uniform(0, scene.street.period_m)))
            for _ in range(int(rng.integers(4, 11)))
        ]
        self.patches = [
            (float(rng.uniform(-5, 4)), float(rng.uniform(0, scene.street.period_m)),
             float(rng.uniform(0.6, 2.4)), float(rng.uniform(1.5, 9)), float(rng.uniform(0.72, 1.1)))
            for _ in range(int(14 * scene.street.wear))
        ]  # fmt: skip

    def _paint(
        self, points: Sequence[Points], colour: Colour, kelvin: float, label: int
    ) -> Polygons:
        count = len(points)
        return Polygons(
            np.stack(points),
            np.broadcast_to(np.asarray(colour) * self.up, (count, 3)),
            np.full(count, kelvin),
            label,
        )

    def fixed(self) -> list[Item]:
        """Return the strips that run along the whole street, far to near where they overlap."""
        street, c = self.scene.street, self.climate
        items: list[Item] = [
            self._paint([strip(-400, 400, START_M, FAR_M)], self.slabs, c.paving, Label.SIDEWALK)
        ]
        for side in (-1, 1):
            inner, outer = street.walk(side)
            kerb, front = street.kerb(side), street.frontage(side)
            lawns = []
            if street.garden[side > 0] > 0 or not any(b.side == side for b in self.scene.buildings):
                deep = front if any(b.side == side for b in self.scene.buildings) else 400.0
                lawns.append(strip(side * outer, side * max(deep, outer), START_M, FAR_M))
            if inner > kerb + 0.3:
                lawns.append(strip(side * kerb, side * inner, START_M, FAR_M))
            if lawns:
                items.append(self._paint(lawns, self.lawn, c.grass, Label.VEGETATION))
        left, right = street.kerb(-1), street.kerb(1)
        items.append(
            self._paint([strip(-left, right, START_M, FAR_M)], self.asphalt, c.road, Label.ROAD)
        )
        darker: Colour = (self.asphalt[0] * 0.9, self.asphalt[1] * 0.9, self.asphalt[2] * 0.9)
        tracks = [
            strip(x - 0.28, x + 0.28, START_M, FAR_M)
            for lane in range(-street.lanes, street.lanes)
            for x in ((lane + 0.5) * street.lane - 0.8, (lane + 0.5) * street.lane + 0.8)
        ]
        items.append(self._paint(tracks, darker, c.road + 0.35, Label.ROAD))
        gutter = [
            strip(-left, -left + 0.3, START_M, FAR_M),
            strip(right - 0.3, right, START_M, FAR_M),
        ]
        items.append(self._paint(gutter, (104, 108, 110), c.road - 0.5, Label.ROAD))
        return items

    def kerbs(self, t: float) -> list[Item]:
        """Return the raised kerb stones, interrupted by the cross street."""
        street = self.scene.street
        spans = [(START_M, FAR_M)]
        if street.junction is not None:
            z = self.scene.ahead(street.junction.z, t)
            reach = street.junction.width / 2
            spans = [(START_M, z - reach), (z + reach, FAR_M)]
        tops, faces = [], []
        for side in (-1, 1):
            x = side * street.kerb(side)
            for z0, z1 in spans:
                if z1 > z0:
                    tops.append(strip(x, x + side * 0.16, z0, z1, KERB_M * 0.5))
                    faces.append(np.array(
                        [(x, 0, z0), (x, KERB_M * 0.5, z0), (x, KERB_M * 0.5, z1), (x, 0, z1)]
                    ))  # fmt: skip
        k = self.climate.paving
        return [
            self._paint(faces, (104, 106, 106), k, Label.SIDEWALK),
            self._paint(tops, (176, 180, 182), k, Label.SIDEWALK),
        ]

    def moving(self, t: float) -> list[Item]:
        """Return what passes by as the rig moves: repairs, cross street, paint, manholes."""
        scene, c = self.scene, self.climate
        street = scene.street
        items: list[Item] = []
        holes: list[tuple[float, float]] = []
        for x, z, wide, deep, tone in self.patches:
            ahead = scene.ahead(z, t)
            x0, x1 = max(x, -street.kerb(-1)), min(x + wide, street.kerb(1))
            if -2 < ahead < 60 and x1 > x0:
                shade: Colour = (
                    self.asphalt[0] * tone,
                    self.asphalt[1] * tone,
                    self.asphalt[2] * tone,
                )
                patch = strip(x0, x1, ahead, ahead + deep)
                items.append(self._paint([patch], shade, c.road + 1.5 * (1 - tone), Label.ROAD))
        junction = street.junction
        if junction is not None:
            z = scene.ahead(junction.z, t)
            if z + junction.width > START_M:
                half = junction.width / 2
                cross = strip(-90, 90, z - half, z + half)
                items.append(self._paint([cross], self.asphalt, c.road - 0.2, Label.ROAD))
                holes.append((z - half - 4.6, z + half + 4.6))
        items += self._markings(t, holes)
        covers = [
            disc(x, ahead, 0.33, 0.33)
            for x, z in self.manholes
            if 0 < (ahead := scene.ahead(z, t)) < 50
        ]
        if covers:
            items.append(self._paint(covers, (74, 74, 76), c.road + 2.4, Label.ROAD))
        return items

    def _markings(self, t: float, holes: list[tuple[float, float]]) -> list[Item]:
        scene, street = self.scene, self.scene.street
        white: list[Points] = []

        def clear(z0: float, z1: float) -> bool:
            return all(z1 < a or z0 > b for a, b in holes)

        start = -((scene.travelled(t)) % (2.5 * self.dash)) - 2.5 * self.dash
        for z in np.arange(start, 130.0, 2.5 * self.dash):
            if z > START_M and clear(z, z + self.dash):
                white.append(strip(-0.06, 0.06, z, z + self.dash))
                for lane in range(1, street.lanes):
                    for x in (-lane * street.lane, lane * street.lane):
                        white.append(strip(x - 0.06, x + 0.06, z, z + self.dash))
        edges = [(START_M, FAR_M)] if not holes else [(START_M, holes[0][0]), (holes[0][1], FAR_M)]
        for side in (-1, 1):
            x = side * street.lane * street.lanes
            if street.parking[side > 0] > 0:
                white += [strip(x - 0.05, x + 0.05, a, b) for a, b in edges if b > a]
        if street.junction is not None and holes:
            left, right = street.kerb(-1), street.kerb(1)
            near, far = holes[0]
            for z0 in (near + 1.0, far - 3.8):
                if z0 > -4:
                    for x in np.arange(-left + 0.4, right - 0.4, 1.0):
                        white.append(strip(x, x + 0.5, z0, z0 + 2.8))
            if self.stop_lines and near > -3:
                white.append(strip(0.15, right - 0.2, near - 0.6, near - 0.2))
        if not white:
            return []
        kelvin = self.climate.road + self.climate.marking
        return [self._paint(white, (206, 212, 214), kelvin, Label.ROAD)]


def shadows(scene: Scene, light: Light, t: float) -> list[Polygons]:
    """Return dark areas on the ground; their `bgr` column 0 is the light that is left, 0-255.

    Contact shadows are always there, cast shadows only in the sun.
    """
    cast: list[Points] = []
    contact: list[Points] = []
    up = max(light.sun[1], 0.16)
    lean = np.array([-light.sun[0] / up, -light.sun[2] / up])
    sunny = light.sunny > 0.15
    for vehicle in scene.vehicles:
        shape = shape_of(vehicle.kind)
        x, z, _ = scene.locate(vehicle.track, t)
        if not 2.0 < z < 70.0:
            continue
        c, s = math.cos(vehicle.heading), math.sin(vehicle.heading)
        w, half = shape.half_width, shape.half_length
        base = [(x + a * w * c + b * half * s, z - a * w * s + b * half * c)
                for a, b in ((-1, -1), (-1, 1), (1, 1), (1, -1))]  # fmt: skip
        contact.append(flat(base))
        if sunny:
            top = [(px + lean[0] * shape.height * 0.9, pz + lean[1] * shape.height * 0.9)
                   for px, pz in base]  # fmt: skip
            for i in range(4):
                j = (i + 1) % 4
                cast.append(flat([base[i], base[j], top[j], top[i]]))
            cast.append(flat(top))
    for track, tall, wide in _slim(scene):
        x, z, _ = scene.locate(track, t)
        if 1.5 < z < 45.0:
            contact.append(flat([(x - wide, z - 0.16), (x - wide, z + 0.16), (x + wide, z + 0.16),
                                 (x + wide, z - 0.16)]))  # fmt: skip
            if sunny:
                ex, ez = x + lean[0] * tall, z + lean[1] * tall
                side = 0.6 * wide
                cast.append(flat([(x - side, z), (ex - side, ez), (ex + side, ez), (x + side, z)]))
    if sunny:
        cast += _house_shadows(scene, lean, t)
    crowns = _crown_shadows(scene, lean, t) if sunny else []
    left = float(255 * (1.0 - 0.62 * light.sunny))
    made = [(cast, left), (crowns, left), (contact, 110.0)]
    return [
        Polygons(np.stack(p), np.full((len(p), 3), value), np.zeros(len(p)), 0)
        for p, value in made
        if p
    ]


def _slim(scene: Scene) -> list[tuple[Track, float, float]]:
    slim: list[tuple[Track, float, float]] = [(p.track, p.height, 0.3) for p in scene.people]
    slim += [(c.track, 1.5 if c.rider else 1.0, 0.4) for c in scene.cycles]
    slim += [(Track(f.x, f.z), f.height, 0.08) for f in scene.furniture]
    slim += [(Track(p.x, p.z), p.height * 0.4, 0.2) for p in scene.plants if p.kind == "tree"]
    return slim


def _house_shadows(scene: Scene, lean: NDArray[np.float64], t: float) -> list[Points]:
    cast = []
    for house in scene.buildings:
        if lean[0] * house.side > -0.05:
            continue
        z = scene.ahead(house.z, t)
        x = house.side * house.x
        dx, dz = lean * house.height
        dx = max(min(dx, 60.0), -60.0)
        end = z + house.length
        if end > 0:
            cast.append(flat([(x, z), (x, end), (x + dx, end + dz), (x + dx, z + dz)]))
    return cast


def _crown_shadows(scene: Scene, lean: NDArray[np.float64], t: float) -> list[Points]:
    cast = []
    for plant in scene.plants:
        z = scene.ahead(plant.z, t)
        if plant.kind == "hedge" or not -8.0 < z < 60.0:
            continue
        middle = plant.height * (0.62 if plant.kind == "tree" else 0.5)
        reach = plant.width * 0.42
        cast.append(disc(plant.x + lean[0] * middle, z + lean[1] * middle, reach, reach * 1.25))
    return cast
