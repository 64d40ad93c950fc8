# SPDX-License-Identifier: Apache-2.0
"""Augments pairs with effects of weather, night and sensors, per camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.datasets.sample import IGNORE, POSSIBLE, Sample
from segmif_ros.frames import Image8
from segmif_ros.metrics.boxes import Box
from segmif_ros.training.recipe import Augmentation, Target
from segmif_ros.training.target import fusion_target, saliency_target

Plane = NDArray[np.float32]

_ROAD, _SKY = 1, 7
"""Ids of config/labels/fmb15.yaml; recipes with other lists leave `wet` and `overexposed` 0."""
_SMALLEST = 4.0
"""Least side of a box for the loss over rows and columns, pixels."""
_SHOWN = 25.0
"""Standard deviation of the visible picture in the box of an object, grey levels, below which the
object is hardly visible: 75 % of the person boxes of MSRS by night (cars 9 %), 4 % by day."""


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One training example.

    Attributes:
        rgb: HxWx3 float32 in [0, 255], degraded.
        thermal: HxW float32 in [0, 255], degraded.
        labels: HxW uint8, see `datasets.sample`; all 255 for unlabelled pairs.
        target: HxW float32 in [0, 255], fused luma without the sensor noise of the inputs.
        name: of the pair.
        boxes: Mx5 float32, see `losses.box_loss`.
    """

    rgb: Plane
    thermal: Plane
    labels: Image8
    target: Plane
    name: str = ""
    boxes: Plane = field(default_factory=lambda: np.zeros((0, 5), np.float32))


def make_example(
    sample: Sample, how: Augmentation, rng: np.random.Generator, target: Target = "pyramid"
) -> Example:
    """Crop, degrade and label one sample; all randomness comes from `rng`."""
    rgb, thermal, labels, boxes = _crop(sample, how, rng)
    if how.wet and rng.random() < how.wet:
        rgb = _wet(rgb, labels, rng)
    if how.overexposed and rng.random() < how.overexposed:
        rgb = _overexposed(rgb, labels, rng)
    rgb, thermal = _visible(rgb, how, rng), _thermal(thermal, how, rng)
    kind = rng.random()
    if kind < how.drop_visible:
        rgb = np.full_like(rgb, rng.choice((0.0, 0.0, 16.0, 128.0)))
    elif kind < how.drop_visible + how.drop_thermal:
        thermal = np.full_like(thermal, rng.choice((0.0, 0.0, 64.0, 128.0)))
        labels, boxes = _only_shown(labels, boxes, rgb.mean(axis=2))
    wanted = _emphasised(_target(rgb, thermal, target, how.brighter), how)
    rgb, thermal = _noise(rgb, how, rng, 4.0), _noise(thermal, how, rng, 2.5)
    return Example(rgb, thermal, labels, wanted, sample.name, boxes)


def _emphasised(wanted: Plane, how: Augmentation) -> Plane:
    if not (how.sharpen or how.contrast):
        return wanted
    detail = wanted - cv2.GaussianBlur(wanted, (0, 0), 1.5)
    relief = wanted - cv2.GaussianBlur(wanted, (0, 0), 24.0)
    wanted = wanted + how.sharpen * detail + how.contrast * relief
    return np.clip(wanted, 0.0, 255.0).astype(np.float32)


def plain_example(sample: Sample, size: tuple[int, int], target: Target = "pyramid") -> Example:
    """Return the centre window of a pair unchanged; a smaller pair is enlarged."""
    height, width = sample.thermal.shape
    zoom = max(1.0, size[0] / height, size[1] / width)
    box = (min(height, round(size[0] / zoom)), min(width, round(size[1] / zoom)))
    top, left = (height - box[0]) // 2, (width - box[1]) // 2
    area = (slice(top, top + box[0]), slice(left, left + box[1]))
    labels = sample.labels
    if labels is None:
        labels = np.full(sample.thermal.shape, IGNORE, np.uint8)
    rgb, thermal = (
        cv2.resize(image[area], size[::-1], interpolation=cv2.INTER_LINEAR).astype(np.float32)
        for image in (sample.rgb, sample.thermal)
    )
    labels = cv2.resize(labels[area], size[::-1], interpolation=cv2.INTER_NEAREST)
    wanted = _target(rgb, thermal, target)
    return Example(rgb, thermal, np.asarray(labels, np.uint8), wanted, sample.name)


def _target(rgb: Plane, thermal: Plane, target: Target, brighter: float = 0.0) -> Plane:
    luma = (0.299 * rgb[..., 0] + 0.587 * rgb[..., 1] + 0.114 * rgb[..., 2]).astype(np.float32)
    if target == "saliency":
        return saliency_target(luma, thermal)
    return fusion_target(luma, thermal, brighter)


