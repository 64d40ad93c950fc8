# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest

from segmif_ros.rig.draw.figures import bicycle, motorcycle, outline, rider, walker
from segmif_ros.rig.scene.lighting import Climate, Lighting, climate_of, light_of
from segmif_ros.rig.scene.planner import random_scene
from segmif_ros.rig.scene.scene import Cycle, Label, Person

SCENE = random_scene(1)


@pytest.fixture(scope="module")
def climate() -> Climate:
    return climate_of(SCENE, light_of(SCENE, Lighting.NIGHT))


@pytest.fixture(scope="module")
def person() -> Person:
    return next(p for s in range(20) for p in random_scene(s).people if p.stride_mps > 0)


def heights(limbs) -> np.ndarray:
    """Lowest and highest y of every limb, ends included."""
    y = np.array([[part.start[1], part.stop[1]] for part in limbs.parts])
    r = np.array([part.radius for part in limbs.parts])
    return np.stack([(y - r).min(axis=1), (y + r).max(axis=1)])


@pytest.mark.parametrize("fine", [True, False])
def test_walkers_stay_on_the_ground_and_keep_their_height(person, climate, fine):
    for t in np.linspace(0, 2, 23):
        low, high = heights(walker(person, float(t), 0.3, climate, Label.PERSON, fine=fine))
        assert abs(low.min()) < 0.05 * person.height
        assert 0.9 < high.max() / person.height < 1.1


def test_steps_repeat_after_one_gait_cycle(person, climate):
    cycle = 0.84 * person.height / person.stride_mps
    a = walker(person, 1.0, 0.0, climate, Label.PERSON)
    b = walker(person, 1.0 + cycle, 0.0, climate, Label.PERSON)
    half = walker(person, 1.0 + cycle / 2, 0.0, climate, Label.PERSON)
    starts = [np.array([part.start for part in limbs.parts]) for limbs in (a, b, half)]
    np.testing.assert_allclose(starts[0], starts[1], atol=1e-9)
    assert np.abs(starts[0] - starts[2]).max() > 0.1


def test_skin_is_warmer_than_clothes_and_shoes(person, climate):
    limbs = walker(person, 0.0, math.pi, climate, Label.PERSON)
    kelvin = np.array([part.kelvin for part in limbs.parts])
    assert kelvin.max() == pytest.approx(climate.skin + 0.3)
    assert kelvin.min() < climate.clothing
    assert kelvin.min() > climate.air


def cycles(kind: str) -> list[Cycle]:
    return [c for s in range(30) for c in random_scene(s).cycles if c.kind == kind]


def test_riders_sit_on_what_they_ride(climate):
    for kind in ("bicycle", "motorcycle"):
        ridden = next(c for c in cycles(kind) if c.rider is not None)
        low, high = heights(rider(ridden, 0.5, 0.0, climate, Label.PERSON))
        assert low.min() > 0.0
        assert 1.3 < high.max() < 2.1
        parked = next(c for c in cycles(kind) if c.rider is None)
        assert rider(parked, 0.5, 0.0, climate, Label.PERSON) is None


def test_bicycles_touch_the_ground_and_motors_are_hot(climate):
    wheels = bicycle(cycles("bicycle")[0], 0.0, 0.0, climate, Label.BICYCLE)
    assert heights(wheels)[0].min() == pytest.approx(0.0, abs=0.03)
    warm = next(c for c in cycles("motorcycle") if c.rider is not None)
    cold = next(c for c in cycles("motorcycle") if c.rider is None)
    peak = [
        max(p.kelvin for p in motorcycle(c, 0.0, climate, Label.MOTORCYCLE).parts) - climate.air
        for c in (warm, cold)
    ]
    assert peak[0] > 30.0
    assert peak[1] < 5.0


def test_outlines_face_the_eye_and_have_the_size_of_the_limb():
    a, b = np.array([[0.0, 1.0, 10.0]]), np.array([[0.0, 2.0, 10.0]])
    corners = outline(a, b, np.array([[0.1, 0.2]]), np.array([0.0, 1.5, 0.0]))[0]
    assert corners.shape == (12, 3)
    assert np.ptp(corners[:, 2]) < 0.05
    assert corners[:, 1].max() == pytest.approx(2.2, abs=0.02)
    assert corners[:, 1].min() == pytest.approx(0.9, abs=0.02)
    assert corners[:, 0].max() == pytest.approx(0.2, abs=1e-3)


def test_limbs_that_point_at_the_eye_are_round_not_broken():
    a, b = np.array([[0.0, 0.0, 10.0]]), np.array([[0.0, 0.0, 12.0]])
    corners = outline(a, b, np.array([[0.1, 0.1]]), np.zeros(3))[0]
    assert np.isfinite(corners).all()
    assert np.ptp(corners[:, 0]) == pytest.approx(0.2, abs=0.02)
