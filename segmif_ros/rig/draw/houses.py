# SPDX-License-Identifier: Apache-2.0
"""The houses of a street: fronts, end walls and roofs."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from segmif_ros.rig.draw.facades import paint_front
from segmif_ros.rig.draw.items import Item, Polygons, Sprite
from segmif_ros.rig.draw.props import Prop
from segmif_ros.rig.scene.climate import Climate
from segmif_ros.rig.scene.labels import Label
from segmif_ros.rig.scene.lighting import Light
from segmif_ros.rig.scene.scene import Building, Colour, Scene

Points = NDArray[np.float64]

FARTHEST_M = 138.0
TILES: tuple[Colour, ...] = ((58, 66, 112), (66, 68, 72), (52, 60, 86))


class Houses:
    """Builds the houses of one scene under one light.

    Args:
        scene: the street.
        light: its visible light.
        climate: its temperatures.
    """

    def __init__(self, scene: Scene, light: Light, climate: Climate) -> None:
        self.scene, self.light, self.climate = scene, light, climate

    def props(self) -> list[Prop]:
        """Return one prop for each front (with its roof), and one for each end wall in sight."""
        made = []
        for house in self.scene.buildings:
            if self._gap_before(house):
                made.append(Prop(
                    house.side * house.x, house.z, partial(self._end, house),
                    reach=house.depth, nearest=1.0, farthest=FARTHEST_M,
                ))  # fmt: skip
            made.append(Prop(
                house.side * house.x, house.z, partial(self._front, house),
                reach=house.length, nearest=1.0 - house.length, farthest=FARTHEST_M,
            ))  # fmt: skip
        return made

    def _wall_kelvin(self, normal: tuple[float, float, float]) -> float:
        facing = max(float(np.dot(normal, self.light.sun)), 0.0)
        return self.climate.wall + self.climate.wall_sun * facing

    def _gap_before(self, house: Building) -> bool:
        return not any(
            other.side == house.side and abs(other.z + other.length - house.z) < 0.3
            and other.height > house.height - 0.5 and abs(other.x - house.x) < 0.3
            for other in self.scene.buildings
        )  # fmt: skip

    def _panel(
        self, house: Building, corners: Points, length: float, normal: tuple[float, float, float]
    ) -> Sprite:
        daylight = self.light.shade(np.array([normal]))[0]
        front = paint_front(
            house, length, self.climate, daylight=daylight, lit=self.light.lit_rooms
        )
        return Sprite(corners, front, self._wall_kelvin(normal), Label.BUILDING)

    def _end(self, house: Building) -> list[Item]:
        h = house.height
        a, b = sorted((house.side * house.x, house.side * (house.x + house.depth)))
        corners = np.array([(a, h, 0.0), (b, h, 0.0), (b, 0.0, 0.0), (a, 0.0, 0.0)])
        items: list[Item] = [self._panel(house, corners, house.depth, (0.0, 0.0, -1.0))]
        if house.gable:
            top = (h, h + house.depth * 0.36)
            gable = np.array(
                [[(a, top[0], 0.0), ((a + b) / 2, top[1], 0.0), (b, top[0], 0.0), (b, top[0], 0.0)]]
            )
            shade = self.light.shade(np.array([[0.0, 0.0, -1.0]]))
            heat = np.array([self._wall_kelvin((0.0, 0.0, -1.0))])
            items.append(Polygons(gable, np.asarray(house.colour) * shade, heat, Label.BUILDING))
        return items

    def _front(self, house: Building) -> list[Item]:
        h, n, x = house.height, house.length, house.side * house.x
        items: list[Item] = [self._roof(house)] if house.gable else []
        # On the right the far end is on the left of the picture; on the left it is the near one.
        left, right = (n, 0.0) if house.side > 0 else (0.0, n)
        corners = np.array([(x, h, left), (x, h, right), (x, 0.0, right), (x, 0.0, left)])
        return [*items, self._panel(house, corners, n, (-float(house.side), 0.0, 0.0))]

    def _roof(self, house: Building) -> Polygons:
        h, n = house.height, house.length
        eave = house.side * (house.x - 0.4)
        ridge = house.side * (house.x + house.depth / 2)
        top = h + house.depth * 0.36
        slope = np.array(
            [[(eave, h - 0.2, 0.0), (ridge, top, 0.0), (ridge, top, n), (eave, h - 0.2, n)]]
        )
        normal = np.array([[-house.side * 0.58, 0.81, 0.0]])
        facing = max(float(normal[0] @ np.asarray(self.light.sun)), 0.0)
        heat = np.array([self.climate.wall - 1.5 + 1.5 * self.climate.wall_sun * facing])
        colour = np.asarray(TILES[house.seed % len(TILES)]) * self.light.shade(normal)
        return Polygons(slope, colour, heat, Label.BUILDING)
