# SPDX-License-Identifier: Apache-2.0
"""Connected regions of a mask become objects: boxes, scores, and thermal values."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.bundle import LabelClass
from segmif_ros.frames import Image8, Pair, Result
from segmif_ros.registration import Registration
from segmif_ros.render import Mark
from segmif_ros.thermal import ThermalSettings

COUNTABLE = frozenset(
    {"person", "survivor", "car", "truck", "bus", "motorcycle", "bicycle", "bike"}
)
"""Names of classes that come as objects; everything else is surface."""
UPRIGHT = frozenset({"person", "survivor"})
"""Classes whose regions are cut between two that stand side by side."""

SMALLEST_SHARE = 2e-4
"""A smaller region, as a share of the picture, is no object: 61 pixels of 640x480."""
JOINED_SHARE = 0.01
"""Gaps up to this share of the picture's height close inside one object: a belt, a strap, a pole
before it."""


@dataclass(frozen=True, slots=True)
class DetectedObject:
    """One object in one picture, in pixels of the RGB image.

    Attributes:
        label: class id of the mask.
        name: class name.
        box: left, top, right, bottom; right and bottom exclusive.
        area: pixels of the mask.
        centre: mean x and y of these pixels.
        score: their mean confidence, 0 to 1.
        thermal_median: median of the thermal values, None where the thermal camera does not see.
        thermal_maximum: their maximum, likewise.
        id: the same number as long as it is the same object; 0 before the tracker.
    """

    label: int
    name: str
    box: tuple[int, int, int, int]
    area: int
    centre: tuple[float, float]
    score: float
    thermal_median: float | None = None
    thermal_maximum: float | None = None
    id: int = 0

    @property
    def mark(self) -> Mark:
        """How it is drawn."""
        return Mark(self.box, self.label, self.name, self.id)

    def with_id(self, number: int) -> DetectedObject:
        """Return the same object with an id."""
        return replace(self, id=number)


def find_objects(
    mask: Image8,
    confidence: Image8,
    classes: Sequence[LabelClass],
    temperature: NDArray[np.float32] | None = None,
) -> list[DetectedObject]:
    """Return the objects of a mask, largest first.

    Args:
        mask: HxW uint8 class ids.
        confidence: HxW uint8, probability times 255.
        classes: the model's.
        temperature: HxW float32, NaN where the thermal camera does not see; None without it.
    """
    found: list[DetectedObject] = []
    smallest = max(2, round(SMALLEST_SHARE * mask.size))
    reach = 2 * round(JOINED_SHARE * mask.shape[0] / 2) + 1
    for each in classes:
        if each.name not in COUNTABLE:
            continue
        own = cv2.compare(mask, each.id, cv2.CMP_EQ)
        left, top, width, height = cv2.boundingRect(own)
        if not width:
            continue
        inside = own[top : top + height, left : left + width]
        joined = cv2.morphologyEx(inside, cv2.MORPH_CLOSE, np.ones((reach, 3), np.uint8))
        count, regions, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
        large = np.flatnonzero(stats[1:count, cv2.CC_STAT_AREA] >= smallest) + 1
        for number in large.tolist():
            x, y, w, h, _ = stats[number].tolist()
            part = np.s_[y : y + h, x : x + w]
            place = np.s_[top + y : top + y + h, left + x : left + x + w]
            shape = (regions[part] == number) & (inside[part] > 0)
            heat = None if temperature is None else temperature[place]
            spans = split_upright(shape, heat) if each.name in UPRIGHT else [slice(0, w)]
            for span in spans:
                made = _object(
                    shape[:, span],
                    (left + x + span.start, top + y),
                    confidence[place][:, span],
                    None if heat is None else heat[:, span],
                    each,
                )
                if made is not None and made.area >= smallest:
                    found.append(made)
    return sorted(found, key=lambda made: -made.area)


def _object(
    shape: NDArray[np.bool_],
    corner: tuple[int, int],
    confidence: Image8,
    temperature: NDArray[np.float32] | None,
    label: LabelClass,
) -> DetectedObject | None:
    """Describe the pixels of `shape`, whose upper left corner is at `corner` (x, y)."""
    columns, rows = shape.sum(axis=0), shape.sum(axis=1)
    area = int(columns.sum())
    if not area:
        return None
    xs, ys = np.flatnonzero(columns), np.flatnonzero(rows)
    median = maximum = None
    if temperature is not None:
        values = temperature[shape]
        values = values[~np.isnan(values)]
        if len(values):
            median, maximum = float(np.median(values)), float(values.max())
    x, y = corner
    return DetectedObject(
        label.id,
        label.name,
        (x + int(xs[0]), y + int(ys[0]), x + int(xs[-1]) + 1, y + int(ys[-1]) + 1),
        area,
        (
            x + float(columns @ np.arange(len(columns))) / area,
            y + float(rows @ np.arange(len(rows))) / area,
        ),
        float(confidence[shape].mean()) / 255.0,
        median,
        maximum,
    )


def objects_json(objects: Sequence[DetectedObject], stamp_ns: int, frame_id: str, unit: str) -> str:
    """Return the text of `~/output/objects`.

    Args:
        objects: of one picture.
        stamp_ns: of the picture.
        frame_id: optical frame of the RGB camera.
        unit: of the thermal values: "C", "counts", or empty where there are none.
    """
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)

    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 3)

    return json.dumps(
        {
            "stamp": {"sec": sec, "nanosec": nanosec},
            "frame_id": frame_id,
            "thermal_unit": unit,
            "objects": [
                {
                    "id": each.id,
                    "class": each.name,
                    "label": each.label,
                    "score": round(each.score, 3),
                    "box": list(each.box),
                    "area": each.area,
                    "centre": [round(value, 1) for value in each.centre],
                    "thermal_median": rounded(each.thermal_median),
                    "thermal_maximum": rounded(each.thermal_maximum),
                }
                for each in objects
            ],
        }
    )


def marks_of(text: str) -> tuple[int, list[Mark]]:
    """Return stamp (nanoseconds) and boxes of a text of `~/output/objects`.

    Raises:
        ValueError: it is no such text.
    """
    try:
        told = json.loads(text)
        marks = [Mark(tuple(o["box"]), o["label"], o["class"], o["id"]) for o in told["objects"]]
        stamp_ns = int(told["stamp"]["sec"]) * 1_000_000_000 + int(told["stamp"]["nanosec"])
    except (TypeError, KeyError) as err:
        raise ValueError(f"no text of objects: {err!r}") from err
    return stamp_ns, marks


def detections_message(
    objects: Sequence[DetectedObject], header: Any, kind: Callable[[str], Any]
) -> Any:
    """Return the objects as a vision_msgs/Detection2DArray.

    Args:
        objects: of one picture.
        header: std_msgs/Header of the picture.
        kind: returns the class of a message type such as "vision_msgs/msg/Detection2D".
    """
    types = {name: kind(f"vision_msgs/msg/{name}") for name in VISION_MSGS}
    point, turn, pose, certain = (
        kind(f"geometry_msgs/msg/{name}")
        for name in ("Point", "Quaternion", "Pose", "PoseWithCovariance")
    )
    nowhere = pose(
        position=point(x=0.0, y=0.0, z=0.0), orientation=turn(x=0.0, y=0.0, z=0.0, w=1.0)
    )
    detections = []
    for each in objects:
        left, top, right, bottom = each.box
        centre = types["Point2D"](x=(left + right) / 2.0, y=(top + bottom) / 2.0)
        guess = types["ObjectHypothesis"](class_id=each.name, score=each.score)
        detections.append(
            types["Detection2D"](
                header=header,
                results=[
                    types["ObjectHypothesisWithPose"](
                        hypothesis=guess, pose=certain(pose=nowhere, covariance=np.zeros(36))
                    )
                ],
                bbox=types["BoundingBox2D"](
                    center=types["Pose2D"](position=centre, theta=0.0),
                    size_x=float(right - left),
                    size_y=float(bottom - top),
                ),
                id=str(each.id),
            )
        )
    return types["Detection2DArray"](header=header, detections=detections)


VISION_MSGS = {
    "Point2D": "float64 x\nfloat64 y",
    "Pose2D": "vision_msgs/Point2D position\nfloat64 theta",
    "BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y",
    "ObjectHypothesis": "string class_id\nfloat64 score",
    "ObjectHypothesisWithPose": "vision_msgs/ObjectHypothesis hypothesis\n"
    "geometry_msgs/PoseWithCovariance pose",
    "Detection2D": "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
    "vision_msgs/BoundingBox2D bbox\nstring id",
    "Detection2DArray": "std_msgs/Header header\nvision_msgs/Detection2D[] detections",
}
"""Fields of the messages of vision_msgs 4 (Humble to Kilted) that detections are made of: a bag
comes with the definitions of its types."""


def iou(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the intersection over union of every box (N, 4) with every other (M, 4).

    Args:
        one: left, top, right, bottom; the last two exclusive.
        other: likewise.
    """
    corner = np.maximum(one[:, None, :2], other[None, :, :2])
    end = np.minimum(one[:, None, 2:], other[None, :, 2:])
    common = np.prod(np.clip(end - corner, 0.0, None), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (one, other)]
    return np.asarray(common / np.maximum(areas[0][:, None] + areas[1][None] - common, 1e-9))


