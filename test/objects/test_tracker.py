# SPDX-License-Identifier: Apache-2.0
"""Ids stay with objects over time."""

from __future__ import annotations

from itertools import pairwise
from time import process_time

import numpy as np

from segmif_ros.objects.regions import DetectedObject
from segmif_ros.objects.tracker import Tracker
from segmif_ros.rig.cameras.cameras import Rig
from segmif_ros.rig.draw.render import Renderer
from segmif_ros.rig.scene.planner import random_scene

MS = 1_000_000


def seen(x: float, y: float = 100.0, name: str = "person", size: float = 40.0) -> DetectedObject:
    box = (round(x), round(y), round(x + size), round(y + 2 * size))
    return DetectedObject(8, name, box, 100, (x, y), 0.9)


def ids(tracker: Tracker, objects: list[DetectedObject], ms: int) -> list[int]:
    return [each.id for each in tracker.update(objects, ms * MS)]


def test_ids_follow_objects_whatever_their_order() -> None:
    tracker = Tracker()
    first = ids(tracker, [seen(100), seen(300)], 0)
    assert first == [1, 2]
    assert ids(tracker, [seen(306), seen(104), seen(500)], 33) == [2, 1, 3]


def test_an_id_survives_an_occlusion_of_half_a_second_while_it_moves_on() -> None:
    tracker = Tracker()
    for step in range(10):
        assert ids(tracker, [seen(100 + 6 * step), seen(600 - 6 * step, 130)], 33 * step) == [1, 2]
    for step in range(10, 25):  # the first one is hidden for 15 frames, 90 pixels
        assert ids(tracker, [seen(600 - 6 * step, 130)], 33 * step) == [2]
    again = [seen(100 + 6 * 25), seen(600 - 6 * 25, 130)]
    assert ids(tracker, again, 33 * 25) == [1, 2]


def test_people_who_pass_each_other_keep_their_ids() -> None:
    tracker = Tracker()
    for step in range(40):
        found = [seen(100 + 8 * step, 100), seen(400 - 8 * step, 118)]
        assert ids(tracker, found, 33 * step) == [1, 2]


def test_another_class_is_another_object_but_car_and_truck_are_one() -> None:
    tracker = Tracker()
    assert ids(tracker, [seen(100, name="car")], 0) == [1]
    assert ids(tracker, [seen(101, name="truck")], 33) == [1]
    assert ids(tracker, [seen(101, name="person")], 66) == [2]


def test_time_that_goes_back_or_stays_the_same_for_long_starts_again_with_new_ids() -> None:
    tracker = Tracker()
    assert ids(tracker, [seen(100)], 5000) == [1]
    assert ids(tracker, [seen(100)], 4000) == [2]
    assert ids(tracker, [], 4100) == []
    assert ids(tracker, [seen(100)], 4900) == [2]
    assert ids(tracker, [seen(100)], 9000) == [3]
    assert ids(tracker, [seen(104)], 9000) == [3]  # the same stamp twice


def test_ids_of_the_rig_stay_with_its_objects() -> None:
    """True boxes of a street, in which things hide each other, for 1.3 seconds."""
    renderer = Renderer(random_scene(3), Rig.default(), "day")
    tracker, given = Tracker(), {}
    changes = total = 0
    for step in range(20):
        true = [each for each in renderer.truth(1.0 + step / 15).objects() if each.area > 100]
        objects = [
            DetectedObject(each.label, str(each.label), each.box, each.area, (0.0, 0.0), 1.0)
            for each in true
        ]
        for each, found in zip(true, tracker.update(objects, step * 67 * MS), strict=True):
            changes += given.get(each.id, found.id) != found.id
            total += each.id in given
            given[each.id] = found.id
    assert total > 50
    assert changes <= 0.02 * total


def test_fifty_objects_cost_far_less_than_a_picture() -> None:
    tracker, random = Tracker(), np.random.default_rng(1)
    places = random.uniform(0, 600, (50, 2))
    times = []
    for step in range(30):
        moved = [seen(x + step, y) for x, y in places]
        started = process_time()
        numbered = tracker.update(moved, step * 33 * MS)
        times.append(process_time() - started)
        if step:
            assert len({each.id for each in numbered}) == 50
    grid = np.zeros((480, 640, 3), np.float32)
    started = process_time()
    for _ in range(10):
        grid = grid * 1.01 + 0.5
    # 2 ms where this takes 10 copies of a picture 12 ms; a ratio, because the machine may be busy.
    assert np.median(times) < (process_time() - started)
    assert all(a < b for a, b in pairwise(sorted({each.id for each in numbered})))
