# SPDX-License-Identifier: Apache-2.0
"""Average precision of objects: against counts made by hand."""

from __future__ import annotations

import json

import pytest

from segmif_ros.metrics.boxes import Box
from segmif_ros.metrics.objects import ObjectScores
from segmif_ros.objects.regions import DetectedObject


def found(left: int, score: float, label: int = 8) -> DetectedObject:
    return DetectedObject(label, "person", (left, 0, left + 10, 20), 200, (0.0, 0.0), score)


BOXES = [Box(8, 0, 0, 10, 20), Box(8, 100, 0, 110, 20), Box(9, 300, 0, 310, 20)]


def figures(scores: ObjectScores, label: int = 8) -> dict:
    return scores.summary()["fused"]["all"][label]


def test_precision_falls_with_every_object_that_is_none() -> None:
    scores = ObjectScores()
    # By score: right, wrong, right, and the first box a second time.
    scores.add(BOXES, [found(0, 0.9), found(50, 0.8), found(102, 0.7), found(1, 0.6)], split="day")
    assert figures(scores) == {
        "boxes": 2,
        "average_precision": pytest.approx((1.0 + 2 / 3) / 2),
        "object_precision": 0.5,
        "object_recall": 1.0,
    }
    assert figures(scores, 9)["object_recall"] == figures(scores, 9)["average_precision"] == 0.0
    assert figures(scores, 9)["object_precision"] is None


def test_an_overlap_below_a_half_is_no_hit_and_another_class_never() -> None:
    scores = ObjectScores()
    scores.add(BOXES, [found(4, 0.9), found(300, 0.9)])
    assert figures(scores)["object_recall"] == 0.0
    scores.add(BOXES, [found(3, 0.9)])
    assert figures(scores)["object_recall"] == 0.25


def test_parts_add_up_and_survive_json() -> None:
    one, other, whole = ObjectScores(), ObjectScores(), ObjectScores()
    for scores, objects in ((one, [found(0, 0.5)]), (other, [found(50, 0.9)])):
        scores.add(BOXES, objects, split="night")
        whole.add(BOXES, objects, split="night")
    one.merge(ObjectScores.from_state(json.loads(json.dumps(other.state()))))
    assert one.summary() == whole.summary()
    assert figures(whole)["average_precision"] == pytest.approx(1 / 8)


def test_objects_of_equal_score_count_together_in_whatever_order_they_come() -> None:
    one, other = ObjectScores(), ObjectScores()
    one.add(BOXES, [found(0, 0.5), found(50, 0.5)])
    other.add(BOXES, [found(50, 0.5), found(0, 0.5)])
    assert figures(one) == figures(other)
    assert figures(one)["average_precision"] == pytest.approx(1 / 4)


def test_memory_does_not_grow_with_the_pictures() -> None:
    scores = ObjectScores()
    for number in range(300):
        scores.add(BOXES, [found(0, number % 7 / 10), found(50, number % 5 / 10)])
    steps = [each for each in scores.state()["found"] if each[2] == 8]
    assert len(steps) == 7
    assert sum(sum(each[4]) for each in steps) == 600