def _crop(
    sample: Sample, how: Augmentation, rng: np.random.Generator
) -> tuple[Plane, Plane, Image8, Plane]:
    height, width = how.crop
    source_height, source_width = sample.thermal.shape
    lowest = max(how.scale[0], height / source_height, width / source_width)
    zoom = float(np.exp(rng.uniform(np.log(lowest), np.log(max(lowest, how.scale[1])))))
    box = (min(source_height, round(height / zoom)), min(source_width, round(width / zoom)))
    top = int(rng.integers(0, source_height - box[0] + 1))
    left = int(rng.integers(0, source_width - box[1] + 1))
    if how.focus and sample.boxes and rng.random() < how.focus:
        seen = sample.boxes[int(rng.integers(len(sample.boxes)))]
        top = _over(seen.top, seen.bottom, box[0], source_height, rng)
        left = _over(seen.left, seen.right, box[1], source_width, rng)
    area = (slice(top, top + box[0]), slice(left, left + box[1]))
    labels = sample.labels
    if labels is None:
        labels = np.full(sample.thermal.shape, IGNORE, np.uint8)
    boxes = _inside(sample.boxes or (), top, left, box)
    boxes[:, 1::2] *= height / box[0]
    boxes[:, 2::2] *= width / box[1]
    shrink = cv2.INTER_AREA if zoom < 1.0 else cv2.INTER_LINEAR
    rgb = cv2.resize(sample.rgb[area], (width, height), interpolation=shrink)
    thermal = cv2.resize(sample.thermal[area], (width, height), interpolation=shrink)
    labels = cv2.resize(labels[area], (width, height), interpolation=cv2.INTER_NEAREST)
    if rng.random() < 0.5:
        rgb, thermal, labels = rgb[:, ::-1], thermal[:, ::-1], labels[:, ::-1]
        boxes[:, [2, 4]] = width - boxes[:, [4, 2]]
    return (
        np.ascontiguousarray(rgb, np.float32),
        np.ascontiguousarray(thermal, np.float32),
        np.ascontiguousarray(labels, np.uint8),
        boxes[(boxes[:, 3] - boxes[:, 1] >= _SMALLEST) & (boxes[:, 4] - boxes[:, 2] >= _SMALLEST)],
    )


def _over(first: int, end: int, window: int, size: int, rng: np.random.Generator) -> int:
    """Random start of a window that contains the centre of [first, end)."""
    middle = (first + end) // 2
    start = middle - int(rng.uniform(0.15, 0.85) * window)
    return min(max(start, 0), size - window)


def _inside(boxes: Sequence[Box], top: int, left: int, window: tuple[int, int]) -> Plane:
    """Boxes by their part inside a window.

    Returns:
        Mx5 float32, see `losses.box_loss`; boxes cut to less than half their area are left out.
    """
    found = [np.zeros((0, 5), np.float32)]
    for box in boxes:
        cut = (
            max(box.top - top, 0),
            max(box.left - left, 0),
            min(box.bottom - top, window[0]),
            min(box.right - left, window[1]),
        )
        seen = max(0, cut[2] - cut[0]) * max(0, cut[3] - cut[1])
        if seen >= 0.5 * (box.bottom - box.top) * (box.right - box.left):
            found.append(np.array([[box.label, *cut]], np.float32))
    return np.concatenate(found)


def _only_shown(labels: Image8, boxes: Plane, shown: Plane) -> tuple[Image8, Plane]:
    """Ignore road users that are hardly visible if thermal is blanked.

    As positives they would train the network to predict people in dark pictures.

    Args:
        labels: HxW uint8.
        boxes: Mx5 float32, see `losses.box_loss`.
        shown: HxW float32 in [0, 255], luma of the visible picture.
    """
    found = boxes
    for label in POSSIBLE:
        stats = cv2.connectedComponentsWithStats((labels == label).astype(np.uint8))[2][1:, :4]
        left, top, width, height = stats.T.astype(np.float32)
        same = np.full_like(left, label)
        found = np.vstack([found, np.stack([same, top, left, top + height, left + width], axis=1)])
    hidden = np.zeros(len(found), bool)
    labels = labels.copy()
    for i, (label, *sides) in enumerate(found.tolist()):
        rows, columns = (slice(round(sides[k]), round(sides[k + 2])) for k in (0, 1))
        hidden[i] = shown[rows, columns].std() < _SHOWN
        if hidden[i]:
            labels[rows, columns][labels[rows, columns] == label] = IGNORE
    return labels, boxes[~hidden[: len(boxes)]]


def _visible(rgb: Plane, how: Augmentation, rng: np.random.Generator) -> Plane:
    gain, gamma = rng.uniform(0.8, 1.2), rng.uniform(0.8, 1.25)
    tint = rng.uniform(0.92, 1.08, 3)
    rgb = (255.0 * np.power(np.clip(rgb * tint / 255.0, 0.0, 1.0), gamma) * gain).astype(np.float32)
    kind = rng.random()
    if kind < how.darkness:
        dark = rng.uniform(0.03, 0.35)
        lit = _cloud(rgb.shape[:2], rng, 4) ** 2 * rng.uniform(0.0, 0.5)
        rgb = 255.0 * np.power(np.clip(rgb / 255.0, 0.0, 1.0), rng.uniform(1.0, 1.8))
        rgb = rgb * (dark + lit)[..., None]
    elif kind < how.darkness + how.smoke:
        density = np.clip(_cloud(rgb.shape[:2], rng, 3) * 0.8 + rng.uniform(0.2, 0.75), 0, 0.99)
        grey = rng.uniform(110, 215) * rng.uniform(0.95, 1.05, 3)
        rgb = rgb * (1.0 - density[..., None]) + grey * density[..., None]
    elif kind < how.darkness + how.smoke + how.glare:
        rgb = rgb + _glare(rgb.shape[:2], rng)[..., None]
    if rng.random() < how.blur_visible:
        rgb = cv2.GaussianBlur(rgb, (0, 0), rng.uniform(0.5, 1.6))
    return np.clip(rgb, 0.0, 255.0).astype(np.float32)


