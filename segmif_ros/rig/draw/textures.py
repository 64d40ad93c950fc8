# SPDX-License-Identifier: Apache-2.0
"""The library of surfaces that every street uses: ground tiles, foliage, clouds, sign faces.

Everything here is made once per process from fixed seeds; what differs from street to street
(tint, size, place) is applied by `assets`.
"""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.rig.draw.noise import Field, value_noise

Tile = NDArray[np.uint8]

FINE_M = 5.12
"""Width of the fine ground tiles in metres (512 pixels of 1 cm)."""
COARSE_M = 40.96
"""Width of the coarse ground tile in metres (1024 pixels of 4 cm)."""
CROWNS = 6
CROWN_SIZE = 288
BARE_CROWN = 5
"""Index of the crown without leaves."""


def _tile(values: Field) -> Tile:
    return np.clip(values, 1, 255).astype(np.uint8)


@lru_cache(maxsize=1)
def asphalt_fine() -> Tile:
    """512x512 brightness factors of asphalt around 128: grain, bright chippings, dark pores."""
    rng = np.random.default_rng(11)
    grain = cv2.GaussianBlur(rng.standard_normal((512, 512)).astype(np.float32), (0, 0), 0.9)
    tile = 128.0 + 34.0 * grain + 4.0 * value_noise(512, 8, rng)
    chips = rng.random((512, 512)) > 0.994
    tile += 60.0 * cv2.GaussianBlur(chips.astype(np.float32), (0, 0), 1.0) * 3.0
    pores = rng.random((512, 512)) > 0.994
    tile -= 60.0 * cv2.GaussianBlur(pores.astype(np.float32), (0, 0), 1.1) * 3.0
    return _tile(tile)


@lru_cache(maxsize=1)
def asphalt_coarse() -> Tile:
    """1024x1024 brightness factors of a road's history: repairs, cracks, stains, wear."""
    rng = np.random.default_rng(12)
    tile = 128.0 + 9.0 * value_noise(1024, 10, rng, octaves=5)
    for _ in range(16):
        x, y = rng.integers(0, 940, 2)
        w, h = rng.integers(20, 90), rng.integers(30, 180)
        tile[y : y + h, x : x + w] += rng.uniform(-22, 12)
        cv2.rectangle(tile, (int(x), int(y)), (int(x + w), int(y + h)), 88.0, 2)
    for _ in range(46):
        steps = rng.normal(0, 6, (28, 2)) + rng.normal(0, 7, 2)
        path = np.cumsum(steps, axis=0) + rng.uniform(0, 1024, 2)
        cv2.polylines(tile, [path.astype(np.int32)], False, 66.0, 1, cv2.LINE_8)
    stains = np.zeros_like(tile)
    for _ in range(60):
        centre = tuple(int(v) for v in rng.integers(0, 1024, 2))
        axes = tuple(int(v) for v in rng.integers(4, 22, 2))
        cv2.ellipse(stains, centre, axes, 0, 0, 360, float(rng.uniform(8, 26)), -1)
    tile -= cv2.GaussianBlur(stains, (0, 0), 3.0)
    return _tile(cv2.GaussianBlur(tile, (0, 0), 0.6))


@lru_cache(maxsize=1)
def paving() -> Tile:
    """512x512 brightness factors of pavement slabs, 64 cm x 32 cm, laid in a running bond."""
    rng = np.random.default_rng(13)
    tile = np.full((512, 512), 128.0, np.float32)
    for row in range(16):
        for col in range(-1, 8):
            x, y = col * 64 + (row % 2) * 32, row * 32
            tile[y : y + 32, max(x, 0) : x + 64] += rng.normal(0, 11)
            tile[y : y + 32, max(x, 0) : max(x + 2, 0)] = 78
        tile[y : y + 2] = 78
    tile += 10.0 * cv2.GaussianBlur(rng.standard_normal((512, 512)).astype(np.float32), (0, 0), 0.8)
    return _tile(cv2.GaussianBlur(tile + 6.0 * value_noise(512, 6, rng), (0, 0), 0.7))


@lru_cache(maxsize=1)
def grass() -> Tile:
    """512x512 brightness factors of a lawn."""
    rng = np.random.default_rng(14)
    blades = rng.standard_normal((512, 512)).astype(np.float32)
    upright = cv2.GaussianBlur(blades, (1, 9), 0.1, sigmaY=2.4)
    return _tile(128.0 + 46.0 * upright + 20.0 * value_noise(512, 10, rng, octaves=5))


@lru_cache(maxsize=1)
def clouds() -> Field:
    """512x512 float32 cloud cover, zero mean, unit deviation, stretched sideways."""
    rng = np.random.default_rng(15)
    return value_noise(512, 3, rng, octaves=7, gain=0.6)