_MOST_SPANS = 64
"""Columns are taken together until there are no more than this."""
_NARROWEST_PX = 4


class _Fit(NamedTuple):
    """What a span costs.

    Attributes:
        slim: width over height that is free.
        strict: deviation of its logarithm that costs 1.
        cut: cost of a cut through the full height.
        more: cost of one more person.
    """

    slim: float
    strict: float
    cut: float
    more: float


_BY_HEAT = _Fit(0.34, 0.34, 25.0, 0.19)
_BY_SHAPE = _Fit(0.42, 0.33, 0.27, 0.15)
"""Without thermal: masks of neighbours merge, so valleys between them are weak evidence."""


def split_upright(
    shape: NDArray[np.bool_], temperature: NDArray[np.float32] | None = None
) -> list[slice]:
    """Return spans of columns, left to right, one a person; the whole width for one.

    Args:
        shape: HxW, true on the region.
        temperature: HxW, NaN where nothing is known; None without it.
    """
    height, width = shape.shape
    heat = None if temperature is None else _heat(shape, temperature)
    fit = _BY_SHAPE if heat is None else _BY_HEAT
    if width < 2 * _NARROWEST_PX:
        return [slice(0, width)]
    tall = shape.sum(axis=0, dtype=np.float32) if heat is None else heat
    top = np.where(shape.any(axis=0), shape.argmax(axis=0), height)
    bottom = np.where(shape.any(axis=0), height - shape[::-1].argmax(axis=0), 0)
    step = -(-width // _MOST_SPANS)
    starts = np.arange(0, width, step)
    tall, top = np.minimum.reduceat(tall, starts), np.minimum.reduceat(top, starts)
    bottom = np.maximum.reduceat(bottom, starts)
    tall = cv2.blur(tall[None], (3, 1), borderType=cv2.BORDER_REPLICATE)[0]
    return [
        slice(a * step, min(b * step, width)) for a, b in _cheapest(tall, top, bottom, step, fit)
    ]


def _heat(shape: NDArray[np.bool_], temperature: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Return for each column how many warm pixels it has, at most its height; None without any."""
    known = shape & np.isfinite(temperature)
    if np.count_nonzero(known) < 0.5 * np.count_nonzero(shape):
        return None
    cold, warm = np.percentile(temperature[known], (10, 90))
    if not warm > cold:
        return None
    share = np.where(known, np.clip((temperature - cold) / (warm - cold), 0.0, 1.0), 0.0)
    tall, sums = shape.sum(axis=0), share.sum(axis=0)
    heat = np.minimum(sums * (tall.max() / max(float(sums.max()), 1e-6)), tall)
    return np.asarray(heat, np.float32)


def _cheapest(
    tall: NDArray[Any], top: NDArray[Any], bottom: NDArray[Any], step: int, fit: _Fit
) -> list[tuple[int, int]]:
    """Return the spans (first, one past the last) whose costs add up to the least."""
    count = len(tall)
    border = np.concatenate([[0.0], np.minimum(tall[:-1], tall[1:]), [0.0]])
    best, before = np.full(count + 1, np.inf), np.zeros(count + 1, int)
    best[0] = 0.0
    for first in range(count):
        lowest = np.maximum.accumulate(bottom[first:])
        heights = np.maximum(lowest - np.minimum.accumulate(top[first:]), 1)
        widths = step * np.arange(1, count - first + 1)
        off = np.log(widths / heights / fit.slim) / fit.strict
        sides = (border[first] / heights).clip(max=1.0) ** 2
        sides += (border[first + 1 :] / heights).clip(max=1.0) ** 2
        cost = best[first] + fit.more + np.minimum(off**2, 30.0) + fit.cut * sides
        better = cost < best[first + 1 :]
        best[first + 1 :][better] = cost[better]
        before[first + 1 :][better] = first
    spans, last = [], count
    while last > 0:
        spans.append((int(before[last]), last))
        last = int(before[last])
    return spans[::-1]


def thermal_values(
    result: Result, pair: Pair, registration: Registration, settings: ThermalSettings
) -> tuple[NDArray[np.float32] | None, str]:
    """Return what the thermal camera measured, in the geometry of the results.

    Args:
        result: of `pair`.
        pair: what it was made of.
        registration: that it was made with.
        settings: scale and offset of the pixels.

    Returns:
        A new HxW float32, NaN where thermal does not see, and "C" or "counts"; None and an empty
        text without thermal.

    Raises:
        RegistrationError: as `Registration.values`.
    """
    raw = result.raw_thermal
    if raw is None:
        return None, ""
    registered = result.rgb is not None or pair.rgb_size is not None
    size = (int(result.mask.shape[0]), int(result.mask.shape[1]))
    values = registration.values(raw, size) if registered else np.array(raw, np.float32)
    settings.to_unit(values)
    return values, settings.unit(raw.dtype)