def _wet(rgb: Plane, labels: Image8, rng: np.random.Generator) -> Plane:
    """Add reflections on the road: the mirrored, stretched picture above each column of road."""
    road = labels == _ROAD
    top = np.where(road.any(axis=0), road.argmax(axis=0), rgb.shape[0])
    rows = np.arange(rgb.shape[0])[:, None]
    source = np.clip(top[None, :] - (rows - top[None, :]) * rng.uniform(0.5, 1.0), 0, None)
    columns = np.broadcast_to(np.arange(rgb.shape[1])[None, :], source.shape)
    mirrored = cv2.remap(rgb, columns.astype(np.float32), source.astype(np.float32),
                         cv2.INTER_LINEAR)  # fmt: skip
    mirrored = cv2.blur(mirrored, (3, int(rng.integers(5, 25))))
    share = (road * rng.uniform(0.25, 0.7) * _cloud(road.shape, rng, 3))[..., None]
    darker = rgb * rng.uniform(0.6, 0.95)
    return np.where(road[..., None], darker * (1.0 - share) + mirrored * share, rgb).astype(
        np.float32
    )


def _overexposed(rgb: Plane, labels: Image8, rng: np.random.Generator) -> Plane:
    """Saturate the sky, with a glow over its edges."""
    sky = (labels == _SKY).astype(np.float32)
    glow = cv2.GaussianBlur(sky, (0, 0), rng.uniform(1.0, 8.0))[..., None]
    light = np.maximum(sky[..., None], rng.uniform(0.3, 1.0) * glow) * rng.uniform(120.0, 255.0)
    return np.clip(rgb + light, 0.0, 255.0).astype(np.float32)


def _thermal(thermal: Plane, how: Augmentation, rng: np.random.Generator) -> Plane:
    # Real thermal pictures differ most in how dark their background is rendered.
    gain, offset = rng.uniform(*how.thermal_gain), rng.uniform(*how.thermal_offset)
    thermal = (thermal * gain + offset).astype(np.float32)
    if how.ffc > 0.0 and rng.random() < how.ffc:
        thermal = thermal + _shutter_drift(thermal.shape, rng)
    if rng.random() < how.stripes:
        stripes = rng.standard_normal((thermal.shape[1],), np.float32) * rng.uniform(0.5, 3.0)
        thermal = thermal + stripes[None, :]
    if rng.random() < how.blur_thermal:
        thermal = cv2.GaussianBlur(thermal, (0, 0), rng.uniform(0.4, 1.4))
    if how.shift_px > 0.0:
        dx, dy = rng.uniform(-how.shift_px, how.shift_px, 2)
        move = np.array([[1.0, 0.0, dx], [0.0, 1.0, dy]])
        size = thermal.shape[::-1]
        thermal = cv2.warpAffine(thermal, move, size, borderMode=cv2.BORDER_REPLICATE)
    return np.clip(thermal, 0.0, 255.0).astype(np.float32)


def _noise(image: Plane, how: Augmentation, rng: np.random.Generator, most: float) -> Plane:
    if rng.random() < 1.0 - how.noise:
        return image
    noise = rng.standard_normal(image.shape, np.float32) * rng.uniform(0.0, most)
    return np.clip(image + noise, 0.0, 255.0).astype(np.float32)


def _shutter_drift(size: tuple[int, int], rng: np.random.Generator) -> Plane:
    """Drift of an uncooled camera between two shutters, or one jump, grey levels."""
    if rng.random() < 0.3:
        return np.full(size, rng.uniform(-30.0, 30.0), np.float32)
    field = _cloud(size, rng, 2)
    return np.asarray((field - field.mean()) * rng.uniform(10.0, 60.0), np.float32)


def _cloud(size: tuple[int, int], rng: np.random.Generator, cells: int) -> Plane:
    """Smooth random field in [0, 1]."""
    field = rng.random((cells + 2, cells + 2), np.float32)
    return np.clip(cv2.resize(field, size[::-1], interpolation=cv2.INTER_CUBIC), 0.0, 1.0)


def _glare(size: tuple[int, int], rng: np.random.Generator) -> Plane:
    ys, xs = np.mgrid[0 : size[0], 0 : size[1]].astype(np.float32)
    distance = np.hypot(xs - rng.uniform(0, size[1]), ys - rng.uniform(0, size[0]))
    reach = rng.uniform(20.0, 90.0)
    return (rng.uniform(150.0, 400.0) * np.exp(-distance / reach)).astype(np.float32)
