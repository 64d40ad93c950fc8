# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from segmif_ros.rig.cameras.cameras import Rig
from segmif_ros.rig.draw.footage import TOUR, Footage, to_and_fro
from segmif_ros.rig.draw.render import Renderer
from segmif_ros.rig.scene.lighting import Lighting
from segmif_ros.rig.scene.planner import random_scene

SCENE = random_scene(9)


def test_to_and_fro_walks_back_without_standing():
    assert [to_and_fro(i, 4) for i in range(10)] == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3]
    assert [to_and_fro(i, 1) for i in range(3)] == [0, 0, 0]
    with pytest.raises(ValueError, match="0 pictures"):
        to_and_fro(3, 0)


def test_rendered_when_due_equals_the_renderer():
    rig = Rig.default(rgb_rate_hz=10.0, thermal_rate_hz=5.0)
    footage = Footage(SCENE, rig, [Lighting.NIGHT], thermal_phase_s=0.02)
    renderer = Renderer(SCENE, rig, Lighting.NIGHT)
    rgb, labels = footage.visible(7)
    expected, true = renderer.visible(0.7)
    np.testing.assert_array_equal(rgb, expected)
    np.testing.assert_array_equal(labels, true)
    np.testing.assert_array_equal(footage.thermal(3), renderer.thermal(0.62)[0])


def test_rendered_ahead_shows_the_same_pictures_and_then_walks_back():
    rig = Rig.default(rgb_rate_hz=10.0, thermal_rate_hz=5.0)
    footage = Footage(SCENE, rig, [Lighting.DAY], frames=9, ahead=4)
    seen: list[tuple[int, int]] = []
    assert footage.prepare(lambda done, total: seen.append((done, total)) is None)
    assert seen[0] == (0, 6)
    assert seen[-1] == (6, 6)
    live = Footage(SCENE, rig, [Lighting.DAY])
    for number, shown in ((0, 0), (3, 3), (4, 2), (6, 0), (8, 2)):
        np.testing.assert_array_equal(footage.visible(number)[0], live.visible(shown)[0])
    np.testing.assert_array_equal(footage.thermal(2), live.thermal(0))


def test_rendering_ahead_can_be_stopped():
    footage = Footage(SCENE, Rig.default(), [Lighting.DAY], ahead=50)
    assert not footage.prepare(lambda done, _: done < 2)


def test_a_tour_spends_its_frames_evenly():
    rig = Rig.default(rgb_rate_hz=10.0)
    footage = Footage(SCENE, rig, TOUR, frames=50)
    lightings = [footage.lighting(i) for i in range(50)]
    assert lightings == [light for light in Lighting for _ in range(10)]


def test_a_tour_with_few_frames_still_has_a_picture_for_each():
    rig = Rig.default(rgb_rate_hz=10.0, thermal_rate_hz=9.0)
    footage = Footage(SCENE, rig, TOUR, frames=7, ahead=7, thermal_phase_s=0.004)
    assert footage.prepare(lambda *_: True)
    assert {footage.visible(i)[0].shape for i in range(9)} == {(480, 640, 3)}
    assert {footage.thermal(i).shape for i in range(9)} == {(512, 640)}


@pytest.mark.parametrize(
    ("options", "words"),
    [({"ahead": -1}, "-1 pairs"), ({"ahead": 100_000}, "GiB"), ({"encoding": "rgb8"}, "rgb8")],
)
def test_impossible_requests_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        Footage(SCENE, Rig.default(), [Lighting.DAY], **options)
    with pytest.raises(ValueError, match="lighting"):
        Footage(SCENE, Rig.default(), [])
