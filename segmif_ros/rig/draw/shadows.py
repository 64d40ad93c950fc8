# SPDX-License-Identifier: Apache-2.0
"""Shadows on the ground: contact shadows in every light, cast shadows in the sun."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segmif_ros.rig.draw.ground import disc, flat
from segmif_ros.rig.draw.items import Points, Polygons
from segmif_ros.rig.draw.vehicles import shape_of
from segmif_ros.rig.scene.lighting import Light
from segmif_ros.rig.scene.scene import BEHIND_M, Motion, Scene, Track

REACH_M = 70.0
"""Shadows of things farther ahead than this are left out."""
CONTACT = 110.0
"""Light left where something touches the ground, 0-255."""


@dataclass(slots=True, eq=False)
class _Layer:
    """Polygons around their owners, and which owner each belongs to."""

    points: Points
    owner: NDArray[np.intp]
    light_left: float


class Shadows:
    """Makes the shadows of one scene under one light.

    Args:
        scene: what casts them.
        light: where the sun is.
    """

    def __init__(self, scene: Scene, light: Light) -> None:
        self._scene = scene
        self._tracks: list[Track] = []
        up = max(light.sun[1], 0.16)
        self._lean = (-light.sun[0] / up, -light.sun[2] / up)
        self._sunny = light.sunny > 0.15
        self._made: dict[str, list[tuple[Points, int]]] = {"cast": [], "crown": [], "contact": []}
        self._vehicles()
        self._slim()
        if self._sunny:
            self._houses()
            self._crowns()
        left = 255.0 * (1.0 - 0.62 * light.sunny)
        self._layers = [
            _Layer(
                np.stack([points for points, _ in made]),
                np.array([owner for _, owner in made]),
                CONTACT if name == "contact" else left,
            )
            for name, made in self._made.items()
            if made
        ]
        still = np.array([track.motion is Motion.STILL for track in self._tracks], bool)
        self._fixed_x = np.array([track.x for track in self._tracks])
        self._fixed_z = np.array([track.z for track in self._tracks])
        self._moving = np.flatnonzero(~still).tolist()

    def at(self, t: float) -> list[Polygons]:
        """Return the shadows at time `t`; `bgr` column 0 is the light left, 0-255."""
        scene = self._scene
        x = self._fixed_x.copy()
        period = scene.street.period_m
        z = np.mod(self._fixed_z - scene.travelled(t) + BEHIND_M, period) - BEHIND_M
        for index in self._moving:
            x[index], z[index], _ = scene.locate(self._tracks[index], t)
        shown = []
        for layer in self._layers:
            keep = z[layer.owner] < REACH_M
            owner = layer.owner[keep]
            points = layer.points[keep].copy()
            points[..., 0] += x[owner, None]
            points[..., 2] += z[owner, None]
            count = len(points)
            if count:
                colour = np.full((count, 3), layer.light_left)
                shown.append(Polygons(points, colour, np.zeros(count), 0))
        return shown

    def _own(self, track: Track) -> int:
        self._tracks.append(track)
        return len(self._tracks) - 1

    def _lying(self, height: float) -> tuple[float, float]:
        """Where the shadow of a point at `height` falls, relative to its foot."""
        return self._lean[0] * height, self._lean[1] * height

    def _vehicles(self) -> None:
        for vehicle in self._scene.vehicles:
            shape = shape_of(vehicle.kind)
            owner = self._own(vehicle.track)
            c, s = math.cos(vehicle.heading), math.sin(vehicle.heading)
            w, half = shape.half_width, shape.half_length
            base = [(a * w * c + b * half * s, b * half * c - a * w * s)
                    for a, b in ((-1, -1), (-1, 1), (1, 1), (1, -1))]  # fmt: skip
            self._made["contact"].append((flat(base), owner))
            if self._sunny:
                dx, dz = self._lying(shape.height * 0.9)
                top = [(x + dx, z + dz) for x, z in base]
                for i in range(4):
                    j = (i + 1) % 4
                    side = flat([base[i], base[j], top[j], top[i]])
                    self._made["cast"].append((side, owner))
                self._made["cast"].append((flat(top), owner))

    def _slim(self) -> None:
        """People, cycles, posts and trunks."""
        scene = self._scene
        slim: list[tuple[Track, float, float]] = [(p.track, p.height, 0.3) for p in scene.people]
        slim += [(c.track, 1.5 if c.rider else 1.0, 0.4) for c in scene.cycles]
        slim += [(Track(f.x, f.z), f.height, 0.08) for f in scene.furniture]
        slim += [(Track(p.x, p.z), p.height * 0.4, 0.2) for p in scene.plants if p.kind == "tree"]
        for track, tall, wide in slim:
            owner = self._own(track)
            foot = flat([(-wide, -0.16), (-wide, 0.16), (wide, 0.16), (wide, -0.16)])
            self._made["contact"].append((foot, owner))
            if self._sunny:
                dx, dz = self._lying(tall)
                side = 0.6 * wide
                long = flat([(-side, 0.0), (dx - side, dz), (dx + side, dz), (side, 0.0)])
                self._made["cast"].append((long, owner))

    def _houses(self) -> None:
        for house in self._scene.buildings:
            if self._lean[0] * house.side > -0.05:
                continue
            dx, dz = self._lying(house.height)
            dx = max(min(dx, 60.0), -60.0)
            n = house.length
            wall = flat([(0.0, 0.0), (0.0, n), (dx, n + dz), (dx, dz)])
            self._made["cast"].append((wall, self._own(Track(house.side * house.x, house.z))))

    def _crowns(self) -> None:
        for plant in self._scene.plants:
            if plant.kind == "hedge":
                continue
            dx, dz = self._lying(plant.height * (0.62 if plant.kind == "tree" else 0.5))
            reach = plant.width * 0.42
            crown = disc(dx, dz, reach, reach * 1.25)
            self._made["crown"].append((crown, self._own(Track(plant.x, plant.z))))
