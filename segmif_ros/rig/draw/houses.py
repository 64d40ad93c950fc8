# SPDX-License-Identifier: Apache-2.0
"""The houses of a street: painted fronts, end walls and roofs."""

from __future__ import annotations

from functools import lru_cache, partial

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.rig.draw.items import HEAT_ZERO, Item, Points, Polygons, Sprite, Texture
from segmif_ros.rig.draw.noise import value_noise
from segmif_ros.rig.draw.props import Prop
from segmif_ros.rig.scene.lighting import Climate, Light
from segmif_ros.rig.scene.population import BLANK
from segmif_ros.rig.scene.scene import Building, Colour, Label, Scene

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


PIXELS_PER_M = 22.0
Tile = NDArray[np.uint8]


@lru_cache(maxsize=4)
def _wall(style: str) -> Tile:
    """512x512 brightness factors of a wall around 128."""
    rng = np.random.default_rng(sum(map(ord, style)))
    tile = 128.0 + 7.0 * value_noise(512, 5, rng, octaves=6)
    if style == "brick":
        for row in range(0, 512, 3):
            tile[row] -= 16
            tile[row : row + 3] += rng.normal(0, 9, (1, 64)).repeat(8, axis=1)
            tile[row : row + 3, (row // 3 % 2) * 4 :: 8] -= 12
    elif style == "concrete":
        tile[::66] -= 26
        tile[:, ::88] -= 26
        streaks = rng.standard_normal((1, 512)).astype(np.float32)
        tile += 7.0 * cv2.GaussianBlur(streaks, (0, 0), 1.5)
    tile += 4.0 * rng.standard_normal((512, 512))
    wall: Tile = np.clip(tile, 20, 255).astype(np.uint8)
    return wall


class _Painter:
    """Paints one front into a colour, a heat and a light plane."""

    def __init__(self, house: Building, length: float, climate: Climate, lit: float) -> None:
        self.rng = np.random.default_rng([house.seed, round(length * 10)])
        self.house = house
        self.scale = PIXELS_PER_M
        width, height = max(round(length * self.scale), 8), round(house.height * self.scale)
        reps = (height // 512 + 1, width // 512 + 1)
        wall = np.tile(_wall(house.style), reps)[:height, :width]
        self.bgr = cv2.merge([cv2.convertScaleAbs(wall, alpha=c / 128) for c in house.colour])
        grain = np.tile(_wall("plaster"), reps)[:height, :width]
        self.heat = (grain.astype(np.uint16) * 7 + np.uint16(HEAT_ZERO - 7 * 128)).astype(np.uint16)
        self.light = np.zeros((height, width, 4), np.uint8) if lit > 0 else None
        self.climate, self.lit = climate, lit
        self.width, self.height = width, height
        dark = house.style in ("brick", "glass")
        self.trim: Colour = (206, 212, 214) if dark else (112, 118, 120)

    def rect(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """Fill a rectangle, in pixels from the top left."""
        cv2.rectangle(self.bgr, (int(x0), int(y0)), (int(x1), int(y1)), colour, -1)

    def warm(self, x0: float, y0: float, x1: float, y1: float, kelvin: float) -> None:
        """Set a rectangle to `kelvin` above the wall."""
        value = HEAT_ZERO + round(kelvin * 100)
        cv2.rectangle(self.heat, (int(x0), int(y0)), (int(x1), int(y1)), value, -1)

    def window(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """Paint one window with its frame, reflection, curtain, and maybe light."""
        rng = self.rng
        self.rect(x0 - 2, y0 - 2, x1 + 2, y1 + 2, self.trim)
        self.rect(x0 - 3, y1 + 2, x1 + 3, y1 + 4, (self.trim[0] * 0.8,) * 3)
        shade = float(rng.uniform(34, 78))
        self.rect(x0, y0, x1, y1, (shade * 1.2, shade * 1.06, shade))
        slope = np.array(
            [[x0, y0], [x0 + (x1 - x0) * 0.65, y0], [x0, y0 + (y1 - y0) * 0.75]], np.int32
        )
        cv2.fillConvexPoly(self.bgr, slope, (shade * 1.8, shade * 1.6, shade * 1.4))
        if rng.random() < 0.5:
            drawn = y0 + (y1 - y0) * float(rng.choice([0.25, 0.45, 1.0]))
            cloth = float(rng.uniform(120, 205))
            self.rect(x0, y0, x1, drawn, (cloth * 0.92, cloth * 0.97, cloth))
        middle = (x0 + x1) / 2
        self.rect(middle, y0, middle + 1, y1, self.trim)
        self.rect(x0, y0 + (y1 - y0) * 0.33, x1, y0 + (y1 - y0) * 0.33, self.trim)
        bright = self.light is not None and rng.random() < self.lit
        leak = self.climate.rooms * (1.0 if bright else float(rng.uniform(0, 0.6)))
        self.warm(x0, y0, x1, y1, self.climate.window + leak)
        if bright:
            self.shine(x0, y0, x1, y1)

    def shine(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """Light a rectangle from inside."""
        if self.light is None:
            return
        power = float(self.rng.uniform(0.5, 1.0))
        warm = float(self.rng.uniform(0, 1))
        colour = ((110 + 90 * (1 - warm)) * power, 205 * power, 246 * power, 255)
        a, b = (int(x0) + 1, int(y0) + 1), (int(x1) - 1, int(y1) - 1)
        cv2.rectangle(self.light, a, b, colour, -1)
        middle = int((x0 + x1) / 2)
        cv2.line(self.light, (middle, a[1]), (middle, b[1]), (0, 0, 0, 0), 1)
        if self.rng.random() < 0.6:
            half = (middle, b[1]) if self.rng.random() < 0.5 else b
            dim = tuple(0.7 * c for c in colour[:3])
            cv2.rectangle(self.light, a, half, (*dim, 255), -1)

    def floors(self) -> None:
        """Rows of windows, the ground floor last."""
        house, scale = self.house, self.scale
        bays = max(round(self.width / scale / house.bay_m), 1)
        bay = self.width / bays
        wide = bay * float(self.rng.uniform(0.36, 0.52)) if house.style != "glass" else bay * 0.9
        tall = house.floor_m * scale * (0.5 if house.style != "glass" else 0.78)
        for floor in range(house.floors):
            base = self.height - floor * house.floor_m * scale
            top = base - house.floor_m * scale
            if floor and house.style != "brick":
                self.rect(0, base - 2, self.width, base, tuple(c * 0.82 for c in house.colour))  # type: ignore[arg-type]
                self.warm(0, base - 3, self.width, base, 0.5)
            if floor == 0 and house.shop:
                self.shop(base)
                continue
            door = int(self.rng.integers(bays)) if floor == 0 else -1
            for index in range(bays):
                x = (index + 0.5) * bay
                y0 = top + (house.floor_m * scale - tall) * 0.42
                if index == door:
                    self.door(x, base)
                else:
                    self.window(x - wide / 2, y0, x + wide / 2, y0 + tall)

    def door(self, x: float, base: float) -> None:
        """Paint a house door with a step."""
        s = self.scale
        tint = tuple(float(v) for v in self.rng.uniform(30, 110, 3))
        self.rect(x - 0.62 * s, base - 2.35 * s, x + 0.62 * s, base, self.trim)
        self.rect(x - 0.5 * s, base - 2.2 * s, x + 0.5 * s, base, (tint[0], tint[1], tint[2]))
        self.rect(x - 0.3 * s, base - 2.0 * s, x + 0.3 * s, base - 1.3 * s, (70, 62, 56))
        self.warm(x - 0.5 * s, base - 2.2 * s, x + 0.5 * s, base, self.climate.window * 0.5)

    def shop(self, base: float) -> None:
        """Paint a row of shop windows under a sign board."""
        s, rng = self.scale, self.rng
        x = 0.0
        while x < self.width - 3 * s:
            wide = min(float(rng.uniform(4, 7)) * s, self.width - x)
            sign = tuple(float(v) for v in rng.uniform(20, 200, 3))
            self.rect(x + 4, base - 3.0 * s, x + wide - 4, base, (52, 50, 48))
            self.rect(x + 8, base - 2.35 * s, x + wide - 8, base - 0.45 * s, (96, 88, 80))
            for _ in range(5):
                at = float(rng.uniform(x + 10, x + wide - 18))
                goods = tuple(float(v) for v in rng.uniform(60, 190, 3))
                self.rect(at, base - float(rng.uniform(0.8, 1.7)) * s, at + 9, base - 0.5 * s,
                          (goods[0], goods[1], goods[2]))  # fmt: skip
            self.rect(
                x + 4, base - 3.0 * s, x + wide - 4, base - 2.4 * s, (sign[0], sign[1], sign[2])
            )
            for letter in range(int(rng.integers(4, 10))):
                at = x + wide * 0.25 + letter * 7
                self.rect(at, base - 2.85 * s, at + 4, base - 2.55 * s, (228, 230, 232))
            self.warm(x + 8, base - 2.35 * s, x + wide - 8, base - 0.45 * s,
                      self.climate.window + self.climate.rooms)  # fmt: skip
            if rng.random() < 2.2 * self.lit:
                self.shine(x + 8, base - 2.35 * s, x + wide - 8, base - 0.45 * s)
            if rng.random() < 0.4:
                self.rect(x + 4, base - 2.5 * s, x + wide - 4, base - 2.1 * s,
                          (sign[2], sign[0], sign[1]))  # fmt: skip
            x += wide

    def eaves(self) -> None:
        """Cornice on top, grime at the bottom."""
        self.rect(0, 0, self.width, 7, tuple(min(c * 1.1, 250) for c in self.house.colour))  # type: ignore[arg-type]
        self.rect(0, 8, self.width, 9, (60, 60, 60))
        rows = np.linspace(0, 1, self.height)[:, None]
        factor = 1.04 - 0.24 * np.clip((rows - 0.72) / 0.28, 0, 1) ** 2
        plane = np.broadcast_to((factor * 200).astype(np.uint8), (self.height, self.width))
        self.bgr = cv2.multiply(self.bgr, cv2.merge([plane] * 3), scale=1 / 200)


def paint_front(
    house: Building, length: float, climate: Climate, *, daylight: NDArray[np.float64], lit: float
) -> Texture:
    """Return one front of a house as a texture without holes.

    Args:
        house: which one.
        length: metres.
        climate: warms it.
        daylight: (3,) light on it, blue, green, red, 1 = full.
        lit: share of windows with light inside.
    """
    painter = _Painter(house, length, climate, lit)
    if house.style != BLANK:
        painter.floors()
    painter.eaves()
    planes = [
        cv2.convertScaleAbs(plane, alpha=float(factor))
        for plane, factor in zip(cv2.split(painter.bgr), daylight, strict=True)
    ]
    front = cv2.merge(planes)
    outside = np.full((painter.height, painter.width), 255, np.uint8)
    if painter.light is not None:
        shining = cv2.extractChannel(painter.light, 3)
        cv2.copyTo(cv2.cvtColor(painter.light, cv2.COLOR_BGRA2BGR), shining, front)
        outside = cv2.bitwise_not(shining)
    return Texture.solid(front, outside, painter.heat)
