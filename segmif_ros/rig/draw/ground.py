# SPDX-License-Identifier: Apache-2.0
"""The ground of a street: asphalt, kerbs, sidewalks, lawns, paint, and the cross street."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from segmif_ros.rig.draw.items import Item, Points, Polygons
from segmif_ros.rig.scene.lighting import Climate, Light
from segmif_ros.rig.scene.scene import Colour, Label, Scene

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
        tone = float(rng.uniform(84, 128))
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
        left, right = scene.street.kerb(-1), scene.street.kerb(1)
        self.patches = [
            (float(rng.uniform(-left, right - 2.4)), float(rng.uniform(0, scene.street.period_m)),
             float(rng.uniform(0.6, 2.4)), float(rng.uniform(1.5, 9)),
             float(rng.uniform(0.72, 1.1)))
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
        darker: Colour = (self.asphalt[0] * 0.94, self.asphalt[1] * 0.94, self.asphalt[2] * 0.94)
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
        patches = [
            (x, ahead, wide, deep, tone)
            for x, z, wide, deep, tone in self.patches
            if -2 < (ahead := scene.ahead(z, t)) < 60
        ]
        if patches:
            tones = np.array([tone for *_, tone in patches])
            items.append(
                Polygons(
                    np.stack([strip(x, x + w, z, z + d) for x, z, w, d, _ in patches]),
                    tones[:, None] * np.asarray(self.asphalt) * self.up,
                    c.road + 1.5 * (1 - tones),
                    Label.ROAD,
                )
            )
        junction = street.junction
        if junction is not None:
            z = scene.ahead(junction.z, t)
            if z + junction.width > START_M:
                half = junction.width / 2
                cross = strip(-90, 90, z - half, z + half)
                items.append(self._paint([cross], self.asphalt, c.road - 0.2, Label.ROAD))
                holes.append((z - half - 4.6, z + half + 4.6))
        items += self._markings(t, holes)
        items += [
            self._paint(
                [flat([(m.x, z), (m.x + m.lean, z + m.length),
                       (m.x + m.lean + m.width, z + m.length), (m.x + m.width, z)])],
                m.colour, c.road + c.marking, Label.ROAD,
            )
            for m in scene.markings
            if -2 < (z := scene.ahead(m.z, t)) < 60
        ]  # fmt: skip
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
