# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import numpy as np
import pytest

from segmif_ros.metrics.boxes import Box, BoxScores


def test_boxes_are_hit_from_a_fifth_of_their_area() -> None:
    boxes = [Box(8, 0, 0, 10, 10), Box(8, 20, 0, 30, 10)]
    mask = np.zeros((20, 40), np.uint8)
    mask[0:2, 0:10] = 8  # exactly a fifth of the first
    mask[0:1, 20:30] = 8  # a tenth of the second
    mask[15:16, 0:10] = 8  # outside both
    scores = BoxScores()
    assert scores.add(boxes, mask, [8, 9]) == 0.5
    assert scores.add([], np.zeros((20, 40), np.uint8), [8, 9]) is None
    person = scores.summary()["fused"]["all"][8]
    assert person == {"boxes": 2, "box_recall": 0.5, "box_precision": pytest.approx(0.75)}
    car = scores.summary()["fused"]["all"][9]
    assert car["boxes"] == 0
    assert car["box_recall"] is car["box_precision"] is None


def test_jobs_combine_and_splits_stay_apart() -> None:
    mask = np.zeros((20, 20), np.uint8)
    mask[:10, :10] = 8
    found, missed = [Box(8, 0, 0, 10, 10)], [Box(8, 10, 10, 20, 20)]
    day, night, all_at_once = BoxScores(), BoxScores(), BoxScores()
    for target in (day, all_at_once):
        target.add(found, mask, [8, 9], split="day")
    for target in (night, all_at_once):
        target.add(missed, mask, [8, 9], split="night")
    night = BoxScores.from_state(json.loads(json.dumps(night.state())))
    night.merge(day)
    assert night.summary() == all_at_once.summary()
    table = night.summary()["fused"]
    assert list(table) == ["all", "day", "night"]
    assert table["day"][8] == {"boxes": 1, "box_recall": 1.0, "box_precision": 1.0}
    assert table["night"][8] == {"boxes": 1, "box_recall": 0.0, "box_precision": 0.0}
    assert table["all"][8] == {"boxes": 2, "box_recall": 0.5, "box_precision": 0.5}
