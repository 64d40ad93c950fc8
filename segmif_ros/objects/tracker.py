# SPDX-License-Identifier: Apache-2.0
"""Ids that stay with an object: boxes move on at constant velocity and are matched by overlap.

Plain on purpose: no appearance, no Kalman gains. Two objects that pass behind each other for longer
than `FORGOTTEN_S` come out with new ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from segmif_ros.objects.regions import DetectedObject, iou

SECOND = 1_000_000_000
FORGOTTEN_S = 1.0
"""An object that has not been seen for so long is forgotten: an occlusion of 0.5 s is survived."""
OVERLAP = 0.1
"""IoU with the predicted box from which on a detection is the same object."""
NEAR = 1.0
"""Without overlap: distance of the centres, in diagonals of the box, up to which it may be it."""
_ALIKE = 4.0
"""Areas of two boxes of one object differ by less than this factor when they do not overlap."""
_GAIN = 0.4
"""Weight of the newest displacement in the velocity."""

VEHICLES = frozenset({"car", "truck", "bus"})
"""Classes that a network confuses from picture to picture; an id stays the same."""


class Tracker:
    """Gives objects of successive pictures their ids. Not thread safe."""

    def __init__(self) -> None:
        """Begin with no tracked objects."""
        self._next = 1
        self._stamp_ns: int | None = None
        self._boxes = np.empty((0, 4))
        self._speeds = np.empty((0, 4))  # pixels a second, of each side of the box
        self._ids: list[int] = []
        self._kinds: list[str] = []
        self._seen_ns: list[int] = []

    def update(self, objects: Sequence[DetectedObject], stamp_ns: int) -> list[DetectedObject]:
        """Return the objects with ids.

        Args:
            objects: of one picture.
            stamp_ns: when it was taken. A stamp that goes back, or a gap, clears everything but
                the next free id.
        """
        gap_s = 0.0 if self._stamp_ns is None else (stamp_ns - self._stamp_ns) / SECOND
        if not 0.0 <= gap_s <= FORGOTTEN_S:
            self._keep([])
        self._stamp_ns = stamp_ns
        alive = [stamp_ns - seen <= FORGOTTEN_S * SECOND for seen in self._seen_ns]
        self._keep(np.flatnonzero(alive))
        age_s = np.array([(stamp_ns - seen) / SECOND for seen in self._seen_ns])[:, None]
        boxes = np.array([each.box for each in objects], float).reshape(-1, 4)
        expected = self._boxes + self._speeds * age_s
        owner = self._match(expected, boxes, [_kind(each.name) for each in objects])
        numbered = []
        for each, box, known in zip(objects, boxes, owner.tolist(), strict=True):
            track = self._begin(box, _kind(each.name)) if known < 0 else known
            if known >= 0:
                self._follow(track, box, float(age_s[track, 0]))
            self._seen_ns[track] = stamp_ns
            numbered.append(each.with_id(self._ids[track]))
        return numbered

    def _match(
        self, expected: NDArray[np.float64], boxes: NDArray[np.float64], kinds: list[str]
    ) -> NDArray[np.intp]:
        """Return for each box the track it continues, -1 for none: best fit first, then nearest."""
        owner = np.full(len(boxes), -1)
        if not len(boxes) or not len(expected):
            return owner
        same = np.array(self._kinds)[:, None] == np.array(kinds)
        fit = np.where(same, iou(expected, boxes), 0.0)
        between = (expected[:, None, :2] + expected[:, None, 2:] - boxes[:, :2] - boxes[:, 2:]) / 2
        sizes = np.linalg.norm(boxes[:, 2:] - boxes[:, :2], axis=1)
        before = np.linalg.norm(expected[:, 2:] - expected[:, :2], axis=1)[:, None]
        ratio = np.maximum(sizes, before) / np.maximum(np.minimum(sizes, before), 1e-6)
        distance = np.linalg.norm(between, axis=2) / np.maximum(np.maximum(sizes, before), 1e-6)
        close = same & (distance < NEAR) & (ratio**2 < _ALIKE)
        # Overlap counts first: every overlapping pair stands before every one that is only near.
        worth = np.where(fit >= OVERLAP, 1.0 + fit, np.where(close, 1.0 - distance / NEAR, 0.0))
        tracks, found = np.nonzero(worth)
        free = np.ones(len(expected), bool)
        for index in np.argsort(-worth[tracks, found], kind="stable").tolist():
            track, box = int(tracks[index]), int(found[index])
            if free[track] and owner[box] < 0:
                free[track] = False
                owner[box] = track
        return owner

    def _begin(self, box: NDArray[np.float64], kind: str) -> int:
        self._boxes = np.vstack([self._boxes, box])
        self._speeds = np.vstack([self._speeds, np.zeros(4)])
        self._ids.append(self._next)
        self._kinds.append(kind)
        self._seen_ns.append(0)
        self._next += 1
        return len(self._ids) - 1

    def _follow(self, track: int, box: NDArray[np.float64], age_s: float) -> None:
        if age_s > 0.0:
            speed = (box - self._boxes[track]) / age_s
            self._speeds[track] += _GAIN * (speed - self._speeds[track])
        self._boxes[track] = box

    def _keep(self, rows: Iterable[int]) -> None:
        kept = list(map(int, rows))
        self._boxes, self._speeds = self._boxes[kept], self._speeds[kept]
        self._ids = [self._ids[row] for row in kept]
        self._kinds = [self._kinds[row] for row in kept]
        self._seen_ns = [self._seen_ns[row] for row in kept]


def _kind(name: str) -> str:
    return "vehicle" if name in VEHICLES else name
