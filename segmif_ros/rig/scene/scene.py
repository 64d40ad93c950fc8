# SPDX-License-Identifier: Apache-2.0
"""What stands and moves in one street: a frozen description, the same for both cameras.

Street coordinates: x right of the road's centre line, y up, z along the road, metres. The street
repeats every `Street.period_m`, so a run never ends. Traffic keeps to the right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, IntEnum


class Label(IntEnum):
    """FMB class ids."""

    UNLABELLED = 0
    ROAD = 1
    SIDEWALK = 2
    BUILDING = 3
    TRAFFIC_LIGHT = 4
    TRAFFIC_SIGN = 5
    VEGETATION = 6
    SKY = 7
    PERSON = 8
    CAR = 9
    TRUCK = 10
    BUS = 11
    MOTORCYCLE = 12
    BICYCLE = 13
    POLE = 14


BEHIND_M = 30.0
"""How far behind the rig the street is kept."""

SIDES = (-1, 1)
"""Left and right of the road."""

Colour = tuple[float, float, float]
"""Blue, green, red; 0-255."""


class Motion(Enum):
    """How something moves."""

    STILL = "still"
    ALONG = "along"
    """Along the street with its own speed."""
    LEAD = "lead"
    """Ahead of the rig at a slowly changing distance."""
    ACROSS = "across"
    """To and fro across the street (people)."""
    THROUGH = "through"
    """Through the cross street, again and again (vehicles)."""


@dataclass(frozen=True, slots=True)
class Track:
    """Position over time.

    Attributes:
        x: metres right of the centre line at time 0 (the middle of the walk for ACROSS).
        z: metres along the street at time 0 (ahead of the rig for LEAD).
        speed: metres per second; along +z, or along +x for ACROSS and THROUGH.
        motion: see `Motion`.
        reach: half the width of the walk of ACROSS and of the drive of THROUGH, metres.
        phase: start of the periodic part, 0-1.
    """

    x: float
    z: float
    speed: float = 0.0
    motion: Motion = Motion.STILL
    reach: float = 0.0
    phase: float = 0.0


@dataclass(frozen=True, slots=True)
class Junction:
    """A cross street at `z`, `width` metres wide, with zebra crossings on both sides."""

    z: float
    width: float
    signals: bool


@dataclass(frozen=True, slots=True)
class Street:
    """The ground plan. Widths in metres; tuples are (left, right).

    Attributes:
        lane: width of one lane.
        lanes: lanes in each direction.
        parking: width of the parking strips, 0 for none.
        verge: width of the lawns between kerb and sidewalk, 0 for none.
        sidewalk: width of the sidewalks.
        garden: lawn between sidewalk and buildings, 0 for none.
        period_m: the street repeats after this length.
        junction: the cross street, if any.
        wear: how patched and cracked the asphalt is, 0-1.
    """

    lane: float
    lanes: int
    parking: tuple[float, float]
    verge: tuple[float, float]
    sidewalk: tuple[float, float]
    garden: tuple[float, float]
    period_m: float
    junction: Junction | None
    wear: float

    def kerb(self, side: int) -> float:
        """Distance of the kerb from the centre line on side -1 (left) or +1 (right)."""
        return self.lane * self.lanes + self.parking[side > 0]

    def walk(self, side: int) -> tuple[float, float]:
        """Distances of the inner and outer border of the sidewalk."""
        inner = self.kerb(side) + self.verge[side > 0]
        return inner, inner + self.sidewalk[side > 0]

    def clear(self, z: float, margin: float, length: float = 0.0) -> bool:
        """True when z to z + length stays `margin` metres away from the cross street."""
        if self.junction is None:
            return True
        reach = self.junction.width / 2 + margin
        return z + length < self.junction.z - reach or z > self.junction.z + reach

    def frontage(self, side: int) -> float:
        """Distance of the building line."""
        return self.walk(side)[1] + self.garden[side > 0]


@dataclass(frozen=True, slots=True)
class View:
    """Where the rig is: lateral position, height, heading; metres and radians."""

    x: float
    height: float
    yaw: float
    pitch: float
    driving: bool


@dataclass(frozen=True, slots=True)
class Conditions:
    """Weather: air temperature, cloud cover 0-1, the sun, and the season (0 summer, 1 autumn)."""

    air_kelvin: float
    cloud: float
    sun_azimuth: float
    sun_elevation: float
    autumn: float


@dataclass(frozen=True, slots=True)
class Building:
    """A house on side -1 or +1, from `z` to `z + length`, its front at `x` from the centre line."""

    side: int
    x: float
    z: float
    length: float
    depth: float
    floors: int
    floor_m: float
    bay_m: float
    style: str
    colour: Colour
    gable: bool
    shop: bool
    seed: int

    @property
    def height(self) -> float:
        """Height of the eaves above ground, metres."""
        return self.floors * self.floor_m + 0.8


@dataclass(frozen=True, slots=True)
class Plant:
    """A "tree", "bush" or "hedge"; `length` along the street counts for hedges only."""

    kind: str
    x: float
    z: float
    height: float
    width: float
    variant: int
    tint: int
    length: float = 0.0
    flip: bool = False


@dataclass(frozen=True, slots=True)
class Vehicle:
    """A car, truck or bus. `heading` turns from +z towards +x; `warmth` 0 cold to 1 just driven."""

    kind: str
    track: Track
    heading: float
    paint: Colour
    warmth: float
    lights: bool
    braking: bool = False


@dataclass(frozen=True, slots=True)
class Person:
    """A pedestrian. `stride_mps` is 0 for a standing one."""

    track: Track
    heading: float
    height: float
    stride_mps: float
    phase: float
    coat: Colour
    trousers: Colour
    skin: Colour
    hair: Colour
    bag: int
    build: float


@dataclass(frozen=True, slots=True)
class Cycle:
    """A "bicycle" or "motorcycle", ridden when `rider` is given, parked otherwise."""

    kind: str
    track: Track
    heading: float
    paint: Colour
    rider: Person | None
    warmth: float


@dataclass(frozen=True, slots=True)
class Furniture:
    """Things at the road: "lamp", "signal", "sign", "pole", "bollard", "cone" or "cabinet".

    `facing` -1 faces the rig. `variant` of the last three: Kelvin above other steel.
    """

    kind: str
    x: float
    z: float
    height: float
    facing: int
    variant: int


@dataclass(frozen=True, slots=True)
class Marking:
    """Paint on the road from (x, z), metres; its far end is moved to the right by `lean`."""

    x: float
    z: float
    width: float
    length: float
    lean: float
    colour: Colour


@dataclass(frozen=True, slots=True)
class Scene:
    """One street with everything in it. Make one with `planner.random_scene`.

    Attributes:
        seed: what it was made from; also seeds the sensor noise.
        ego_speed: speed of the rig along +z, m/s.
    """

    seed: int
    street: Street
    view: View
    conditions: Conditions
    ego_speed: float
    buildings: tuple[Building, ...]
    plants: tuple[Plant, ...]
    vehicles: tuple[Vehicle, ...]
    people: tuple[Person, ...]
    cycles: tuple[Cycle, ...]
    furniture: tuple[Furniture, ...]
    markings: tuple[Marking, ...] = ()

    def travelled(self, t: float) -> float:
        """Distance the rig has gone at time `t` seconds, metres."""
        return self.ego_speed * t

    def ahead(self, z: float, t: float) -> float:
        """Distance of the street position `z` ahead of the rig at time `t`, folded into view."""
        return (z - self.travelled(t) + BEHIND_M) % self.street.period_m - BEHIND_M

    def locate(self, track: Track, t: float) -> tuple[float, float, float]:
        """Return x, distance ahead of the rig, and direction (+1 or -1) of movement at time `t`."""
        if track.motion is Motion.LEAD:
            return track.x, track.z + 2.5 * math.sin(0.21 * t + 6.28 * track.phase), 1.0
        if track.motion is Motion.ALONG:
            return track.x, self.ahead(track.z + track.speed * t, t), 1.0
        ahead = self.ahead(track.z, t)
        if track.motion is Motion.ACROSS:
            return self._across(track, ahead, t)
        if track.motion is Motion.THROUGH:
            length = 2.0 * track.reach
            x = (track.x + track.phase * length + track.speed * t + track.reach) % length
            return x - track.reach, ahead, 1.0
        return track.x, ahead, 1.0

    def _across(self, track: Track, ahead: float, t: float) -> tuple[float, float, float]:
        """Walk to and fro; give way to the rig, which keeps its speed."""
        lap = 4.0 * track.reach
        way = (track.phase * lap + abs(track.speed) * t) % lap
        x, direction = (way - track.reach, 1.0) if way < lap / 2 else (3 * track.reach - way, -1.0)
        if self.ego_speed > 0.0 and ahead < 12.0:
            side = 1.0 if x > self.view.x - track.x else -1.0
            x += side * 0.55 * (12.0 - ahead)
        return track.x + x, ahead, direction
