# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from segmif_ros.rig.draw.vehicles import Stuff, shape_of

KINDS = ("sedan", "hatchback", "suv", "van", "truck", "bus")


@pytest.mark.parametrize("kind", KINDS)
def test_bodies_are_symmetric_stand_on_the_ground_and_have_their_size(kind):
    shape = shape_of(kind)
    points = np.concatenate([shape.quads.points.reshape(-1, 3), shape.discs.points.reshape(-1, 3)])
    assert points[:, 1].min() == pytest.approx(0.0, abs=1e-9)
    assert points[:, 1].max() == pytest.approx(shape.height, abs=0.25)
    assert -points[:, 0].min() == pytest.approx(points[:, 0].max(), abs=0.06)
    assert np.abs(points[:, 2]).max() == pytest.approx(shape.half_length, abs=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_lights_are_red_behind_and_white_in_front(kind):
    shape = shape_of(kind)
    z = shape.quads.points[..., 2].mean(axis=1)
    assert (z[shape.quads.stuff == Stuff.TAIL] < 0).all()
    assert (z[shape.quads.stuff == Stuff.HEAD] > 0).all()
    assert {Stuff.HEAD, Stuff.TAIL, Stuff.GLASS} <= set(shape.quads.stuff.tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_faces_look_outwards(kind):
    shape = shape_of(kind)
    for faces, middle in ((shape.quads.points, 2), (shape.discs.points, 6)):
        normal = np.cross(faces[:, middle] - faces[:, 0], faces[:, -1] - faces[:, 1])
        centre = faces.mean(axis=1)
        # Left and right panels: what lies on the right looks right.
        side = np.abs(centre[:, 0]) > 0.8 * shape.half_width
        outward = np.sign(centre[side, 0]) * normal[side, 0]
        assert (outward > -1e-6).mean() > 0.98


def test_far_cars_have_fewer_faces_and_the_same_size():
    fine, coarse = shape_of("suv"), shape_of("suv", coarse=True)
    assert len(coarse.quads.points) < 0.7 * len(fine.quads.points)
    assert np.ptp(coarse.quads.points[..., 2]) == pytest.approx(
        np.ptp(fine.quads.points[..., 2]), rel=0.02
    )


def test_unknown_kind_is_named():
    with pytest.raises(ValueError, match="tram"):
        shape_of("tram")
