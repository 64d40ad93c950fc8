# SPDX-License-Identifier: Apache-2.0
"""Points get the label of the pixel they are seen at; clouds are checked before they are read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from segmif_ros.objects.clouds import (
    MOST_POINTS,
    CloudRefused,
    PointLabels,
    native_bytes,
    offset_of_added,
    read_cloud,
)
from segmif_ros.objects.points import LabelPicture, depth_in_rgb, label_points, organised, rays_of
from segmif_ros.registration import Intrinsics
from segmif_ros.registration.calibration import Transform
from segmif_ros.rig.cameras.cameras import LIDAR_TO_RGB, Lidar, Rig
from segmif_ros.rig.draw.render import Renderer
from segmif_ros.rig.scene.planner import random_scene

K = Rig.default().rgb.intrinsics.matrix
CAMERA = Intrinsics((480, 640), K)
BENT = Intrinsics((480, 640), K, "plumb_bob", (-0.3, 0.1, 0.001, -0.001, 0.0))
HERE = Transform.identity()


def picture(**images: Any) -> LabelPicture:
    mask = np.arange(480 * 640, dtype=np.uint32).reshape(480, 640) % 251
    return LabelPicture(mask.astype(np.uint8), np.full((480, 640), 128, np.uint8), **images)


def axes(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return points[:, 0], points[:, 1], points[:, 2]


@pytest.mark.parametrize("camera", [CAMERA, BENT])
def test_a_point_takes_the_pixel_that_opencv_projects_it_to(camera: Intrinsics) -> None:
    random = np.random.default_rng(0)
    points = random.uniform((-3, -2, 4), (3, 2, 30), (500, 3)).astype(np.float32)
    turn, _ = cv2.Rodrigues(np.array([0.02, -0.05, 0.03]))
    move = Transform(turn, np.array([0.1, -0.4, 0.05]))
    rgb = random.integers(0, 256, (480, 640, 3), np.uint8)
    heat = random.random((480, 640), np.float32)
    shown = picture(rgb=rgb, temperature=heat)
    rotation = cv2.Rodrigues(turn)[0]
    expected, _ = cv2.projectPoints(
        points.astype(float), rotation, move.translation_m, K, np.array(camera.coefficients)
    )
    # One point at a time: nothing can hide it.
    for point, (u, v) in zip(points, expected[:, 0], strict=True):
        labels = label_points(axes(point[None]), shown, camera, move)
        if not (1 < u < 638 and 1 < v < 478) or min(abs(u % 1 - 0.5), abs(v % 1 - 0.5)) < 0.01:
            continue
        row, column = round(v), round(u)
        assert labels.label[0] == shown.mask[row, column]
        assert labels.confidence[0] == 128
        r, g, b = rgb[row, column].tolist()
        assert labels.rgb[0] == (r << 16) + (g << 8) + b
        assert labels.temperature[0] == heat[row, column]


def test_every_pixel_has_the_labels_that_a_point_there_has() -> None:
    random = np.random.default_rng(2)
    shown = picture(
        rgb=random.integers(0, 256, (480, 640, 3), np.uint8),
        temperature=random.random((480, 640), np.float32),
    )
    every = np.arange(480 * 640)
    for one, other in zip(shown.everywhere(), shown.at(every, every, every.size), strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.isnan(picture().everywhere().temperature).all()


def test_points_that_are_not_seen_have_no_label() -> None:
    points = np.array([
        (0, 0, -5), (50, 0, 5), (np.nan, 0, 5), (0, np.inf, 5), (0, 0, 0), (0, 0, np.inf), (0, 0, 5)
    ], np.float32)  # fmt: skip
    labels = label_points(axes(points), picture(), CAMERA, HERE)
    assert labels.label.tolist()[:6] == [255] * 6
    assert labels.label[6] != 255
    assert np.isnan(labels.temperature).all()
    assert labels.confidence.tolist() == [0] * 6 + [128]


def test_a_point_behind_another_is_hidden_and_a_slanted_ground_is_not() -> None:
    points = np.array([(0, 0, 5), (0.01, 0, 12), (1.5, 0, 12)], np.float32)
    assert (label_points(axes(points), picture(), CAMERA, HERE).label != 255).tolist() == [
        True,
        False,
        True,
    ]
    z = np.linspace(4, 30, 400, dtype=np.float32)
    ground = np.stack([np.zeros_like(z), np.full_like(z, 1.5), z], axis=1)
    assert (label_points(axes(ground), picture(), CAMERA, HERE).label != 255).mean() > 0.98


@pytest.mark.parametrize("rings", [16, 64])
@pytest.mark.parametrize("lighting", ["day", "night"])
def test_labels_of_lidar_points_are_true_away_from_edges(rings: int, lighting: str) -> None:
    lidar = Lidar(rings)
    renderer = Renderer(random_scene(25), Rig.default(), lighting)
    points, true = renderer.lidar(lidar, 2.0)
    truth = renderer.truth(2.0)
    shown = LabelPicture(truth.labels, np.full((480, 640), 255, np.uint8))
    move = Transform(LIDAR_TO_RGB, np.array(lidar.position_m))
    found = label_points(axes(points), shown, CAMERA, move).label
    kernel = np.ones((7, 7), np.uint8)
    edge = cv2.dilate(truth.labels, kernel) != cv2.erode(truth.labels, kernel)
    away = label_points(
        axes(points), LabelPicture(edge.view(np.uint8), shown.confidence), CAMERA, move
    ).label
    judged = (found != 255) & (away == 0)
    assert judged.sum() > 2000
    assert (found[judged] == true[judged]).mean() >= 0.98
    # And not by leaving points out: those that lie on what the camera sees have a label.
    there = points @ LIDAR_TO_RGB.T + np.array(lidar.position_m)
    pixels, _ = CAMERA.to_pixels(there[:, :2] / there[:, 2:])
    column, row = np.rint(pixels).astype(int).T
    inside = (column >= 0) & (column < 640) & (row >= 0) & (row < 480)
    behind = there[inside, 2] - truth.depth_m[row[inside], column[inside]]
    assert (found[inside][np.abs(behind) < 0.3] != 255).mean() > 0.95


def test_depth_becomes_a_cloud_that_is_aligned_with_the_mask() -> None:
    depth = Renderer(random_scene(25), Rig.default(), "day").truth(2.0).depth_m.copy()
    depth[0, 0], depth[1, 1], depth[2, 2] = 0.0, np.nan, np.inf
    cloud = organised(depth, rays_of(BENT))
    assert cloud.shape == (480, 640, 3)
    assert np.isnan(cloud[[0, 1, 2], [0, 1, 2]]).all()
    seen = np.isfinite(cloud[..., 2]) & np.isfinite(cloud[..., 0])
    np.testing.assert_array_equal(cloud[seen, 2], depth[seen])
    back, _ = BENT.to_pixels(cloud[seen, :2].astype(float) / cloud[seen, 2:])
    rows, columns = np.nonzero(seen)
    assert np.abs(back - np.stack([columns, rows], axis=1)).max() < 0.01


def test_depth_of_a_camera_of_its_own_comes_into_rgb_without_holes() -> None:
    small = Intrinsics((240, 320), np.array([[277.0, 0, 159.5], [0, 277.0, 119.5], [0, 0, 1]]))
    cloud = organised(np.full((240, 320), 4.0, np.float32), rays_of(small))
    depth = depth_in_rgb(cloud, CAMERA, Transform(np.eye(3), np.array([0.05, 0.0, 0.1])), 2)
    middle = depth[40:440, 40:600]
    np.testing.assert_allclose(middle, 4.1, atol=1e-5)
    cloud[100:140, 100:140] *= np.float32(0.5)  # a nearer square hides what is behind it
    nearer = depth_in_rgb(cloud, CAMERA, HERE, 2)
    assert (nearer[210:270, 210:270] == 2.0).all()


def message(
    points: np.ndarray, *, names: tuple[str, ...] = ("x", "y", "z", "intensity"), **changes: Any
) -> Any:
    """A PointCloud2 of float32 fields, 4 bytes apart."""
    data = np.zeros((len(points), len(names)), changes.pop("dtype", "<f4"))
    shared = min(points.shape[1], len(names))
    data[:, :shared] = points[:, :shared]
    size = data.dtype.itemsize
    kind = {4: 7, 8: 8}[size]
    fields = [
        SimpleNamespace(name=name, offset=size * i, datatype=kind, count=1)
        for i, name in enumerate(names)
    ]
    made = SimpleNamespace(
        height=1, width=len(points), fields=fields, is_bigendian=False, data=data.tobytes(),
        point_step=size * len(names), row_step=data.nbytes,
    )  # fmt: skip
    vars(made).update(changes)
    return made


POINTS = np.array([(1.0, 2.0, 3.0, 9.0), (4.0, 5.0, 6.0, 8.0)])


@pytest.mark.parametrize(
    ("dtype", "big"), [("<f4", False), (">f4", True), ("<f8", False), (">f8", True)]
)
def test_either_byte_order_and_width_is_read(dtype: str, big: bool) -> None:
    cloud = read_cloud(message(POINTS, dtype=dtype, is_bigendian=big))
    np.testing.assert_array_equal(np.stack(cloud.xyz, axis=1), POINTS[:, :3])
    assert all(axis.dtype.isnative for axis in cloud.xyz)


@pytest.mark.parametrize("big", [False, True])
def test_a_labelled_cloud_keeps_its_fields_and_byte_order(big: bool) -> None:
    order = ">" if big else "<"
    cloud = read_cloud(message(POINTS, dtype=order + "f4", is_bigendian=big))
    labels = PointLabels(
        np.array([8, 255], np.uint8), np.array([200, 0], np.uint8),
        np.array([0x102030, 0], np.uint32), np.array([36.5, np.nan], np.float32),
    )  # fmt: skip
    out = cloud.labelled(labels)
    start = offset_of_added(16)
    assert out.shape == (2, start + 12)
    np.testing.assert_array_equal(out[:, :16].copy().view(order + "f4"), POINTS)
    assert out[0, start : start + 4].view(order + "u4")[0] == 0x102030
    assert out[0, start + 4 : start + 8].view(order + "f4")[0] == np.float32(36.5)
    assert out[:, start + 8].tolist() == [8, 255]
    assert out[:, start + 9].tolist() == [200, 0]


def test_an_organised_cloud_with_padded_rows_and_odd_points_is_read() -> None:
    rows = np.zeros((2, 30), np.uint8)
    for row in range(2):
        for column in range(2):
            point = POINTS[column, :3].astype("<f4") + row
            rows[row, 13 * column : 13 * column + 12] = point.view(np.uint8)
    made = message(POINTS[:, :3], names=("x", "y", "z"))
    made.height, made.width, made.point_step, made.row_step = 2, 2, 13, 30
    made.data = rows.tobytes()
    cloud = read_cloud(made)
    assert cloud.size == (2, 2)
    np.testing.assert_array_equal(cloud.xyz[0], [1, 4, 2, 5])
    none = PointLabels(*(np.zeros(4, kind) for kind in (np.uint8, np.uint8, np.uint32, np.float32)))
    assert cloud.labelled(none).shape == (4, 16 + 12)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"names": ("x", "y", "range")}, "no field 'z'"),
        ({"fields": []}, "no field 'x' among none"),
        ({"width": 3}, "do not hold"),
        ({"data": b""}, "do not hold"),
        ({"point_step": 0}, "do not hold"),
        ({"row_step": 8}, "do not hold"),
        ({"width": MOST_POINTS + 1}, "at most"),
        ({"height": 5_000_000}, "at most"),
    ],
)
def test_a_malformed_cloud_is_refused_with_the_reason(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(CloudRefused, match=says):
        read_cloud(message(POINTS, **changes))


@pytest.mark.parametrize("change", [{"datatype": 5}, {"count": 2}, {"offset": 14}, {"offset": -4}])
def test_an_axis_that_is_no_float_inside_the_point_is_refused(change: dict[str, int]) -> None:
    made = message(POINTS)
    vars(made.fields[1]).update(change)
    with pytest.raises(CloudRefused, match="field 'y'"):
        read_cloud(made)


def test_an_empty_cloud_is_no_error() -> None:
    cloud = read_cloud(message(np.empty((0, 3))))
    labels = label_points(cloud.xyz, picture(), CAMERA, HERE)
    assert cloud.labelled(labels).shape == (0, 28)


def test_a_cloud_of_our_own_is_one_that_can_be_labelled() -> None:
    cloud = native_bytes(np.ones((4, 6, 3), np.float32))
    assert cloud.size == (4, 6)
    labels = label_points(cloud.xyz, picture(), CAMERA, HERE)
    assert cloud.labelled(labels).shape == (24, 24)
