# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from itertools import pairwise

import pytest
import yaml

from segmif_ros.rig.scene.planner import random_scene
from segmif_ros.rig.scene.scene import Label, Motion, Scene, Track
from segmif_ros.share import share_path


def test_same_seed_same_street_other_seed_another():
    assert random_scene(11) == random_scene(11)
    assert random_scene(11) != random_scene(12)


def test_a_scene_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        random_scene(1).ego_speed = 3.0


def test_negative_seed_is_named():
    with pytest.raises(ValueError, match="-4"):
        random_scene(-4)


@pytest.fixture(scope="module")
def driving() -> Scene:
    return next(s for s in map(random_scene, range(100)) if s.ego_speed > 2.0)


def test_standing_things_come_nearer_at_the_speed_of_the_rig(driving):
    track = Track(3.0, 60.0)
    x, z, _ = driving.locate(track, 2.0)
    assert x == 3.0
    assert z == pytest.approx(60.0 - 2.0 * driving.ego_speed)


def test_the_street_never_ends(driving):
    period = driving.street.period_m
    for t in (0.0, 100.0, 10_000.0):
        z = driving.ahead(50.0, t)
        assert -30.0 <= z < period - 30.0
    assert driving.ahead(50.0, 0.0) == pytest.approx(
        driving.ahead(50.0, period / driving.ego_speed)
    )


def test_the_car_ahead_stays_ahead(driving):
    track = Track(2.0, 15.0, motion=Motion.LEAD)
    assert all(12.0 < driving.locate(track, t)[1] < 18.0 for t in range(200))


def test_people_walk_to_and_fro_without_jumping(driving):
    scene = replace(driving, ego_speed=0.0)
    track = Track(0.0, 20.0, 1.2, Motion.ACROSS, reach=5.0)
    steps = [scene.locate(track, 0.1 * i) for i in range(200)]
    assert min(x for x, _, _ in steps) == pytest.approx(-5.0, abs=0.13)
    assert max(x for x, _, _ in steps) == pytest.approx(5.0, abs=0.13)
    jumps = [abs(b[0] - a[0]) for a, b in pairwise(steps)]
    assert max(jumps) == pytest.approx(0.12)
    assert {direction for _, _, direction in steps} == {1.0, -1.0}


def test_people_give_way_to_the_rig(driving):
    track = Track(driving.view.x, 40.0, 1.2, Motion.ACROSS, reach=5.0)
    arrival = (40.0 - 1.0) / driving.ego_speed
    x, z, _ = driving.locate(track, arrival)
    assert z == pytest.approx(1.0)
    assert abs(x - driving.view.x) > 3.0


def test_no_person_is_planned_inside_the_rig_or_on_the_crossing_cars_way():
    for seed in range(30):
        scene = random_scene(seed)
        for house in scene.buildings:
            assert scene.street.clear(house.z, 1.0, house.length)
            assert scene.view.x * house.side < house.x - 0.3
        for vehicle in scene.vehicles:
            assert vehicle.track.motion is not Motion.LEAD or vehicle.track.z > 8.0


def test_ids_and_names_are_those_of_the_shipped_label_file():
    shipped = yaml.safe_load(share_path("config", "labels", "fmb15.yaml").read_text())
    ours = {int(label): label.name.lower().replace("_", " ") for label in Label}
    assert ours == {entry["id"]: entry["name"] for entry in shipped["classes"]}
