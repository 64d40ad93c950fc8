# SPDX-License-Identifier: Apache-2.0
"""Shapes of cars, vans, trucks and buses: faces around the point on the ground under their middle.

Local coordinates: x right, y up, z forward, metres. Corners run clockwise as seen from outside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from segmif_ros.rig.draw.items import Points

Row = tuple[float, ...]


class Stuff(IntEnum):
    """What a face is made of; decides its colour and its temperature."""

    PAINT = 0
    HOOD = 1
    GLASS = 2
    DARK = 3
    TYRE = 4
    RIM = 5
    HEAD = 6
    TAIL = 7
    PLATE = 8
    CARGO = 9
    GRILLE = 10
    UNDER = 11
    STRIPE = 12
    HUB = 13


class Faces(NamedTuple):
    """Faces in painter's order.

    Attributes:
        points: (F, K, 3) corners.
        stuff: (F,) `Stuff` of each.
        fine: (F,) true for details that far vehicles go without.
    """

    points: Points
    stuff: NDArray[np.intp]
    fine: NDArray[np.bool_]


class Shape(NamedTuple):
    """Flat faces of four corners, wheels of twelve, and what they all fit into, metres."""

    quads: Faces
    discs: Faces
    half_width: float
    half_length: float
    height: float


class _Builder:
    def __init__(self) -> None:
        self._quads: list[tuple[Points, Stuff, bool]] = []
        self._discs: list[tuple[Points, Stuff, bool]] = []

    def quad(self, corners: list[Row], stuff: Stuff, *, away: Row, fine: bool = False) -> None:
        """Add a face, turned so that its outside looks away from the point `away`."""
        points = np.asarray(corners, dtype=np.float64)
        normal = np.cross(points[2] - points[0], points[3] - points[1])
        if normal @ (points.mean(axis=0) - np.asarray(away)) < 0:
            points = points[::-1]
        self._quads.append((points, stuff, fine))

    def loft(self, stations: list[tuple[float, list[tuple[float, float]]]], nose: float) -> None:
        """Skin a body over cross sections (z, [(half width, y), ... bottom to top])."""
        zs = [z for z, _ in stations]
        away = (0.0, 0.55, (zs[0] + zs[-1]) / 2)
        for (z0, ring0), (z1, ring1) in pairwise(stations):
            for side in (-1, 1):
                for (wa, ya), (wb, yb), (wc, yc), (wd, yd) in zip(
                    ring0, ring0[1:], ring1[1:], ring1, strict=False
                ):
                    self.quad(
                        [(side * wa, ya, z0), (side * wb, yb, z0), (side * wc, yc, z1),
                         (side * wd, yd, z1)], Stuff.PAINT, away=away,
                    )  # fmt: skip
            (wa, ya), (wb, yb) = ring0[-1], ring1[-1]
            stuff = Stuff.HOOD if (z0 + z1) / 2 > nose else Stuff.PAINT
            self.quad([(-wa, ya, z0), (wa, ya, z0), (wb, yb, z1), (-wb, yb, z1)], stuff,
                      away=(0, 0, away[2]))  # fmt: skip
        for z, ring in (stations[0], stations[-1]):
            for (wa, ya), (wb, yb) in pairwise(ring):
                self.quad([(-wa, ya, z), (wa, ya, z), (wb, yb, z), (-wb, yb, z)], Stuff.PAINT,
                          away=away)  # fmt: skip

    def box(
        self, x: float, y: tuple[float, float], z: tuple[float, float], stuff: Stuff,
        *, fine: bool = False,
    ) -> None:  # fmt: skip
        """Add the five visible faces of a box that is `x` wide on either side."""
        (y0, y1), (z0, z1) = y, z
        away = (0.0, (y0 + y1) / 2, (z0 + z1) / 2)
        self.quad(
            [(-x, y1, z0), (x, y1, z0), (x, y1, z1), (-x, y1, z1)], stuff, away=away, fine=fine
        )
        for side in (-x, x):
            self.quad([(side, y0, z0), (side, y1, z0), (side, y1, z1), (side, y0, z1)], stuff,
                      away=away, fine=fine)  # fmt: skip
        for end in (z0, z1):
            self.quad([(-x, y0, end), (x, y0, end), (x, y1, end), (-x, y1, end)], stuff, away=away,
                      fine=fine)  # fmt: skip

    def end(
        self, z: float, x: tuple[float, float], y: tuple[float, float], stuff: Stuff,
        *, fine: bool = True,
    ) -> None:  # fmt: skip
        """Add a patch on the front (z > 0) or rear."""
        (x0, x1), (y0, y1) = x, y
        self.quad([(x0, y0, z), (x0, y1, z), (x1, y1, z), (x1, y0, z)], stuff, away=(0, y0, 0),
                  fine=fine)  # fmt: skip

    def pair(
        self, z: float, x: tuple[float, float], y: tuple[float, float], stuff: Stuff,
        *, fine: bool = False,
    ) -> None:  # fmt: skip
        """Add the same patch on the left and on the right of an end."""
        self.end(z, x, y, stuff, fine=fine)
        self.end(z, (-x[1], -x[0]), y, stuff, fine=fine)

    def flank(
        self, x: float, z: tuple[float, float], y: tuple[float, float], stuff: Stuff,
        *, fine: bool = True,
    ) -> None:  # fmt: skip
        """Add the same patch to both sides."""
        (z0, z1), (y0, y1) = z, y
        for side in (-x, x):
            self.quad([(side, y0, z0), (side, y1, z0), (side, y1, z1), (side, y0, z1)], stuff,
                      away=(0, y0, (z0 + z1) / 2), fine=fine)  # fmt: skip

    def wheel(self, x: float, z: float, radius: float, *, arch: float = 1.22) -> None:
        """Add a wheel to both sides: arch, tyre, rim, hub; and its tread seen from the ends."""
        turn = np.arange(12) * (2 * math.pi / 12)
        for side in (-1, 1):
            for size, stuff, fine in (
                (arch, Stuff.UNDER, False), (1.0, Stuff.TYRE, False), (0.64, Stuff.RIM, True),
                (0.2, Stuff.HUB, True),
            ):  # fmt: skip
                cos, sin = np.cos(turn) * radius * size, np.sin(turn) * radius * size
                disc = np.stack(
                    [np.full(12, side * (x + 0.01)), np.maximum(radius + sin, 0.0), z + cos], 1
                )
                self._discs.append((disc if side < 0 else disc[::-1], stuff, fine))

    def treads(self, x: float, zs: tuple[float, float], radius: float) -> None:
        """Add what the ends show of the tyres below the bumper."""
        for z in zs:
            edge = z + math.copysign(radius * 0.8, z)
            for side in (-1, 1):
                outer, inner = side * x, side * (x - 0.22)
                self.quad([(inner, 0.0, edge), (inner, radius, edge), (outer, radius, edge),
                           (outer, 0.0, edge)], Stuff.TYRE, away=(0, 0, 0))  # fmt: skip

    def cabin(
        self,
        base: tuple[float, float, float],
        top: tuple[float, float, float],
        y: tuple[float, float],
        *,
        side_panes: int,
    ) -> None:
        """Add a greenhouse: (z rear, z front, half width) at the belt line and at the roof."""
        (b0, b1, bw), (t0, t1, tw), (y0, y1) = base, top, y
        away = (0.0, y0, (b0 + b1) / 2)
        self.quad([(-tw, y1, t0), (tw, y1, t0), (tw, y1, t1), (-tw, y1, t1)], Stuff.PAINT,
                  away=away)  # fmt: skip
        corners: list[Row]
        for zb, zt in ((b0, t0), (b1, t1)):
            corners = [(-bw, y0, zb), (-tw, y1, zt), (tw, y1, zt), (bw, y0, zb)]
            self.quad(corners, Stuff.PAINT, away=away)
            self.quad(_inset(corners, 0.88, 0.84), Stuff.GLASS, away=away)
        for side in (-1, 1):
            corners = [(side * bw, y0, b0), (side * tw, y1, t0), (side * tw, y1, t1),
                       (side * bw, y0, b1)]  # fmt: skip
            self.quad(corners, Stuff.PAINT, away=away)
            for pane in range(side_panes):
                part = _slice(corners, pane / side_panes, (pane + 1) / side_panes)
                self.quad(_inset(part, 0.88, 0.8), Stuff.GLASS, away=away)

    def shape(self, half_width: float, half_length: float, height: float) -> Shape:
        """Return the finished shape."""
        quads, discs = (
            Faces(*(np.array(column) for column in zip(*faces, strict=True)))
            for faces in (self._quads, self._discs)
        )
        return Shape(quads, discs, half_width, half_length, height)


def _inset(corners: list[Row], along: float, up: float) -> list[Row]:
    """Shrink a face given as bottom, top, top, bottom towards its middle."""
    a, b, c, d = (np.asarray(p) for p in corners)

    def at(s: float, v: float) -> Row:
        low, high = a + (d - a) * s, b + (c - b) * s
        return tuple(low + (high - low) * v)

    s0, s1, v0, v1 = (1 - along) / 2, (1 + along) / 2, (1 - up) / 2, (1 + up) / 2
    return [at(s0, v0), at(s0, v1), at(s1, v1), at(s1, v0)]


def _slice(corners: list[Row], start: float, stop: float) -> list[Row]:
    a, b, c, d = (np.asarray(p) for p in corners)
    return [tuple(a + (d - a) * start), tuple(b + (c - b) * start), tuple(b + (c - b) * stop),
            tuple(a + (d - a) * stop)]  # fmt: skip


@dataclass(frozen=True, slots=True)
class _CarPlan:
    length: float
    width: float
    belt: float
    hood: float
    roof: float
    cabin_base: tuple[float, float]
    cabin_top: tuple[float, float]
    wheel: float
    panes: int


_CARS = {
    "sedan": _CarPlan(4.6, 1.80, 0.96, 0.80, 1.44, (-1.85, 1.15), (-1.05, 0.25), 0.31, 2),
    "hatchback": _CarPlan(4.0, 1.72, 0.95, 0.82, 1.48, (-1.93, 1.10), (-1.55, 0.30), 0.30, 2),
    "suv": _CarPlan(4.6, 1.90, 1.12, 1.00, 1.74, (-2.18, 1.15), (-1.85, 0.45), 0.36, 3),
    "van": _CarPlan(5.0, 1.94, 1.16, 1.02, 2.05, (-2.45, 1.80), (-2.38, 1.00), 0.34, 3),
}


def _car(plan: _CarPlan, coarse: bool) -> Shape:
    b = _Builder()
    half, w = plan.length / 2, plan.width / 2
    crease = plan.belt * 0.66
    b.box(w * 0.86, (0.16, 0.45), (-half * 0.92, half * 0.92), Stuff.UNDER)
    axle = (-half * 0.60, half * 0.63)
    b.treads(w * 0.94, axle, plan.wheel)
    nose = plan.cabin_base[1] - 0.15
    stern = plan.belt * (0.95 if plan.cabin_base[0] > -half + 0.3 else 1.0)
    stations = [
        (-half, [(w * 0.80, 0.36), (w * 0.85, crease * 0.95), (w * 0.80, stern * 0.93)]),
        (-half * 0.9, [(w * 0.93, 0.29), (w * 0.98, crease), (w * 0.88, stern)]),
        (-half * 0.45, [(w * 0.96, 0.25), (w, crease * 1.02), (w * 0.93, plan.belt)]),
        (half * 0.1, [(w * 0.96, 0.24), (w, crease * 1.02), (w * 0.94, plan.belt)]),
        (nose, [(w * 0.96, 0.25), (w, crease), (w * 0.92, plan.belt * 0.99)]),
        (half * 0.86, [(w * 0.90, 0.28), (w * 0.96, crease * 0.96), (w * 0.82, plan.hood)]),
        (half, [(w * 0.74, 0.34), (w * 0.82, crease * 0.86), (w * 0.70, plan.hood * 0.86)]),
    ]
    if coarse:
        stations = [(z, [ring[0], ring[2]]) for z, ring in stations[::2]]
    b.loft(stations, nose)
    b.flank(w * 1.005, (-half * 0.16, -half * 0.15), (0.34, plan.belt * 0.97), Stuff.DARK)
    b.flank(w * 1.005, (half * 0.44, half * 0.45), (0.34, plan.belt * 0.97), Stuff.DARK)
    rear, front = -half - 0.012, half + 0.012
    b.end(rear, (-w * 0.74, w * 0.74), (0.30, 0.44), Stuff.DARK)
    b.pair(rear, (w * 0.48, w * 0.83), (crease * 0.98, stern * 0.9), Stuff.TAIL)
    b.end(rear, (-0.26, 0.26), (crease * 0.92, crease * 0.92 + 0.12), Stuff.PLATE)
    b.end(front, (-w * 0.5, w * 0.5), (0.33, crease * 0.84), Stuff.GRILLE)
    b.pair(front, (w * 0.44, w * 0.82), (crease * 0.74, plan.hood * 0.86), Stuff.HEAD)
    b.end(front + 0.01, (-0.26, 0.26), (0.42, 0.53), Stuff.PLATE)
    for z in axle:
        b.wheel(w * 0.99, z, plan.wheel)
    b.cabin(
        (*plan.cabin_base, w * 0.92), (*plan.cabin_top, w * 0.70), (plan.belt * 0.97, plan.roof),
        side_panes=plan.panes,
    )  # fmt: skip
    return b.shape(w, half, plan.roof)


def _truck() -> Shape:
    b = _Builder()
    b.box(0.95, (0.35, 0.85), (-3.6, 3.3), Stuff.UNDER)
    b.treads(1.12, (-2.3, 2.3), 0.46)
    b.box(1.12, (0.5, 2.35), (1.75, 3.55), Stuff.PAINT)
    b.box(1.0, (2.35, 2.75), (1.85, 2.9), Stuff.PAINT, fine=True)
    b.box(1.22, (0.95, 3.35), (-3.7, 1.55), Stuff.CARGO)
    b.flank(1.225, (-3.6, 1.45), (2.0, 2.5), Stuff.STRIPE, fine=False)
    b.flank(1.225, (-3.65, 1.5), (0.95, 1.05), Stuff.DARK)
    b.flank(1.13, (2.35, 3.2), (1.45, 2.15), Stuff.GLASS, fine=False)
    b.flank(1.13, (2.28, 2.31), (0.6, 2.2), Stuff.DARK)
    rear, front = -3.715, 3.565
    b.end(rear, (-0.01, 0.01), (1.0, 3.3), Stuff.DARK)
    b.end(rear, (-1.18, 1.18), (0.95, 1.04), Stuff.DARK)
    b.end(rear, (-1.15, 1.15), (0.55, 0.72), Stuff.DARK, fine=False)
    b.pair(rear - 0.01, (0.78, 1.12), (0.57, 0.70), Stuff.TAIL)
    b.end(rear - 0.01, (-0.26, 0.26), (0.57, 0.69), Stuff.PLATE)
    b.end(front, (-1.0, 1.0), (1.4, 2.2), Stuff.GLASS, fine=False)
    b.end(front, (-0.8, 0.8), (0.8, 1.2), Stuff.GRILLE)
    b.pair(front, (0.72, 1.05), (0.68, 0.9), Stuff.HEAD)
    for z in (-2.3, 2.3):
        b.wheel(1.13, z, 0.46, arch=1.12)
    return b.shape(1.22, 3.65, 3.35)


def _bus() -> Shape:
    b = _Builder()
    b.box(1.1, (0.2, 0.5), (-5.3, 5.3), Stuff.UNDER)
    b.treads(1.18, (-3.0, 3.4), 0.46)
    b.box(1.25, (0.34, 3.05), (-5.5, 5.5), Stuff.PAINT)
    b.box(0.8, (3.05, 3.25), (-3.2, 1.0), Stuff.PAINT, fine=True)
    b.flank(1.255, (-5.4, 5.4), (0.36, 0.75), Stuff.STRIPE, fine=False)
    b.flank(1.256, (-5.3, 5.35), (1.3, 2.45), Stuff.DARK, fine=False)
    for z in np.arange(-5.2, 4.0, 1.55):
        b.flank(1.26, (float(z), float(z) + 1.42), (1.36, 2.4), Stuff.GLASS, fine=False)
    for z in (-0.6, 4.25):
        b.quad([(1.262, 0.42, z), (1.262, 2.45, z), (1.262, 2.45, z + 1.05),
                (1.262, 0.42, z + 1.05)], Stuff.DARK, away=(0, 1, z), fine=True)  # fmt: skip
        b.quad([(1.266, 0.52, z + 0.08), (1.266, 2.35, z + 0.08), (1.266, 2.35, z + 0.97),
                (1.266, 0.52, z + 0.97)], Stuff.GLASS, away=(0, 1, z), fine=True)  # fmt: skip
    rear, front = -5.515, 5.515
    b.end(rear, (-1.1, 1.1), (1.5, 2.6), Stuff.GLASS, fine=False)
    b.end(rear, (-0.9, 0.9), (0.6, 1.25), Stuff.GRILLE, fine=False)
    b.pair(rear, (0.95, 1.2), (0.7, 1.4), Stuff.TAIL)
    b.end(rear - 0.01, (-0.26, 0.26), (0.42, 0.54), Stuff.PLATE)
    b.end(rear - 0.01, (-0.35, 0.35), (2.7, 2.95), Stuff.DARK)
    b.end(front, (-1.15, 1.15), (1.05, 2.55), Stuff.GLASS, fine=False)
    b.end(front, (-0.9, 0.9), (2.65, 2.98), Stuff.DARK, fine=False)
    b.pair(front, (0.8, 1.15), (0.55, 0.8), Stuff.HEAD)
    b.end(front, (-0.5, 0.5), (0.45, 0.6), Stuff.DARK)
    for z in (-3.0, 3.4):
        b.wheel(1.26, z, 0.46, arch=1.14)
    return b.shape(1.25, 5.5, 3.05)


@lru_cache(maxsize=16)
def shape_of(kind: str, *, coarse: bool = False) -> Shape:
    """Return the shape of a "sedan", "hatchback", "suv", "van", "truck" or "bus".

    Args:
        kind: which one.
        coarse: with fewer faces, for vehicles far away.

    Raises:
        ValueError: another kind.
    """
    if kind in _CARS:
        return _car(_CARS[kind], coarse)
    if kind == "truck":
        return _truck()
    if kind == "bus":
        return _bus()
    raise ValueError(f"vehicle kind {kind!r}: expected one of {sorted(_CARS)}, 'truck', 'bus'")
