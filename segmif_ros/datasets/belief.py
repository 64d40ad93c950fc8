# SPDX-License-Identifier: Apache-2.0
"""Merges label sources per pixel: manual boxes, then teacher networks by quality.

1. Manual boxes overrule every mask and count as complete: there is no road user outside the boxes
   of its class, and inside a box only those road users whose boxes cover the pixel.
2. `mask_sgfnet`: the best masks of people, cars and bicycles. Where a pair has one, no other
   teacher is used for road users.
3. `mask_own`: the network's own earlier predictions (`training.own_teacher`), inside boxes that no
   other teacher found, and for the street where the street teacher has low confidence.
4. `mask_street` above its confidence, road users and street; `mask_mfnet9` adds road users inside
   their boxes, `mask_city` adds street where `mask_street` has low confidence.

Inside a box, street labels count only if the best teacher, else the street teacher, found the
object of the box.
A pixel of unknown class still excludes some road users, see `sample.POSSIBLE`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segmif_ros.datasets.sample import (
    BACKGROUND,
    BICYCLE,
    CAR,
    IGNORE,
    PERSON,
    POSSIBLE,
    VAGUE,
    DatasetError,
    read_grey,
)
from segmif_ros.frames import Image8
from segmif_ros.metrics.boxes import BOX_HIT, Box

_KNOWN_IDS = (*range(15), *range(VAGUE, BACKGROUND + 1), IGNORE)
MARGIN = 3
"""Margin around a box where its class is allowed, pixels: the cameras have a parallax, and distant
people are hardly wider."""
STREET_CONFIDENCE = 150
"""Least confidence of `mask_street`, `mask_city` and `mask_own`: a probability of 0.59."""
_MFNET = {1: CAR, 2: PERSON, 3: BICYCLE}
"""Classes of a 9-class teacher, in FMB's ids; its guardrails and bumps are mostly noise."""
_TRUCK, _BUS, _MOTORCYCLE = 10, 11, 12
_BOXED_AS = {_TRUCK: CAR, _BUS: CAR, _MOTORCYCLE: BICYCLE}
"""MSRS has one kind of box for motor vehicles and one for two wheels."""


def _found(mask: Image8, box: Box) -> bool:
    """Return whether a mask (FMB ids, 255 where uncertain) contains the object of a box."""
    inside = mask[box.top : box.bottom, box.left : box.right]
    return bool(inside.size and (inside == box.label).mean() >= BOX_HIT)


def msrs_labels(root: Path, name: str, size: tuple[int, int], boxes: Sequence[Box]) -> Image8:
    """Merge all label sources of one MSRS pair, see the module.

    Args:
        root: folder with `mask_street/`, `mask_mfnet9/` and so on; a teacher may be missing.
        name: of the pair.
        size: (height, width) of its pictures.
        boxes: manual boxes, in FMB's ids.

    Returns:
        HxW uint8.

    Raises:
        DatasetError: a damaged mask, one of another size, or one without its confidence.
    """
    boxed = {label: np.zeros(size, bool) for label in POSSIBLE}
    for box in boxes:
        boxed[box.label][box.top : box.bottom, box.left : box.right] = True
    city, street, own = (
        _boxed_as_people_do(_sure(root / kind, name, size))
        for kind in ("mask_city", "mask_street", "mask_own")
    )
    nine, best = (_nine(root / kind, name, size) for kind in ("mask_mfnet9", "mask_sgfnet"))

    labels = np.full(size, IGNORE, np.uint8)
    for teacher in (city, own, street):
        if teacher is not None:
            np.copyto(labels, teacher, where=teacher != IGNORE)
    labels[np.isin(labels, list(POSSIBLE))] = IGNORE
    knowing = street if best is None else best
    for box in boxes:
        if knowing is None or not _found(knowing, box):
            labels[_around(box)] = IGNORE
    teachers = [t for t in ((street, nine) if best is None else (best,)) if t is not None]
    for label in (CAR, BICYCLE, PERSON):  # classes in the foreground come last
        for teacher in teachers:
            labels[boxed[label] & (teacher == label)] = label
        if own is not None and best is None:
            unseen = [
                b for b in boxes if b.label == label and not any(_found(t, b) for t in teachers)
            ]
            for box in unseen:
                inside = (slice(box.top, box.bottom), slice(box.left, box.right))
                labels[inside][own[inside] == label] = label
    return np.where(labels == IGNORE, _excluded(size, boxes), labels)


def _excluded(size: tuple[int, int], boxes: Sequence[Box]) -> Image8:
    """HxW ids that exclude road users from a pixel."""
    excluded = np.full(size, BACKGROUND, np.uint8)
    for label, possible in POSSIBLE.items():
        near = np.zeros(size, bool)
        for box in boxes:
            if box.label == label:
                near[_around(box)] = True
        excluded[near] -= np.uint8(possible)
    return excluded


def _around(box: Box) -> tuple[slice, slice]:
    return (
        slice(max(0, box.top - MARGIN), box.bottom + MARGIN),
        slice(max(0, box.left - MARGIN), box.right + MARGIN),
    )


def street_labels(root: Path, name: str, size: tuple[int, int]) -> Image8 | None:
    """Return the street teacher's labels of a pair without boxes; None if it has none.

    Args, Raises: as for `msrs_labels`.
    """
    teachers = (_sure(root / kind, name, size) for kind in ("mask_own", "mask_street"))
    labels = None
    for teacher in teachers:
        if teacher is not None:
            before = teacher if labels is None else labels
            labels = np.where(teacher == IGNORE, before, teacher)
    return labels


def _sure(folder: Path, name: str, size: tuple[int, int]) -> Image8 | None:
    """Read a mask with its confidence; uncertain pixels become 255."""
    path, certainty = folder / f"{name}.png", folder / f"{name}_conf.png"
    if not path.is_file():
        return None
    if not certainty.is_file():
        raise DatasetError(f"{path} has no {certainty.name} beside it; without it nothing is sure")
    mask = _read(path, size).copy()
    foreign = np.setdiff1d(mask, _KNOWN_IDS)
    if foreign.size:
        raise DatasetError(f"{path} holds id {foreign[0]}, expected 0 to 14 of FMB, or 247 to 255")
    mask[_read(certainty, size) < STREET_CONFIDENCE] = IGNORE
    return mask


def _boxed_as_people_do(teacher: Image8 | None) -> Image8 | None:
    if teacher is not None:
        for theirs, ours in _BOXED_AS.items():
            teacher[teacher == theirs] = ours
    return teacher


def _nine(folder: Path, name: str, size: tuple[int, int]) -> Image8 | None:
    path = folder / f"{name}.png"
    if not path.is_file():
        return None
    table = np.full(256, IGNORE, np.uint8)
    for theirs, ours in _MFNET.items():
        table[theirs] = ours
    return table[_read(path, size)]


def _read(path: Path, size: tuple[int, int]) -> Image8:
    mask = read_grey(path)
    if mask.shape != size:
        raise DatasetError(f"{path} is {mask.shape}, its pair {size}; registered masks fit")
    return mask
