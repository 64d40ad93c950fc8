# SPDX-License-Identifier: Apache-2.0
"""Sets one street up under one light, and lists its surfaces back to front for a moment in time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.rig import textures
from segmif_ros.rig.climate import Climate
from segmif_ros.rig.facades import Facade, paint_front
from segmif_ros.rig.figures import Limbs, bicycle, motorcycle, outline, rider, walker
from segmif_ros.rig.labels import Label
from segmif_ros.rig.lighting import Light
from segmif_ros.rig.raster import HEAT_ZERO, Item, Polygons, Sprite, Texture
from segmif_ros.rig.scene import (
    Building,
    Colour,
    Furniture,
    Motion,
    Plant,
    Scene,
    Vehicle,
)
from segmif_ros.rig.vehicles import Shape, Stuff, shape_of

Points = NDArray[np.float64]

DETAIL_M = 42.0
"""Vehicles farther away go without their small parts."""
SIGHT_M = 128.0
TINTS: tuple[Colour, ...] = (
    (52, 128, 86), (44, 104, 92), (70, 132, 110), (40, 130, 190), (34, 92, 196), (50, 160, 206),
)  # fmt: skip
VEHICLE_LABELS = {"truck": Label.TRUCK, "bus": Label.BUS}
BUS_PAINTS: tuple[Colour, ...] = ((60, 60, 190), (70, 170, 214), (170, 110, 50), (210, 214, 214))


@dataclass(slots=True, eq=False)
class _Body:
    """A vehicle ready to be moved: faces turned to its heading, coloured and warmed."""

    vehicle: Vehicle
    shape: Shape
    parts: dict[bool, list[Polygons]]


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


class Stage:
    """One scene under one light: everything that does not change from frame to frame is kept.

    Args:
        scene: the street.
        light: its visible light.
        climate: its temperatures.
    """

    def __init__(self, scene: Scene, light: Light, climate: Climate) -> None:
        self.scene, self.light, self.climate = scene, light, climate
        self._fronts: dict[tuple[int, str], Facade] = {}
        self._leaves: dict[tuple[str, int, int, bool], Texture] = {}
        self._bodies = [self._body(vehicle) for vehicle in scene.vehicles]
        v = scene.view
        self.eye = np.array([v.x, v.height, 0.0])
        self._forward = np.array([math.sin(v.yaw), math.cos(v.yaw)])

    def _depth(self, x: float, z: float) -> float:
        return float((x - self.scene.view.x) * self._forward[0] + z * self._forward[1])

    def items(self, t: float) -> list[Item]:
        """Return everything above the ground at time `t` seconds, back to front."""
        behind: list[tuple[float, list[Item]]] = []
        front: list[tuple[float, list[Item]]] = []
        for depth, x, z, items in self._things(t):
            hidden = abs(x) > self.scene.street.frontage(1 if x > 0 else -1) - 0.3
            walled = any(b.side == (1 if x > 0 else -1) for b in self.scene.buildings)
            (behind if hidden and walled and z > 0 else front).append((depth, items))
        ordered: list[Item] = []
        for _, items in sorted(behind, key=lambda entry: -entry[0]):
            ordered += items
        for house in sorted(
            self.scene.buildings, key=lambda b: -self.scene.ahead(b.z + b.length / 2, t)
        ):
            ordered += self._house(house, t)
        for _, items in sorted(front, key=lambda entry: -entry[0]):
            ordered += items
        return ordered

    def _things(self, t: float) -> Iterator[tuple[float, float, float, list[Item]]]:
        scene = self.scene
        for plant in scene.plants:
            z = scene.ahead(plant.z, t)
            if -6.0 < z < SIGHT_M and self._seen(plant.x, z, 8.0):
                if plant.kind == "hedge":
                    yield (
                        self._depth(plant.x, z + plant.length / 2),
                        plant.x,
                        z,
                        self._hedge(plant, z),
                    )
                else:
                    yield self._depth(plant.x, z), plant.x, z, self._tree(plant, z)
        for thing in scene.furniture:
            z = scene.ahead(thing.z, t)
            if 0.5 < z < 95.0 and self._seen(thing.x, z, 3.0):
                yield self._depth(thing.x, z), thing.x, z, self._furniture(thing, z)
        for body in self._bodies:
            x, z, _ = scene.locate(body.vehicle.track, t)
            if self._seen(x, z, 6.0) and z < SIGHT_M:
                yield self._depth(x, z), x, z, self._vehicle(body, x, z)
        yield from self._figures(t)

    def _seen(self, x: float, z: float, margin: float) -> bool:
        """True when something within `margin` of (x, z) can be inside either field of view."""
        dx = x - self.scene.view.x
        depth = dx * self._forward[0] + z * self._forward[1]
        across = dx * self._forward[1] - z * self._forward[0]
        return depth > -margin and abs(across) < 0.78 * max(depth, 0.0) + margin

    # --- houses

    def _front(self, house: Building, part: str, length: float) -> Facade:
        key = (house.seed, part)
        if key not in self._fronts:
            self._fronts[key] = paint_front(house, length, self.climate, self.light.lit_rooms)
            self._shade_front(self._fronts[key], house, part)
        return self._fronts[key]

    def _shade_front(self, facade: Facade, house: Building, part: str) -> None:
        normal = np.array([[-house.side, 0.0, 0.0] if part == "street" else [0.0, 0.0, -1.0]])
        facade.front.lighten(self.light.shade(normal)[0])

    def _wall_kelvin(self, normal: tuple[float, float, float]) -> float:
        facing = max(float(np.dot(normal, self.light.sun)), 0.0)
        return self.climate.wall + self.climate.wall_sun * facing

    def _house(self, house: Building, t: float) -> list[Item]:
        z0 = self.scene.ahead(house.z, t)
        z1 = z0 + house.length
        if z1 < 1.0 or z0 > SIGHT_M + 10:
            return []
        side, h = house.side, house.height
        x, back = side * house.x, side * (house.x + house.depth)
        items: list[Item] = []
        if z0 > 1.0 and self._gap_before(house):
            wall = self._front(house, "end", house.depth)
            ends = (x, back) if side > 0 else (back, x)
            corners = np.array(
                [(ends[0], h, z0), (ends[1], h, z0), (ends[1], 0, z0), (ends[0], 0, z0)]
            )
            items += self._panel(corners, wall, self._wall_kelvin((0, 0, -1)))
            if house.gable:
                items.append(self._gable_end(house, x, back, z0))
        if house.gable:
            items.append(self._roof(house, x, back, z0, z1))
        wall = self._front(house, "street", house.length)
        near, far = (z0, z1) if side > 0 else (z1, z0)
        # On the right the far end is on the left of the picture, and on the left it is the near one.
        left, right = far, near
        corners = np.array([(x, h, left), (x, h, right), (x, 0, right), (x, 0, left)])
        items += self._panel(corners, wall, self._wall_kelvin((-side, 0, 0)))
        return items

    def _gap_before(self, house: Building) -> bool:
        return not any(
            other.side == house.side and abs(other.z + other.length - house.z) < 0.3
            and other.height > house.height - 0.5 and abs(other.x - house.x) < 0.3
            for other in self.scene.buildings
        )  # fmt: skip

    @staticmethod
    def _panel(corners: Points, wall: Facade, kelvin: float) -> list[Item]:
        items: list[Item] = [Sprite(corners, wall.front, kelvin, Label.BUILDING)]
        if wall.rooms is not None:
            items.append(Sprite(corners, wall.rooms, kelvin, Label.BUILDING, glow=True))
        return items

    def _roof(self, house: Building, x: float, back: float, z0: float, z1: float) -> Polygons:
        rise, ridge = house.depth * 0.36, (x + back) / 2
        eave = x - house.side * 0.4
        h = house.height
        slope = np.array(
            [
                [
                    (eave, h - 0.2, z0),
                    (ridge, h + rise, z0),
                    (ridge, h + rise, z1),
                    (eave, h - 0.2, z1),
                ]
            ]
        )
        normal = np.array([[-house.side * 0.58, 0.81, 0.0]])
        tiles: Colour = ((58, 66, 112), (66, 68, 72), (52, 60, 86))[house.seed % 3]
        heat = self.climate.wall - 1.5 + 1.5 * self.climate.wall_sun * max(
            float(normal[0] @ np.asarray(self.light.sun)), 0.0)  # fmt: skip
        return Polygons(
            slope, np.asarray(tiles) * self.light.shade(normal), np.array([heat]), Label.BUILDING
        )

    def _gable_end(self, house: Building, x: float, back: float, z: float) -> Polygons:
        h, ridge = house.height, (x + back) / 2
        corners = np.array(
            [[(x, h, z), (ridge, h + house.depth * 0.36, z), (back, h, z), (back, h, z)]]
        )
        shade = self.light.shade(np.array([[0.0, 0.0, -1.0]]))
        return Polygons(
            corners, np.asarray(house.colour) * shade,
            np.array([self._wall_kelvin((0, 0, -1))]), Label.BUILDING,
        )  # fmt: skip

    # --- plants

    def _foliage(self, kind: str, variant: int, tint: int, flip: bool) -> Texture:
        key = (kind, variant, tint, flip)
        if key not in self._leaves:
            luma, alpha = textures.crown(variant) if kind == "tree" else textures.leaves()
            colour = np.asarray(TINTS[tint], dtype=np.float64)
            if kind == "tree" and variant == textures.BARE_CROWN:
                colour = np.array([74.0, 84.0, 96.0])
            lit = colour * self.light.shade(np.array([[0.0, 0.8, -0.6]]))[0] / 118.0
            bgr = cv2.merge([cv2.convertScaleAbs(luma, alpha=float(c)) for c in lit])
            heat = (luma.astype(np.int32) - 110) * 1 + HEAT_ZERO
            planes = [bgr, alpha, heat.astype(np.uint16)]
            if flip:
                planes = [np.ascontiguousarray(plane[:, ::-1]) for plane in planes]
            self._leaves[key] = Texture.from_straight(planes[0], planes[1], planes[2])
        return self._leaves[key]

    def _upright(self, x: float, z: float, half: float, y0: float, y1: float) -> Points:
        """Return a rectangle that faces the rig."""
        dx, dz = self._forward[1] * half, -self._forward[0] * half
        return np.array([(x - dx, y1, z - dz), (x + dx, y1, z + dz), (x + dx, y0, z + dz),
                         (x - dx, y0, z - dz)])  # fmt: skip

    def _tree(self, plant: Plant, z: float) -> list[Item]:
        texture = self._foliage(plant.kind, plant.variant, plant.tint, plant.flip)
        corners = self._upright(plant.x, z, plant.width / 2, 0.0, plant.height)
        crown = Sprite(corners, texture, self.climate.leaves, Label.VEGETATION)
        if plant.kind != "tree":
            return [crown]
        r = 0.028 * plant.height
        trunk = self._pole(plant.x, z, 0.0, plant.height * 0.42, r, (64, 78, 92),
                           self.climate.leaves + 0.6, Label.VEGETATION)  # fmt: skip
        return [trunk, crown]

    def _hedge(self, plant: Plant, z: float) -> list[Item]:
        texture = self._foliage(plant.kind, 0, plant.tint, False)
        side = 1.0 if plant.x > 0 else -1.0
        items: list[Item] = []
        near, far = z, z + plant.length
        ends = (plant.x, plant.x + side * plant.width)
        end = np.array([(min(ends), plant.height, near), (max(ends), plant.height, near),
                        (max(ends), 0, near), (min(ends), 0, near)])  # fmt: skip
        pieces = max(round(plant.length / (1.6 * plant.height)), 1)
        for piece in reversed(range(pieces)):
            a = near + plant.length * piece / pieces
            b = near + plant.length * (piece + 1) / pieces
            left, right = (b, a) if side > 0 else (a, b)
            flank = np.array([(plant.x, plant.height, left), (plant.x, plant.height, right),
                              (plant.x, 0, right), (plant.x, 0, left)])  # fmt: skip
            items.append(Sprite(flank, texture, self.climate.leaves, Label.VEGETATION))
        if far > 1.0 and near > 0.8:
            items.append(Sprite(end, texture, self.climate.leaves, Label.VEGETATION))
        return items

    # --- things on poles

    def _pole(
        self, x: float, z: float, y0: float, y1: float, radius: float, colour: Colour,
        kelvin: float, label: int,
    ) -> Polygons:  # fmt: skip
        """Return a round post: a dark, a middle and a bright stripe."""
        edges = np.array([-1.0, -0.35, 0.35, 1.0]) * radius
        dx, dz = self._forward[1], -self._forward[0]
        faces = [
            [(x + a * dx, y1, z + a * dz), (x + b * dx, y1, z + b * dz),
             (x + b * dx, y0, z + b * dz), (x + a * dx, y0, z + a * dz)]
            for a, b in zip(edges, edges[1:], strict=False)
        ]  # fmt: skip
        normals = np.array([[-0.8, 0.1, -0.6], [0.0, 0.1, -1.0], [0.8, 0.1, -0.6]])
        shade = self.light.shade(normals) * np.array([[1.05], [0.95], [0.72]])
        return Polygons(np.array(faces), np.asarray(colour) * shade, np.full(3, kelvin), label)

    def _flat_shape(
        self, points: Points, colour: Colour, kelvin: float, label: int, *, glow: bool = False
    ) -> Polygons:
        shade = self.light.shade(np.array([[0.0, 0.2, -0.98]])) if not glow else 1.0
        return Polygons(points[None], np.asarray(colour) * shade * np.ones((1, 3)),
                        np.array([kelvin]), label, np.array([glow]))  # fmt: skip

    def _round(self, x: float, y: float, z: float, radius: float) -> Points:
        turn = np.arange(12) * (2 * math.pi / 12)
        across = radius * np.cos(turn)
        return np.stack([x + across * self._forward[1], y + radius * np.sin(turn),
                         z - across * self._forward[0]], axis=1)  # fmt: skip

    def _furniture(self, thing: Furniture, z: float) -> list[Item]:
        steel = self.climate.steel
        if thing.kind == "lamp":
            return self._lamp(thing, z)
        if thing.kind == "signal":
            return self._signal(thing, z)
        if thing.kind == "bollard":
            post = self._pole(thing.x, z, 0, thing.height, 0.06, (70, 72, 74), steel, Label.POLE)
            return [post]
        if thing.kind == "pole":
            return [self._pole(thing.x, z, 0, thing.height, 0.13, (84, 98, 112), steel + 0.4,
                               Label.POLE)]  # fmt: skip
        face, alpha = textures.sign_face(textures.SIGNS[thing.variant % len(textures.SIGNS)])
        post = self._pole(thing.x, z, 0, thing.height, 0.04, (140, 142, 144), steel, Label.POLE)
        plate = self._upright(thing.x, z - 0.05, 0.36, thing.height - 0.62, thing.height + 0.1)
        key = ("sign", thing.variant % len(textures.SIGNS), thing.facing, False)
        if key not in self._leaves:
            shown = face if thing.facing < 0 else np.full_like(face, 118)
            shade = self.light.shade(np.array([[0.0, 0.0, -1.0]]))[0]
            # Sign faces are retroreflective: headlights make them stand out.
            gain = shade * (1.5 if self.light.lamps and thing.facing < 0 else 1.0)
            lit = cv2.merge([
                cv2.convertScaleAbs(plane, alpha=float(g))
                for plane, g in zip(cv2.split(shown), gain, strict=True)
            ])  # fmt: skip
            self._leaves[key] = Texture.from_straight(lit, alpha, None)
        sign = Sprite(plate, self._leaves[key], steel - 0.8, Label.TRAFFIC_SIGN)
        return [post, sign]

    def _lamp(self, thing: Furniture, z: float) -> list[Item]:
        steel, side = self.climate.steel, -1.0 if thing.x > 0 else 1.0
        post = self._pole(thing.x, z, 0, thing.height, 0.075, (98, 100, 100), steel, Label.POLE)
        tip = thing.x + side * 1.5
        arm = self._flat_shape(
            np.array([(thing.x, thing.height, z), (tip, thing.height + 0.25, z),
                      (tip, thing.height + 0.15, z), (thing.x, thing.height - 0.14, z)]),
            (92, 94, 94), steel, Label.POLE,
        )  # fmt: skip
        a, b = sorted((tip - side * 0.1, tip + side * 0.75))
        y = thing.height + 0.14
        lit = self.light.lamps
        head = self._flat_shape(
            np.array([(a, y + 0.14, z), (b, y + 0.1, z), (b, y - 0.04, z), (a, y - 0.1, z)]),
            (150, 226, 255) if lit else (150, 152, 150), steel + (24.0 if lit else 0.5), Label.POLE,
            glow=lit,
        )  # fmt: skip
        return [post, arm, head]

    def _signal(self, thing: Furniture, z: float) -> list[Item]:
        steel, dark = self.climate.steel, (34.0, 36.0, 34.0)
        post = self._pole(thing.x, z, 0, thing.height, 0.06, (72, 74, 74), steel, Label.POLE)
        items: list[Item] = [post]
        x, y = thing.x, thing.height - 0.1
        if thing.variant:
            x = thing.x - (2.6 if thing.x > 0 else -2.6)
            y = thing.height + 0.35
            items.append(self._flat_shape(
                np.array([(thing.x, thing.height, z), (x, thing.height, z),
                          (x, thing.height - 0.12, z), (thing.x, thing.height - 0.12, z)]),
                (72, 74, 74), steel, Label.POLE))  # fmt: skip
        half, tall = 0.19, 1.02
        label, warm = Label.TRAFFIC_LIGHT, steel + 2.5
        box = self._upright(x, z - 0.1, half, y - tall, y)
        items.append(self._flat_shape(box, dark, warm, label))
        if thing.facing > 0:
            return items
        on = int(self.scene.seed + round(abs(thing.z))) % 3
        for index, colour in enumerate(((40, 40, 235), (30, 190, 250), (120, 220, 60))):
            spot = self._round(x, y - 0.2 - index * 0.31, z - 0.12, 0.115)
            lit = index == on
            b, g, r = colour
            shown: Colour = (b, g, r) if lit else (b * 0.2, g * 0.2, r * 0.2)
            heat = warm + (5.0 if lit else 0.0)
            items.append(self._flat_shape(spot, shown, heat, label, glow=lit))
        return items

    # --- vehicles

    def _body(self, vehicle: Vehicle) -> _Body:
        shape = shape_of(vehicle.kind)
        quads, discs = _turn(shape.quads, vehicle.heading), _turn(shape.discs, vehicle.heading)
        label = VEHICLE_LABELS.get(vehicle.kind, Label.CAR)
        parts: dict[bool, list[Polygons]] = {}
        for detailed in (True, False):
            made = []
            for faces, stuff, fine in (
                (quads, shape.quad_stuff, shape.quad_fine),
                (discs, shape.disc_stuff, shape.disc_fine),
            ):
                keep = np.ones(len(faces), bool) if detailed else ~fine
                shown, kinds = faces[keep], stuff[keep]
                made.append(
                    Polygons(
                        shown, self._vehicle_colours(vehicle, kinds, _normals(shown)),
                        self._vehicle_heat(vehicle, kinds, _normals(shown)), label,
                        self._vehicle_glow(vehicle, kinds), cull=True,
                    )
                )  # fmt: skip
            parts[detailed] = made
        return _Body(vehicle, shape, parts)

    def _vehicle_colours(
        self, vehicle: Vehicle, kinds: NDArray[np.intp], normals: Points
    ) -> NDArray[Any]:
        paint = np.asarray(vehicle.paint)
        if vehicle.kind == "bus":
            paint = np.asarray(BUS_PAINTS[round(paint.sum()) % len(BUS_PAINTS)], dtype=float)
        lit = vehicle.lights and self.light.lamps
        tail = (60, 52, 255) if lit or (vehicle.lights and vehicle.braking) else (36, 28, 128)
        table = np.array([
            paint, paint * 0.97, (64, 58, 52), (34, 34, 35), (30, 30, 31), (132, 132, 134),
            (236, 250, 255) if lit else (206, 208, 206), tail, (196, 206, 208), (208, 210, 210),
            (44, 44, 46), (16, 16, 17), paint[[2, 0, 1]], (64, 64, 66),
        ], dtype=np.float64)  # fmt: skip
        colours = table[kinds]
        shade = self.light.shade(normals)
        glass = (kinds == Stuff.GLASS)[:, None]
        # Panes mirror the sky: brighter the more they face upwards.
        mirrored = np.asarray(self.light.sky_low) * (0.12 + 0.5 * np.maximum(normals[:, 1:2], 0.0))
        shown = np.where(glass, colours * shade + mirrored, colours * shade)
        glow = self._vehicle_glow(vehicle, kinds)
        return np.where(glow[:, None], colours, shown)

    def _vehicle_glow(self, vehicle: Vehicle, kinds: NDArray[np.intp]) -> NDArray[np.bool_]:
        if not vehicle.lights:
            return np.zeros(len(kinds), bool)
        glow = np.zeros(len(kinds), bool)
        if self.light.lamps or vehicle.braking:
            glow |= kinds == Stuff.TAIL
        if self.light.lamps:
            glow |= kinds == Stuff.HEAD
        return glow

    def _vehicle_heat(
        self, vehicle: Vehicle, kinds: NDArray[np.intp], normals: Points
    ) -> NDArray[Any]:
        c, hot = self.climate, vehicle.warmth
        running = 1.0 if vehicle.lights else 0.35
        table = np.array([
            c.body, c.body + 7.0 * hot, c.glass + 1.5 * hot, c.body + 2 * hot,
            c.steel + 9.0 * hot * running, c.steel + 12.0 * hot * running, c.body + 6 * hot * running,
            c.body + 2 * hot, c.body + hot, c.body - 0.5, c.body + 15.0 * hot, c.road + 8.0 * hot,
            c.body, c.steel + 18 * hot * running,
        ])  # fmt: skip
        sunny = np.maximum(normals @ np.asarray(self.light.sun), 0.0)
        sky = np.maximum(normals[:, 1], 0.0)
        metal = np.isin(kinds, (Stuff.PAINT, Stuff.HOOD, Stuff.CARGO, Stuff.STRIPE))
        # Shiny metal mirrors the cold sky, most on roofs.
        mirror = (c.air - c.sky_top) * 0.06
        return table[kinds] + metal * (0.6 * c.wall_sun * sunny - mirror * sky)

    def _vehicle(self, body: _Body, x: float, z: float) -> list[Item]:
        offset = np.array([x, 0.0, z])
        return [
            Polygons(p.points + offset, p.bgr, p.kelvin, p.label, p.glow, p.cull)
            for p in body.parts[z < DETAIL_M]
        ]

    # --- people and cycles

    def _figures(self, t: float) -> Iterator[tuple[float, float, float, list[Item]]]:
        scene, climate = self.scene, self.climate
        cast: list[tuple[float, float, Limbs]] = []
        for person in scene.people:
            x, z, way = scene.locate(person.track, t)
            if 1.2 < z < 95.0 and self._seen(x, z, 1.0):
                heading = person.heading if way > 0 else person.heading + math.pi
                cast.append((x, z, walker(person, t, heading, climate, Label.PERSON)))
        for cycle in scene.cycles:
            x, z, _ = scene.locate(cycle.track, t)
            if not 1.8 < z < 85.0 or not self._seen(x, z, 1.5):
                continue
            if cycle.kind == "bicycle":
                cast.append((x, z, bicycle(cycle, t, cycle.heading, climate, Label.BICYCLE)))
            else:
                cast.append((x, z, motorcycle(cycle, cycle.heading, climate, Label.MOTORCYCLE)))
            on_it = rider(cycle, t, cycle.heading, climate, Label.PERSON)
            if on_it is not None:
                cast.append((x, z - 1e-3, on_it))
        if not cast:
            return
        yield from self._outlined(cast)

    def _outlined(
        self, cast: list[tuple[float, float, Limbs]]
    ) -> Iterator[tuple[float, float, float, list[Item]]]:
        starts, stops = [], []
        for x, z, limbs in cast:
            c, s = math.cos(limbs.heading), math.sin(limbs.heading)
            for local, out in ((limbs.start, starts), (limbs.stop, stops)):
                p = np.asarray(local)
                out.append(np.stack([x + p[:, 0] * s + p[:, 2] * c, p[:, 1],
                                     z + p[:, 0] * c - p[:, 2] * s], axis=1))  # fmt: skip
        radius = np.concatenate([np.asarray(limbs.radius) for _, _, limbs in cast])
        corners = outline(np.concatenate(starts), np.concatenate(stops), radius, self.eye)
        shade = self.light.shade(np.array([[0.0, 0.25, -0.95]]))[0]
        first = 0
        for x, z, limbs in cast:
            last = first + len(limbs.start)
            bgr = np.asarray(limbs.bgr) * shade
            items: list[Item] = [
                Polygons(corners[first:last], bgr, np.asarray(limbs.kelvin), limbs.label)
            ]
            first = last
            yield self._depth(x, z), x, z, items

    # --- lights

    def lamps(self, t: float) -> list[tuple[float, float, float]]:
        """Return (x, height, distance ahead) of the lit street lamps at time `t`."""
        if not self.light.lamps:
            return []
        found = []
        for thing in self.scene.furniture:
            z = self.scene.ahead(thing.z, t)
            if thing.kind == "lamp" and -6.0 < z < 90.0:
                side = -1.0 if thing.x > 0 else 1.0
                found.append((thing.x + side * 1.8, thing.height, z))
        return found

    def headlights(self, t: float) -> list[tuple[float, float, float]]:
        """Return (x, distance ahead, heading) of vehicles with their headlights on."""
        if not self.light.lamps:
            return []
        found = []
        for body in self._bodies:
            x, z, _ = self.scene.locate(body.vehicle.track, t)
            if (
                body.vehicle.lights
                and 2.0 < z < 80.0
                and body.vehicle.track.motion is not Motion.STILL
            ):
                found.append((x, z, body.vehicle.heading))
        return found
