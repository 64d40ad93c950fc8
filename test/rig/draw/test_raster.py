# SPDX-License-Identifier: Apache-2.0
"""The drawing itself, on a small camera and surfaces whose place in the picture is known."""

from __future__ import annotations

import numpy as np
import pytest

from segmif_ros.rig.cameras.cameras import Camera, Pinhole, Pose, place
from segmif_ros.rig.draw.items import Polygons, Sprite, Texture
from segmif_ros.rig.draw.raster import (
    GLOW_DEPTH,
    SKY_DEPTH,
    ThermalCanvas,
    VisibleCanvas,
    depth_code,
    depth_of_codes,
)

CAMERA = Camera(Pinhole.from_hfov(160, 120, 90.0), 30.0, "test")


@pytest.fixture
def pose() -> Pose:
    return place(CAMERA, (0.0, 0.0, 0.0), 0.0, 0.0)


@pytest.fixture
def canvas(pose: Pose) -> VisibleCanvas:
    bgrd = np.zeros((120, 160, 4), np.uint8)
    bgrd[..., 3] = SKY_DEPTH
    return VisibleCanvas(pose, bgrd, np.zeros((120, 160), np.uint8))


def square(half: float, z: float, label: int, **more) -> Polygons:
    corners = np.array([[(-half, half, z), (half, half, z), (half, -half, z), (-half, -half, z)]])
    return Polygons(corners, np.array([[10.0, 20.0, 30.0]]), np.array([300.0]), label, **more)


def test_depth_codes_are_fine_and_reversible():
    metres = np.geomspace(1.0, 390.0, 200)
    back = depth_of_codes()[depth_code(metres)]
    np.testing.assert_allclose(back, metres, rtol=0.02)
    assert depth_code(0.1) == 1
    assert depth_code(10_000.0) == 254
    assert np.isinf(depth_of_codes()[SKY_DEPTH])


def test_a_square_lands_where_it_projects(canvas):
    canvas.draw([square(2.0, 10.0, 5)])
    rows, cols = np.nonzero(canvas.labels == 5)
    # 80 px focal length, 2 m at 10 m: 16 px to either side of the middle.
    assert (cols.min(), cols.max()) == pytest.approx((79.5 - 16, 79.5 + 16), abs=1)
    assert (rows.min(), rows.max()) == pytest.approx((59.5 - 16, 59.5 + 16), abs=1)
    assert canvas.bgrd[60, 80].tolist() == [10, 20, 30, depth_code(10.0)]
    assert canvas.bgrd[5, 5].tolist() == [0, 0, 0, SKY_DEPTH]


def test_later_items_hide_earlier_ones(canvas):
    canvas.draw([square(4.0, 20.0, 3), square(0.5, 5.0, 8)])
    assert canvas.labels[60, 80] == 8
    assert canvas.labels[60, 80 + 14] == 3


def test_shining_surfaces_say_so_in_the_depth(canvas):
    canvas.draw([square(2.0, 10.0, 4, glow=np.array([True]))])
    assert canvas.bgrd[60, 80, 3] == GLOW_DEPTH


def test_backs_are_culled(canvas):
    front = square(2.0, 10.0, 9, cull=True)
    back = square(2.0, 10.0, 9, cull=True)
    back.points = back.points[:, ::-1]
    canvas.draw([back])
    assert (canvas.labels == 0).all()
    canvas.draw([front])
    assert canvas.labels[60, 80] == 9


def test_what_reaches_behind_the_camera_is_cut(canvas):
    ground = np.array(
        [[(-3.0, -1.5, -5.0), (-3.0, -1.5, 60.0), (3.0, -1.5, 60.0), (3.0, -1.5, -5.0)]]
    )
    canvas.draw([Polygons(ground, np.full((1, 3), 90.0), np.array([290.0]), 1)])
    assert canvas.labels[119, 80] == 1
    assert canvas.labels[59, 80] == 0
    behind = square(2.0, -10.0, 7)
    canvas.draw([behind])
    assert (canvas.labels != 7).all()


