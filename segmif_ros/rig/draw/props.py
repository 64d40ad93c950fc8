# SPDX-License-Identifier: Apache-2.0
"""What stands along a street: plants, and things on poles, ready to slide past the rig."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import cv2
import numpy as np

from segmif_ros.rig.draw import textures
from segmif_ros.rig.draw.items import HEAT_ZERO, Item, Points, Polygons, Sprite, Texture
from segmif_ros.rig.scene.lighting import Climate, Light
from segmif_ros.rig.scene.scene import Colour, Furniture, Label, Plant, Scene

TINTS: tuple[Colour, ...] = (
    (52, 128, 86), (44, 104, 92), (70, 132, 110), (40, 130, 190), (34, 92, 196), (50, 160, 206),
)  # fmt: skip


class Prop:
    """A static object; its surfaces are made when it is first drawn.

    Args:
        x: street position to the right.
        z: street position along the road.
        make: returns its surfaces as if it stood at z = 0.
        reach: how far it extends from (x, z), metres.
        nearest: it is left out when it is nearer than this.
        farthest: it is left out when it is farther away than this.
    """

    def __init__(
        self,
        x: float,
        z: float,
        make: Callable[[], list[Item]],
        *,
        reach: float,
        nearest: float,
        farthest: float,
    ) -> None:
        self.x, self.z, self.reach = x, z, reach
        self.nearest, self.farthest = nearest, farthest
        self._make = make
        self._items: list[Item] | None = None

    def at(self, ahead: float) -> list[Item]:
        """Return the surfaces when it stands `ahead` metres in front of the rig."""
        if self._items is None:
            self._items = self._make()
        offset = np.array([0.0, 0.0, ahead])
        return [item.moved(offset) for item in self._items]


class Props:
    """Builds the plants and the street furniture of one scene under one light.

    Args:
        scene: the street.
        light: its visible light.
        climate: its temperatures.
    """

    def __init__(self, scene: Scene, light: Light, climate: Climate) -> None:
        self.scene, self.light, self.climate = scene, light, climate
        self._textures: dict[tuple[str, int, int, bool], Texture] = {}
        yaw = scene.view.yaw
        self._forward = (math.sin(yaw), math.cos(yaw))

    def props(self) -> list[Prop]:
        """Return one prop for each plant and each piece of furniture."""
        made = []
        for plant in self.scene.plants:
            hedge = plant.kind == "hedge"
            make = self._hedge if hedge else self._tree
            made.append(Prop(
                plant.x, plant.z, partial(make, plant),
                reach=plant.length + 2.0 if hedge else plant.width / 2 + 1.0,
                nearest=-plant.length if hedge else 4.0, farthest=128.0,
            ))  # fmt: skip
        for thing in self.scene.furniture:
            made.append(Prop(
                thing.x, thing.z, partial(self._furniture, thing),
                reach=3.0, nearest=0.8, farthest=95.0,
            ))  # fmt: skip
        return made

    # --- plants

    def _foliage(self, kind: str, variant: int, tint: int, flip: bool) -> Texture:
        key = (kind, variant, tint, flip)
        if key not in self._textures:
            luma, alpha = textures.crown(variant) if kind == "tree" else textures.leaves()
            colour = np.asarray(TINTS[tint], dtype=np.float64)
            if kind == "tree" and variant == textures.BARE_CROWN:
                colour = np.array([74.0, 84.0, 96.0])
            lit = colour * self.light.shade(np.array([[0.0, 0.8, -0.6]]))[0] / 118.0
            bgr = cv2.merge([cv2.convertScaleAbs(luma, alpha=float(c)) for c in lit])
            heat = (luma.astype(np.int32) - 110) * 2 + HEAT_ZERO
            planes = [bgr, alpha, heat.astype(np.uint16)]
            if flip:
                planes = [np.ascontiguousarray(plane[:, ::-1]) for plane in planes]
            self._textures[key] = Texture.pierced(planes[0], planes[1], planes[2])
        return self._textures[key]

    def _upright(self, x: float, half: float, y0: float, y1: float) -> Points:
        """Return a rectangle that faces the rig."""
        dx, dz = self._forward[1] * half, -self._forward[0] * half
        return np.array([(x - dx, y1, -dz), (x + dx, y1, dz), (x + dx, y0, dz),
                         (x - dx, y0, -dz)])  # fmt: skip

    def _tree(self, plant: Plant) -> list[Item]:
        texture = self._foliage(plant.kind, plant.variant, plant.tint, plant.flip)
        corners = self._upright(plant.x, plant.width / 2, 0.0, plant.height)
        crown = Sprite(corners, texture, self.climate.leaves, Label.VEGETATION)
        if plant.kind != "tree":
            return [crown]
        r = 0.028 * plant.height
        trunk = self._pole(plant.x, 0.0, plant.height * 0.42, r, (64, 78, 92),
                           self.climate.leaves + 0.6, Label.VEGETATION)  # fmt: skip
        return [trunk, crown]

    def _hedge(self, plant: Plant) -> list[Item]:
        texture = self._foliage(plant.kind, 0, plant.tint, False)
        side = 1.0 if plant.x > 0 else -1.0
        items: list[Item] = []
        ends = (plant.x, plant.x + side * plant.width)
        end = np.array([(min(ends), plant.height, 0), (max(ends), plant.height, 0),
                        (max(ends), 0, 0), (min(ends), 0, 0)])  # fmt: skip
        pieces = min(max(round(plant.length / (2.0 * plant.height)), 1), 4)
        for piece in reversed(range(pieces)):
            a = plant.length * piece / pieces
            b = plant.length * (piece + 1) / pieces
            left, right = (b, a) if side > 0 else (a, b)
            flank = np.array([(plant.x, plant.height, left), (plant.x, plant.height, right),
                              (plant.x, 0, right), (plant.x, 0, left)])  # fmt: skip
            items.append(Sprite(flank, texture, self.climate.leaves, Label.VEGETATION))
        items.append(Sprite(end, texture, self.climate.leaves, Label.VEGETATION))
        return items

    # --- things on poles

    def _pole(
        self, x: float, y0: float, y1: float, radius: float, colour: Colour,
        kelvin: float, label: int,
    ) -> Polygons:  # fmt: skip
        """Return a round post: a dark, a middle and a bright stripe."""
        edges = np.array([-1.0, -0.35, 0.35, 1.0]) * radius
        dx, dz = self._forward[1], -self._forward[0]
        faces = [
            [(x + a * dx, y1, a * dz), (x + b * dx, y1, b * dz),
             (x + b * dx, y0, b * dz), (x + a * dx, y0, a * dz)]
            for a, b in pairwise(edges)
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

    def _round(self, x: float, y: float, radius: float) -> Points:
        turn = np.arange(12) * (2 * math.pi / 12)
        across = radius * np.cos(turn)
        return np.stack([x + across * self._forward[1], y + radius * np.sin(turn),
                         -across * self._forward[0]], axis=1)  # fmt: skip

    def _furniture(self, thing: Furniture) -> list[Item]:
        make = {
            "lamp": self._lamp,
            "signal": self._signal,
            "sign": self._sign,
            "cone": self._cone,
            "cabinet": self._cabinet,
        }
        return make.get(thing.kind, self._post)(thing)

    def _post(self, thing: Furniture) -> list[Item]:
        steel, colour = self.climate.steel, (70.0, 72.0, 74.0)
        if thing.kind == "pole":
            return [self._pole(thing.x, 0, thing.height, 0.13, (84, 98, 112), steel + 0.4,
                               Label.POLE)]  # fmt: skip
        radius = 0.11 if thing.variant else 0.06
        kelvin = steel + thing.variant
        return [self._pole(thing.x, 0, thing.height, radius, colour, kelvin, Label.POLE)]

    def _cabinet(self, thing: Furniture) -> list[Item]:
        box = self._upright(thing.x, 0.42 * thing.height, 0.0, thing.height)
        grey = 60.0 + 17.0 * (round(thing.z * 7) % 8)
        kelvin = self.climate.steel + thing.variant
        return [self._flat_shape(box, (grey, grey, grey), kelvin, Label.BUILDING)]

    def _cone(self, thing: Furniture) -> list[Item]:
        items: list[Item] = []
        kelvin, count = self.climate.steel + thing.variant, 4
        for step in range(count):
            low, high = (thing.height * part / count for part in (step, step + 1))
            wide, slim = (0.2 * (1.05 - part / count) for part in (step, step + 1))
            corners = np.concatenate([
                self._upright(thing.x, slim, low, high)[:2],
                self._upright(thing.x, wide, low, high)[2:],
            ])  # fmt: skip
            colour: Colour = (220, 224, 226) if step == 2 else (30, 80, 236)
            items.append(self._flat_shape(corners, colour, kelvin, Label.POLE))
        return items

    def _sign(self, thing: Furniture) -> list[Item]:
        steel = self.climate.steel
        face, alpha = textures.sign_face(textures.SIGNS[thing.variant % len(textures.SIGNS)])
        post = self._pole(thing.x, 0, thing.height, 0.04, (140, 142, 144), steel, Label.POLE)
        plate = self._upright(thing.x, 0.36, thing.height - 0.62, thing.height + 0.1)
        key = ("sign", thing.variant % len(textures.SIGNS), thing.facing, False)
        if key not in self._textures:
            shown = face if thing.facing < 0 else np.full_like(face, 118)
            shade = self.light.shade(np.array([[0.0, 0.0, -1.0]]))[0]
            # Sign faces are retroreflective: headlights make them stand out.
            gain = shade * (1.5 if self.light.lamps and thing.facing < 0 else 1.0)
            lit = cv2.merge([
                cv2.convertScaleAbs(plane, alpha=float(g))
                for plane, g in zip(cv2.split(shown), gain, strict=True)
            ])  # fmt: skip
            self._textures[key] = Texture.pierced(lit, alpha, None)
        sign = Sprite(plate, self._textures[key], steel - 0.8, Label.TRAFFIC_SIGN)
        return [post, sign]

    def _lamp(self, thing: Furniture) -> list[Item]:
        steel, side = self.climate.steel, -1.0 if thing.x > 0 else 1.0
        post = self._pole(thing.x, 0, thing.height, 0.075, (98, 100, 100), steel, Label.POLE)
        tip = thing.x + side * 1.5
        arm = self._flat_shape(
            np.array([(thing.x, thing.height, 0.0), (tip, thing.height + 0.25, 0.0),
                      (tip, thing.height + 0.15, 0.0), (thing.x, thing.height - 0.14, 0.0)]),
            (92, 94, 94), steel, Label.POLE,
        )  # fmt: skip
        a, b = sorted((tip - side * 0.1, tip + side * 0.75))
        y = thing.height + 0.14
        lit = self.light.lamps
        head = self._flat_shape(
            np.array([(a, y + 0.14, 0), (b, y + 0.1, 0), (b, y - 0.04, 0), (a, y - 0.1, 0)]),
            (150, 226, 255) if lit else (150, 152, 150), steel + (24.0 if lit else 0.5), Label.POLE,
            glow=lit,
        )  # fmt: skip
        return [post, arm, head]

    def _signal(self, thing: Furniture) -> list[Item]:
        steel, dark = self.climate.steel, (34.0, 36.0, 34.0)
        post = self._pole(thing.x, 0, thing.height, 0.06, (72, 74, 74), steel, Label.POLE)
        items: list[Item] = [post]
        x, y = thing.x, thing.height - 0.1
        if thing.variant:
            x = thing.x - (2.6 if thing.x > 0 else -2.6)
            y = thing.height + 0.35
            items.append(self._flat_shape(
                np.array([(thing.x, thing.height, 0.0), (x, thing.height, 0.0),
                          (x, thing.height - 0.12, 0.0), (thing.x, thing.height - 0.12, 0.0)]),
                (72, 74, 74), steel, Label.POLE))  # fmt: skip
        half, tall = 0.19, 1.02
        label, warm = Label.TRAFFIC_LIGHT, steel + 2.5
        box = self._upright(x, half, y - tall, y)
        items.append(self._flat_shape(box, dark, warm, label))
        if thing.facing > 0:
            return items
        on = int(self.scene.seed + round(abs(thing.z))) % 3
        for index, colour in enumerate(((40, 40, 235), (30, 190, 250), (120, 220, 60))):
            spot = self._round(x, y - 0.2 - index * 0.31, 0.115)
            lit = index == on
            b, g, r = colour
            shown: Colour = (b, g, r) if lit else (b * 0.2, g * 0.2, r * 0.2)
            heat = warm + (5.0 if lit else 0.0)
            items.append(self._flat_shape(spot, shown, heat, label, glow=lit and self.light.lamps))
        return items
