# SPDX-License-Identifier: Apache-2.0
"""People, bicycles and motorcycles as limbs: tapered capsules between joints that move with time.

Local coordinates: forward, up, right, metres, around the point on the ground under the figure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from segmif_ros.rig.draw.items import Points
from segmif_ros.rig.scene.lighting import Climate
from segmif_ros.rig.scene.scene import Colour, Cycle, Person

Joint = tuple[float, float, float]

_ARC = np.linspace(0.0, math.pi, 6)
_HIP, _SOLE = 0.52, 0.035
"""Heights of the hip and of the ankle of a standing person, as shares of their height."""
LEATHER: Colour = (26, 28, 32)


class Limb(NamedTuple):
    """A capsule: ends, radii, colour, temperature."""

    start: Joint
    stop: Joint
    radius: tuple[float, float]
    bgr: Colour
    kelvin: float


@dataclass(slots=True)
class Limbs:
    """One figure, its limbs back to front."""

    heading: float
    label: int
    parts: list[Limb] = field(default_factory=list)

    def add(self, a: Joint, b: Joint, ra: float, rb: float, colour: Colour, kelvin: float) -> None:
        """Append one capsule."""
        self.parts.append(Limb(a, b, (ra, rb), colour, kelvin))


def _off(joint: Joint, x: float = 0.0, y: float = 0.0) -> Joint:
    """Return the joint, moved forwards and up."""
    return joint[0] + x, joint[1] + y, joint[2]


def walker(
    person: Person, t: float, heading: float, climate: Climate, label: int, *, fine: bool = True
) -> Limbs:
    """Return the limbs of a pedestrian at time `t`; without `fine`, as seen from far away."""
    limbs = Limbs(heading, label)
    h = person.height
    stride = 0.0
    phase = 2 * math.pi * person.phase
    if person.stride_mps > 0.0:
        stride = 0.40 + 0.09 * min(person.stride_mps, 2.0)
        phase += 2 * math.pi * t * person.stride_mps / (0.84 * h)
    near = sorted((-1.0, 1.0), key=lambda s: s * math.sin(heading))
    turns = {side: phase + (0.0 if side > 0 else math.pi) for side in near}
    legs = {side: _striding_leg(h, side, turns[side], stride) for side in near}
    # The lower foot stands on the ground, so the hip sinks as the stride opens.
    sunk = _SOLE * h - min(ankle[1] for _, _, ankle in legs.values())
    hip_y = _HIP * h + sunk
    for side in near:
        hip, knee, ankle = ((x, y + sunk, z) for x, y, z in legs[side])
        if fine:
            _leg(limbs, person, climate, hip, knee, ankle)
        else:
            limbs.add(hip, ankle, 0.05 * h, 0.03 * h, person.trousers, climate.clothing - 1.0)
    if not fine:
        _far_trunk(limbs, person, climate, hip_y)
        return limbs
    arms = [_swinging_arm(h, side, sunk, -stride * math.sin(turns[side])) for side in near]
    neck = (0.01 * h, 0.82 * h + sunk, 0.0)
    _trunk(limbs, person, climate, (0.0, hip_y, 0.0), neck, near, arms)
    return limbs


def _striding_leg(h: float, side: float, turn: float, stride: float) -> tuple[Joint, Joint, Joint]:
    """Return hip, knee and ankle of one leg at `turn` of its cycle."""
    swing = stride * math.sin(turn)
    lift = max(0.0, math.cos(turn)) if stride else 0.05
    upper, lower = swing + 0.25 * lift, swing - 0.75 * lift
    hip: Joint = (0.0, _HIP * h, side * 0.052 * h)
    knee = _hang(hip, 0.25 * h, upper, side * 0.056 * h)
    return hip, knee, _hang(knee, 0.245 * h, lower, side * 0.052 * h)


def _hang(joint: Joint, bone: float, angle: float, right: float) -> Joint:
    """Return the end of a bone that hangs from a joint, swung forwards by `angle`."""
    return joint[0] + bone * math.sin(angle), joint[1] - bone * math.cos(angle), right


def _far_trunk(limbs: Limbs, person: Person, climate: Climate, hip_y: float) -> None:
    h, b = person.height, person.build
    low, high = hip_y + 0.02 * h, hip_y + 0.24 * h
    hip, chest = (0.0, low, 0.0), (0.01 * h, high, 0.0)
    limbs.add(hip, chest, 0.085 * h * b, 0.115 * h * b, person.coat, climate.clothing)
    shown = person.hair if math.cos(limbs.heading) > 0.2 else person.skin
    chin, brow = (0.02 * h, hip_y + 0.365 * h, 0.0), (0.02 * h, hip_y + 0.41 * h, 0.0)
    limbs.add(chin, brow, 0.05 * h, 0.058 * h, shown, climate.skin)


def _swinging_arm(h: float, side: float, sunk: float, swing: float) -> tuple[Joint, Joint, Joint]:
    shoulder: Joint = (0.01 * h, 0.805 * h + sunk, side * 0.118 * h)
    turn = 0.85 * swing
    elbow = _hang(shoulder, 0.165 * h, turn, side * 0.135 * h)
    return shoulder, elbow, _hang(elbow, 0.15 * h, turn + 0.35, side * 0.13 * h)


def _leg(
    limbs: Limbs, person: Person, climate: Climate, hip: Joint, knee: Joint, ankle: Joint
) -> None:
    h, b = person.height, person.build
    cloth = climate.clothing - 0.8
    limbs.add(hip, knee, 0.054 * h * b, 0.038 * h * b, person.trousers, cloth)
    limbs.add(knee, ankle, 0.037 * h * b, 0.025 * h, person.trousers, cloth - 0.5)
    toe: Joint = (ankle[0] + 0.075 * h, max(ankle[1] - 0.018 * h, 0.02 * h), ankle[2])
    limbs.add(_off(ankle, y=-0.012 * h), toe, 0.026 * h, 0.018 * h, LEATHER, cloth - 2.5)


def _trunk(
    limbs: Limbs,
    person: Person,
    climate: Climate,
    hip: Joint,
    neck: Joint,
    near: list[float],
    arms: list[tuple[Joint, Joint, Joint]],
) -> None:
    """Add torso, arms, head, hair and bag."""
    h, b = person.height, person.build
    coat, cloth, skin = person.coat, climate.clothing + 2.4 * (person.phase - 0.5), climate.skin
    dark: Colour = (coat[0] * 0.82, coat[1] * 0.82, coat[2] * 0.82)
    _arm(limbs, person, arms[0], dark, climate)
    for side in near:
        low: Joint = (hip[0], hip[1] + 0.01 * h, side * 0.045 * h)
        high: Joint = (neck[0], neck[1] - 0.055 * h, side * 0.075 * h)
        limbs.add(low, high, 0.056 * h * b, 0.058 * h * b, coat, cloth)
    middle: Joint = ((hip[0] + neck[0]) / 2 + 0.01, (hip[1] + neck[1]) / 2 + 0.04 * h, 0.0)
    back, chest = _off(hip, y=0.05 * h), _off(neck, y=-0.05 * h)
    limbs.add(back, chest, 0.068 * h * b, 0.078 * h * b, coat, cloth + 0.9)
    if person.bag == 1:
        pack = (person.trousers[2], person.trousers[0], coat[1])
        low, high = _off(middle, -0.105 * h, -0.05 * h), _off(middle, -0.095 * h, 0.09 * h)
        limbs.add(low, high, 0.075 * h, 0.07 * h, pack, cloth - 2.5)
    _arm(limbs, person, arms[1], coat, climate)
    if person.bag == 2:
        top, bottom = _off(arms[1][2], y=-0.1 * h), _off(arms[1][2], y=-0.16 * h)
        limbs.add(top, bottom, 0.06 * h, 0.075 * h, (coat[1], coat[0], 60.0), climate.air + 1.5)
    throat, chin = _off(neck, y=-0.01 * h), _off(neck, 0.01, 0.06 * h)
    limbs.add(throat, chin, 0.032 * h, 0.03 * h, person.skin, skin)
    head, crown = _off(neck, 0.02 * h, 0.095 * h), _off(neck, 0.015 * h, 0.125 * h)
    hair = person.hair
    limbs.add(_off(head, -0.018 * h, 0.012 * h), crown, 0.052 * h, 0.055 * h, hair, skin - 3.5)
    jaw, brow = _off(head, 0.012 * h, -0.022 * h), _off(head, 0.014 * h, 0.012 * h)
    limbs.add(jaw, brow, 0.041 * h, 0.045 * h, person.skin, skin + 0.3)
    if math.cos(limbs.heading) > 0.2:
        limbs.add(_off(head, -0.03 * h, -0.005 * h), crown, 0.046 * h, 0.05 * h, hair, skin - 2.5)


def _arm(
    limbs: Limbs, person: Person, arm: tuple[Joint, Joint, Joint], coat: Colour, climate: Climate
) -> None:
    h, b = person.height, person.build
    shoulder, elbow, hand = arm
    limbs.add(shoulder, elbow, 0.037 * h * b, 0.03 * h * b, coat, climate.clothing - 0.3)
    limbs.add(elbow, hand, 0.03 * h * b, 0.022 * h, coat, climate.clothing - 0.6)
    fingers = _off(hand, 0.01 * h, -0.03 * h)
    limbs.add(hand, fingers, 0.022 * h, 0.018 * h, person.skin, climate.skin - 1.0)


def _wheel(limbs: Limbs, at: float, radius: float, width: float, colour: Colour, kelvin: float,
           *, spokes: int, turn: float, parts: int) -> None:  # fmt: skip
    """Add a wheel: a ring of `parts` capsules and its spokes, in the plane of travel."""
    angles = np.linspace(0, 2 * math.pi, parts + 1).tolist()
    rim = [(at + radius * math.cos(a), radius + radius * math.sin(a), 0.0) for a in angles]
    for index in range(spokes):
        angle = turn + index * math.pi / spokes
        dx, dy = radius * math.cos(angle), radius * math.sin(angle)
        limbs.add((at - dx, radius - dy, 0.0), (at + dx, radius + dy, 0.0), 0.006, 0.006,
                  (150, 150, 150), kelvin)  # fmt: skip
    for start, stop in pairwise(rim):
        limbs.add(start, stop, width, width, colour, kelvin)


def bicycle(
    cycle: Cycle, t: float, heading: float, climate: Climate, label: int, *, fine: bool = True
) -> Limbs:
    """Return the limbs of a bicycle at time `t`; without `fine`, as seen from far away."""
    limbs = Limbs(heading, label)
    turn = t * cycle.track.speed / 0.34 if cycle.rider is not None else 0.4
    steel, dark = climate.steel, (30.0, 30.0, 30.0)
    for at in (-0.52, 0.52):
        _wheel(limbs, at, 0.34, 0.026, dark, steel, spokes=3 if fine else 0, turn=turn,
               parts=12 if fine else 7)  # fmt: skip
    crank, seat, head, rear, front = (
        (-0.06, 0.30, 0.0), (-0.24, 0.82, 0.0), (0.36, 0.84, 0.0), (-0.52, 0.34, 0.0),
        (0.52, 0.34, 0.0),
    )  # fmt: skip
    tubes = ((crank, seat), (crank, head), (seat, head), (crank, rear), (seat, rear), (head, front))
    for a, b in tubes:
        limbs.add(a, b, 0.022, 0.02, cycle.paint, steel)
    limbs.add((-0.36, 0.92, 0.0), (-0.14, 0.93, 0.0), 0.05, 0.028, dark, steel + 1.0)
    limbs.add(head, (0.34, 1.0, 0.0), 0.018, 0.018, dark, steel)
    limbs.add((0.36, 1.01, -0.26), (0.36, 1.01, 0.26), 0.02, 0.02, dark, steel)
    return limbs


def motorcycle(cycle: Cycle, heading: float, climate: Climate, label: int) -> Limbs:
    """Return the limbs of a motorcycle; its engine and exhaust glow in the infrared when warm."""
    limbs = Limbs(heading, label)
    hot = cycle.warmth
    dark, metal = (30.0, 28.0, 28.0), (120.0, 120.0, 122.0)
    body = climate.body
    for at in (-0.68, 0.70):
        for radius, colour, warm in ((0.31, dark, 6), (0.2, (70, 70, 72), 9), (0.07, metal, 9)):
            kelvin = climate.steel + warm * hot
            limbs.add((at - 0.001, 0.31, 0.0), (at, 0.311, 0.0), radius, radius, colour, kelvin)
    limbs.add((-0.2, 0.34, 0.0), (0.22, 0.40, 0.0), 0.17, 0.18, (84, 84, 86), body + 42 * hot)
    limbs.add((0.2, 0.30, 0.12), (-0.85, 0.36, 0.15), 0.05, 0.065, metal, body + 48 * hot)
    limbs.add((0.70, 0.31, 0.0), (0.44, 0.95, 0.0), 0.045, 0.05, metal, body + 2 * hot)
    limbs.add((-0.68, 0.34, 0.0), (-0.1, 0.42, 0.0), 0.04, 0.05, dark, body + 5 * hot)
    limbs.add((-0.92, 0.80, 0.0), (-0.2, 0.74, 0.0), 0.075, 0.11, dark, body + 2 * hot)
    limbs.add((-0.12, 0.80, 0.0), (0.36, 0.84, 0.0), 0.14, 0.155, cycle.paint, body + 6 * hot)
    limbs.add((0.42, 0.86, 0.0), (0.60, 0.90, 0.0), 0.13, 0.10, cycle.paint, body + 2 * hot)
    limbs.add((0.38, 1.02, -0.34), (0.38, 1.02, 0.34), 0.028, 0.028, dark, body)
    limbs.add((-0.95, 0.72, 0.0), (-0.97, 0.66, 0.0), 0.05, 0.05, (40, 34, 190), body + 3 * hot)
    limbs.add((0.66, 0.86, 0.0), (0.68, 0.86, 0.0), 0.075, 0.075, (220, 225, 225), body + 8 * hot)
    return limbs


def rider(cycle: Cycle, t: float, heading: float, climate: Climate, label: int) -> Limbs | None:
    """Return the limbs of the person on a cycle, or None for a parked one."""
    person = cycle.rider
    if person is None:
        return None
    limbs = Limbs(heading, label)
    h = person.height
    near = sorted((-1.0, 1.0), key=lambda s: s * math.sin(heading))
    if cycle.kind == "bicycle":
        hip: Joint = (-0.26, 0.97, 0.0)
        neck: Joint = (0.10, 0.97 + 0.31 * h, 0.0)
        pedal = t * max(abs(cycle.track.speed), 3.0) / 0.75 + 6.28 * person.phase
        turn = {s: pedal + (s > 0) * math.pi for s in near}
        feet = {
            s: (0.17 * math.cos(turn[s]) - 0.06, 0.17 * math.sin(turn[s]) + 0.32, s * 0.1)
            for s in near
        }
        grip: Joint = (0.38, 1.04, 0.0)
    else:
        hip, neck, grip = (-0.28, 0.86, 0.0), (0.02, 0.86 + 0.32 * h, 0.0), (0.38, 1.05, 0.0)
        feet = {s: (0.02, 0.34, s * 0.2) for s in near}
    for side in near:
        joint: Joint = (hip[0], hip[1], side * 0.06 * h)
        foot = feet[side]
        _leg(limbs, person, climate, joint, _knee(joint, foot, 0.25 * h), foot)
    arms = []
    for side in near:
        shoulder: Joint = (neck[0], neck[1] - 0.015 * h, side * 0.115 * h)
        hand: Joint = (grip[0] - 0.02, grip[1] + 0.02, side * 0.24)
        elbow: Joint = ((shoulder[0] + hand[0]) / 2 - 0.04, (shoulder[1] + hand[1]) / 2 - 0.07,
                        side * 0.15 * h)  # fmt: skip
        arms.append((shoulder, elbow, hand))
    _trunk(limbs, person, climate, hip, neck, near, arms)
    head = _off(neck, 0.02 * h, 0.115 * h)
    if cycle.kind == "motorcycle":
        limbs.add(head, _off(head, 0.01, 0.02), 0.085 * h, 0.08 * h, person.hair, climate.air + 3.0)
    else:
        rear, front = _off(head, -0.05, 0.05), _off(head, 0.04, 0.05)
        limbs.add(rear, front, 0.06 * h, 0.055 * h, cycle.paint, climate.air + 2.0)
    return limbs


def _knee(hip: Joint, foot: Joint, bone: float) -> Joint:
    """Bend a leg of two equal bones forward so that it reaches the foot."""
    dx, dy = foot[0] - hip[0], foot[1] - hip[1]
    distance = max(math.hypot(dx, dy), 1e-6)
    out = math.sqrt(max(bone * bone - distance * distance / 4, 0.0))
    return (
        (hip[0] + foot[0]) / 2 - dy / distance * out,
        (hip[1] + foot[1]) / 2 + dx / distance * out,
        (hip[2] + foot[2]) / 2,
    )


def outline(a: Points, b: Points, radius: Points, eye: Points) -> Points:
    """Turn capsules into polygons that face the eye.

    Args:
        a: (N, 3) starts in street coordinates.
        b: (N, 3) stops.
        radius: (N, 2) radii at start and stop, metres.
        eye: (3,) where it is seen from.

    Returns:
        (N, 12, 3) corners.
    """
    axis = b - a + np.array([0.0, 1e-6, 0.0])
    view = (a + b) / 2 - eye
    view /= np.linalg.norm(view, axis=1, keepdims=True)
    axis -= (axis * view).sum(axis=1, keepdims=True) * view
    axis /= np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-9)
    side = np.cross(axis, view)
    cos, sin = np.cos(_ARC)[None, :, None], np.sin(_ARC)[None, :, None]
    far = b[:, None] + radius[:, 1, None, None] * (cos * side[:, None] + sin * axis[:, None])
    near = a[:, None] - radius[:, 0, None, None] * (cos * side[:, None] + sin * axis[:, None])
    corners: Points = np.concatenate([far, near], axis=1)
    return corners