@lru_cache(maxsize=1)
def smoke() -> Field:
    """512x512 float32 smoke, zero mean, unit deviation, billowing."""
    rng = np.random.default_rng(16)
    base = value_noise(512, 4, rng, octaves=6, gain=0.5)
    folds = np.abs(value_noise(512, 5, rng, octaves=4, gain=0.5))
    return np.asarray(base - 0.5 * folds, np.float32)


@lru_cache(maxsize=1)
def leaves() -> tuple[Tile, Tile]:
    """256x256 luminance of dense foliage and of its top edge coverage, for hedges and bushes."""
    rng = np.random.default_rng(17)
    luma = np.full((256, 256), 58.0, np.float32)
    for _ in range(2600):
        x, y = (int(v) for v in rng.integers(0, 256, 2))
        size = (int(rng.integers(3, 7)), int(rng.integers(2, 4)))
        shade = float(rng.normal(128, 40) - 36.0 * (y / 256.0))
        cv2.ellipse(luma, (x, y), size, float(rng.uniform(0, 180)), 0, 360, shade, -1)
    alpha = np.full((256, 256), 255, np.uint8)
    edge = 26 + 12 * np.sin(np.arange(256) / 256 * 2 * math.pi * 3) + rng.normal(0, 7, 256)
    for x in range(256):
        alpha[: max(int(edge[x]), 0), x] = 0
    for _ in range(420):
        x = int(rng.integers(0, 256))
        y = int(edge[x] + rng.normal(0, 6))
        cv2.ellipse(alpha, (x, y), (5, 3), float(rng.uniform(0, 180)), 0, 360, 255, -1)
    return _tile(luma), alpha


@lru_cache(maxsize=CROWNS)
def crown(variant: int) -> tuple[Tile, Tile]:
    """Luminance and coverage (CROWN_SIZE squared) of one tree crown.

    Variants 0 to 2 are broad, 3 is tall, 4 is a conifer, BARE_CROWN has lost its leaves.
    """
    rng = np.random.default_rng(100 + variant)
    size = CROWN_SIZE
    luma = np.zeros((size, size), np.float32)
    alpha = np.zeros((size, size), np.uint8)
    if variant == BARE_CROWN:
        _branch(luma, alpha, rng, (size / 2, size - 1.0), -math.pi / 2, size * 0.24, 7)
        return _tile(luma + 1), alpha
    _branch(luma, alpha, rng, (size / 2, size - 1.0), -math.pi / 2, size * 0.2, 5)
    clusters = _conifer_clusters(rng) if variant == 4 else _broad_clusters(variant, rng)
    order = np.argsort([c[2] for c in clusters])
    for index in order:
        x, y, front, radius = clusters[index]
        _cluster(luma, alpha, rng, x, y, front, radius)
    return _tile(cv2.GaussianBlur(luma, (0, 0), 0.6)), cv2.GaussianBlur(alpha, (0, 0), 0.6)


def _broad_clusters(
    variant: int, rng: np.random.Generator
) -> list[tuple[float, float, float, float]]:
    wide, tall = (0.43, 0.34) if variant < 3 else (0.30, 0.43)
    clusters = []
    for _ in range(46):
        angle, reach = rng.uniform(0, 2 * math.pi), math.sqrt(rng.uniform(0, 1))
        x = 0.5 + wide * reach * math.cos(angle)
        y = 0.5 - 0.06 + tall * reach * math.sin(angle)
        clusters.append((x, y, float(rng.uniform(0, 1)), float(rng.uniform(0.055, 0.1))))
    return clusters


def _conifer_clusters(rng: np.random.Generator) -> list[tuple[float, float, float, float]]:
    clusters = []
    for level in np.linspace(0.05, 0.93, 22):
        spread = 0.03 + 0.30 * level
        for _ in range(4):
            x = 0.5 + float(rng.uniform(-spread, spread))
            droop = abs(x - 0.5) * 0.3
            clusters.append((x, float(level + droop * 0.4), float(rng.uniform(0, 1)), 0.045))
    return clusters


