# SPDX-License-Identifier: Apache-2.0
"""Selects pairs of a drive to keep as pictures: the worst, the best, and evenly spaced ones.

The selection is made online, with a bounded number of pairs in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np

from segmif_ros.evaluation.settings import BEST, SAMPLES, WORST
from segmif_ros.frames import Image8
from segmif_ros.images.pictures import encode_picture
from segmif_ros.recordings.recording import Downsampler, evenly

Kind = Literal["worst", "best", "sample"]

APART_NS = 1_000_000_000
"""Least time between kept pairs: neighbouring frames are similar."""

_WIDEST = 800
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 85)
_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 9)


class PairImages(NamedTuple):
    """The images of one pair, HxW or HxWx3 uint8, all of one size."""

    visible: Image8
    thermal: Image8
    fused: Image8
    mask: Image8
    confidence: Image8


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """One pair that is kept.

    Attributes:
        stamp_ns: of the RGB image.
        score: of the selection; higher is better.
        why: the score as text.
        images: not wider than the pictures of a report.
    """

    stamp_ns: int
    score: float
    why: str
    images: PairImages


class Gallery:
    """Keeps the worst, the best and some evenly spaced pairs of one bag."""

    def __init__(self, worst: int = WORST, best: int = BEST, samples: int = SAMPLES) -> None:
        """Begin empty.

        Args:
            worst: pairs with the lowest scores to keep.
            best: pairs with the highest scores.
            samples: evenly spaced pairs.
        """
        self._worst = _Extreme(worst, 1.0)
        self._best = _Extreme(best, -1.0)
        self._samples: Downsampler[Kept] = Downsampler(2 * max(samples, 1))
        self._wanted = samples

    def add(self, stamp_ns: int, score: float, why: str, images: PairImages) -> None:
        """Take one pair; its images are kept without a copy and must not be overwritten.

        Args:
            stamp_ns: of the RGB image.
            score: higher is better.
            why: the score as text.
            images: of one pair.
        """
        wanted = [each for each in (self._worst, self._best) if each.wants(stamp_ns, score)]
        sampled = self._wanted > 0 and self._samples.wants_next()
        if not sampled:
            self._samples.skip()
        if not wanted and not sampled:
            return
        kept = Kept(stamp_ns, score, why, _shrunk(images))
        for each in wanted:
            each.add(kept)
        if sampled:
            self._samples.add(kept)

    def pictures(self) -> list[tuple[Kind, Kept]]:
        """Return the kept pairs: the worst first, then the best, then samples in order of time.

        No pair is repeated, also in a short drive.
        """
        chosen: list[tuple[Kind, Kept]] = []
        seen: set[int] = set()
        samples = evenly(self._samples.items, self._wanted)
        groups: list[tuple[Kind, Sequence[Kept]]] = [
            ("worst", self._worst.items()),
            ("best", self._best.items()),
            ("sample", samples),
        ]
        for kind, items in groups:
            for kept in items:
                if kept.stamp_ns not in seen:
                    seen.add(kept.stamp_ns)
                    chosen.append((kind, kept))
        return chosen


class _Extreme:
    """The pairs with the lowest score, or with sign -1 the highest."""

    def __init__(self, count: int, sign: float) -> None:
        self._count = count
        self._sign = sign
        self._kept: list[Kept] = []

    def items(self) -> list[Kept]:
        """The most extreme one first."""
        return sorted(self._kept, key=self._order)

    def wants(self, stamp_ns: int, score: float) -> bool:
        rank = self._sign * score
        rivals = [k for k in self._kept if abs(k.stamp_ns - stamp_ns) < APART_NS]
        if rivals:
            return all(rank < self._sign * k.score for k in rivals)
        if len(self._kept) < self._count:
            return True
        return self._count > 0 and rank < max(self._sign * k.score for k in self._kept)

    def add(self, kept: Kept) -> None:
        self._kept = [k for k in self._kept if abs(k.stamp_ns - kept.stamp_ns) >= APART_NS]
        self._kept.append(kept)
        self._kept = sorted(self._kept, key=self._order)[: self._count]

    def _order(self, kept: Kept) -> tuple[float, int]:
        return self._sign * kept.score, kept.stamp_ns


def encoded(images: PairImages) -> dict[str, tuple[str, bytes]]:
    """Return name -> file suffix and content: JPEG for pictures, PNG for exact values."""
    files = {}
    for name, image in images._asdict().items():
        exact = name in ("mask", "confidence")
        suffix, options = (".png", _PNG) if exact else (".jpg", _JPEG)
        files[name] = (suffix, encode_picture(image, suffix, options))
    return files


def _shrunk(images: PairImages) -> PairImages:
    height, width = images.visible.shape[:2]
    if width <= _WIDEST:
        return images
    size = (_WIDEST, max(1, round(height * _WIDEST / width)))
    return PairImages(
        *(
            _resized(image, size, cv2.INTER_NEAREST if name == "mask" else cv2.INTER_AREA)
            for name, image in images._asdict().items()
        )
    )


def _resized(image: Image8, size: tuple[int, int], how: int) -> Any:
    return np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)