def checker(alpha: int = 255) -> Texture:
    bgr = np.zeros((64, 64, 3), np.uint8)
    bgr[:32, :32] = bgr[32:, 32:] = 200
    return Texture.pierced(bgr, np.full((64, 64), alpha, np.uint8), None)


def upright(x0: float, x1: float, z0: float, z1: float) -> np.ndarray:
    return np.array([(x0, 2.0, z0), (x1, 2.0, z1), (x1, -2.0, z1), (x0, -2.0, z0)])


@pytest.mark.parametrize("z1", [10.0, 14.0])
def test_textures_keep_their_corners(canvas, z1):
    """Facing the camera (drawn as a rectangle) and turned away (in perspective)."""
    canvas.draw([Sprite(upright(-2.0, 2.0, 10.0, z1), checker(), 290.0, 5)])
    assert canvas.bgrd[50, 68, 0] > 180
    assert canvas.bgrd[70, 68, 0] < 20
    right = 79.5 + 80 * 2.0 / z1
    assert np.nonzero(canvas.labels[60])[0].max() == pytest.approx(right, abs=1.5)


def test_a_texture_that_begins_behind_the_camera_is_cut(canvas):
    canvas.draw([Sprite(upright(-2.0, -2.0, -5.0, 30.0), checker(), 290.0, 3)])
    assert canvas.labels[60, 2] == 3
    assert canvas.labels[60, 100] == 0


def test_transparent_textures_leave_labels_and_mix_colours(canvas):
    canvas.bgrd[..., :3] = 100
    faint = checker(alpha=64)
    canvas.draw([Sprite(upright(-2.0, 2.0, 10.0, 10.0), faint, 290.0, 6)])
    assert (canvas.labels == 0).all()
    assert canvas.bgrd[50, 68, 0] == pytest.approx(100 * 0.75 + 200 * 0.25, abs=3)
    assert canvas.bgrd[50, 68, 3] == SKY_DEPTH


def test_lit_windows_of_a_wall_shine_and_its_edges_do_not(canvas):
    bgr = np.full((64, 64, 3), 50, np.uint8)
    lit = np.full((64, 64), 255, np.uint8)
    lit[16:32, 16:32] = 0
    canvas.draw([Sprite(upright(-2.0, 2.0, 10.0, 14.0), Texture.solid(bgr, lit, None), 290.0, 3)])
    shining = canvas.bgrd[..., 3] == GLOW_DEPTH
    wall = canvas.labels == 3
    assert (shining & wall).sum() == pytest.approx(wall.sum() / 16, rel=0.25)
    assert not (shining & ~wall).any()
    rows, cols = np.nonzero(shining)
    assert (rows.max(), cols.max()) < (60, 80)


def test_thermal_fills_centikelvin_and_heat_is_relative(pose):
    labels = np.zeros((120, 160), np.uint8)
    cold = np.full((120, 160), 25000, np.uint16)
    canvas = ThermalCanvas(pose, labels, cold, with_labels=True)
    heat = np.full((64, 64), 30000, np.uint16)
    heat[:, 32:] += 250
    dark, lit = np.zeros((64, 64, 3), np.uint8), np.full((64, 64), 255, np.uint8)
    wall = Sprite(upright(-2.0, 2.0, 10.0, 10.0), Texture.solid(dark, lit, heat), 285.0, 3)
    canvas.draw([wall, square(0.3, 6.0, 8)])
    assert canvas.centikelvin[52, 68] == 28500
    assert canvas.centikelvin[52, 92] == 28750
    assert canvas.centikelvin[60, 80] == 30000
    assert canvas.centikelvin[5, 5] == 25000
    assert (labels[60, 80], labels[52, 68]) == (8, 3)


def test_a_sprite_one_pixel_wide_has_its_own_depth(canvas):
    thin = Sprite(upright(0.0, 0.05, 10.0, 10.0), checker(), 290.0, 14)
    results = []
    for _ in range(20):
        canvas.bgrd[..., 3] = SKY_DEPTH
        canvas.draw([thin])
        results.append(set(np.unique(canvas.bgrd[..., 3]).tolist()))
    assert all(found <= {int(depth_code(10.0)), SKY_DEPTH} for found in results)