def _cluster(
    luma: Field,
    alpha: Tile,
    rng: np.random.Generator,
    x: float,
    y: float,
    front: float,
    radius: float,
) -> None:
    """Draw one clump of leaves, bright on its upper left where the light comes from."""
    size = CROWN_SIZE
    count = int(34 + 330 * radius)
    offsets = rng.normal(0, radius * 0.62, (count, 2))
    shade = 92 + 46 * front - 62 * (y - 0.45) - offsets @ np.array([260.0, 420.0])
    for (dx, dy), value in zip(offsets, shade + rng.normal(0, 20, count), strict=True):
        centre = (int((x + dx) * size), int((y + dy) * size))
        axes = (int(rng.integers(2, 6)), int(rng.integers(2, 4)))
        angle = float(rng.uniform(0, 180))
        cv2.ellipse(luma, centre, axes, angle, 0, 360, float(np.clip(value, 16, 250)), -1)
        cv2.ellipse(alpha, centre, axes, angle, 0, 360, 255, -1)


def _branch(
    luma: Field,
    alpha: Tile,
    rng: np.random.Generator,
    start: tuple[float, float],
    angle: float,
    length: float,
    depth: int,
) -> None:
    end = (start[0] + length * math.cos(angle), start[1] + length * math.sin(angle))
    a, b = (round(start[0]), round(start[1])), (round(end[0]), round(end[1]))
    thick = max(depth - 1, 1)
    cv2.line(luma, a, b, float(rng.uniform(40, 80)), thick)
    cv2.line(alpha, a, b, 255, thick, cv2.LINE_AA)
    if depth > 1:
        for turn in rng.normal(0, 0.22, 2) + np.array([-0.46, 0.46]):
            shorter = length * rng.uniform(0.68, 0.86)
            _branch(luma, alpha, rng, end, angle + turn, shorter, depth - 1)


SIGNS = ("limit", "stop", "no_entry", "warning", "yield", "crossing", "direction", "parking")


@lru_cache(maxsize=len(SIGNS))
def sign_face(kind: str) -> tuple[Tile, Tile]:
    """BGR (96x96x3) and coverage (96x96) of one sign face, one of SIGNS."""
    face = np.zeros((96, 96, 3), np.uint8)
    alpha = np.zeros((96, 96), np.uint8)
    red, blue, white, black = (38, 30, 190), (160, 84, 22), (238, 238, 238), (24, 24, 24)
    font = cv2.FONT_HERSHEY_SIMPLEX
    if kind in ("limit", "no_entry"):
        cv2.circle(alpha, (48, 48), 46, 255, -1, cv2.LINE_AA)
        cv2.circle(face, (48, 48), 48, red, -1)
        if kind == "limit":
            cv2.circle(face, (48, 48), 35, white, -1, cv2.LINE_AA)
            cv2.putText(face, "30", (21, 62), font, 1.3, black, 5, cv2.LINE_AA)
        else:
            cv2.rectangle(face, (16, 39), (80, 57), white, -1)
    elif kind == "stop":
        turn = np.arange(8) * math.pi / 4 + math.pi / 8
        octagon = np.stack([48 + 48 * np.cos(turn), 48 + 48 * np.sin(turn)], 1).astype(np.int32)
        cv2.fillConvexPoly(alpha, octagon, 255, cv2.LINE_AA)
        face[:] = red
        cv2.polylines(face, [(octagon - 48) * 9 // 10 + 48], True, white, 3, cv2.LINE_AA)
        cv2.putText(face, "STOP", (12, 57), font, 0.95, white, 4, cv2.LINE_AA)
    elif kind in ("warning", "yield"):
        up = np.array([[48, 6], [94, 88], [2, 88]])
        corners = up if kind == "warning" else 94 - up
        cv2.fillConvexPoly(alpha, corners, 255, cv2.LINE_AA)
        face[:] = red
        inner = ((corners - corners.mean(axis=0)) * 0.68 + corners.mean(axis=0)).astype(np.int32)
        cv2.fillConvexPoly(face, inner, white, cv2.LINE_AA)
        if kind == "warning":
            cv2.line(face, (48, 44), (48, 66), black, 6)
            cv2.circle(face, (48, 76), 4, black, -1)
    else:
        alpha[4:92, 4:92] = 255
        face[:] = blue
        cv2.rectangle(face, (7, 7), (88, 88), white, 2)
        if kind == "parking":
            cv2.putText(face, "P", (26, 76), font, 2.4, white, 8, cv2.LINE_AA)
        elif kind == "direction":
            cv2.arrowedLine(face, (48, 82), (48, 18), white, 8, cv2.LINE_AA, tipLength=0.4)
        else:
            cv2.fillConvexPoly(face, np.array([[48, 14], [86, 82], [10, 82]]), white, cv2.LINE_AA)
            cv2.circle(face, (50, 40), 5, black, -1)
            cv2.line(face, (49, 46), (47, 60), black, 5)
            cv2.line(face, (47, 60), (39, 75), black, 4)
            cv2.line(face, (47, 60), (57, 75), black, 4)
    return face, alpha
