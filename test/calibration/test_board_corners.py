# SPDX-License-Identifier: Apache-2.0
"""Corners of a warm board must be found in both pictures, and none where there is no board."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from segmif_ros.calibration.board_corners import Pattern, find_board, same_order
from segmif_ros.rig.cameras.cameras import Pinhole, Rig
from segmif_ros.rig.draw.board import NO_DISTORTION, Board, BoardStudio

Points = NDArray[np.float64]


def off(found: Points | None, truth: Points) -> float:
    """RMS distance in pixels, for either end of the board as the first corner."""
    assert found is not None
    return min(
        float(np.sqrt(np.mean(np.sum((way - truth) ** 2, axis=1)))) for way in (found, found[::-1])
    )


@pytest.mark.parametrize("circles", [False, True])
def test_both_cameras_see_the_board_to_a_tenth_of_a_pixel(circles: bool) -> None:
    studio = BoardStudio(Rig.default(), Board(circles=circles), seed=4)
    pattern = Pattern(8, 6, 0.05, circles)
    for number, pose in enumerate(studio.poses(2, 0.7, 1.2)):
        view = studio.view(pose, number)
        grey = np.asarray(cv2.cvtColor(view.rgb, cv2.COLOR_RGB2GRAY))
        for image, camera in ((grey, studio.rig.rgb), (view.thermal, studio.rig.thermal)):
            truth = studio.pixels(pose, camera, NO_DISTORTION)
            assert off(find_board(image, pattern), truth) < 0.15


def test_a_small_thermal_camera_is_enough() -> None:
    rig = Rig.default()
    small = replace(rig.thermal, intrinsics=Pinhole.from_hfov(160, 120, 50.0))
    studio = BoardStudio(Rig(rig.rgb, small), Board(6, 5, 0.08), seed=1)
    pose = studio.poses(1, 0.9, 1.1)[0]
    found = find_board(studio.view(pose).thermal, Pattern(6, 5, 0.08))
    assert off(found, studio.pixels(pose, small, NO_DISTORTION)) < 0.3


def test_float_pictures_with_dead_pixels_are_read() -> None:
    studio = BoardStudio(Rig.default(), Board(), seed=4)
    pose = studio.poses(1, 0.7, 1.2)[0]
    celsius = studio.view(pose).thermal.astype(np.float32) / 100.0 - 273.15
    celsius[5, 7] = np.nan
    found = find_board(celsius, Pattern(8, 6, 0.05))
    assert off(found, studio.pixels(pose, studio.rig.thermal, NO_DISTORTION)) < 0.15


@pytest.mark.parametrize("circles", [False, True])
def test_no_board_is_found_where_there_is_none(circles: bool) -> None:
    noise = np.random.default_rng(0).integers(0, 65536, (36, 48)).astype(np.uint16)
    for image in (noise, np.full((36, 48), 7000, np.uint16)):
        assert find_board(image, Pattern(8, 6, 0.05, circles)) is None


@pytest.mark.parametrize(
    "turn", [np.s_[:, :], np.s_[::-1, ::-1], np.s_[:, ::-1], np.s_[::-1]], ids=str
)
def test_corners_are_counted_alike_in_both_pictures(turn: tuple[slice, ...]) -> None:
    pattern = Pattern(8, 6, 1.0)
    # The board is held upside down; the cameras are rolled a little against each other.
    rgb = -20.0 * pattern.points()[:, :2].astype(np.float64) + 300.0
    roll = np.array([[0.98, -0.17], [0.17, 0.98]])
    thermal = 0.8 * rgb @ roll.T + 5.0
    counted = thermal.reshape(6, 8, 2)[turn].reshape(-1, 2)
    np.testing.assert_allclose(same_order(rgb, counted, pattern), thermal)


def test_a_square_board_may_be_counted_in_columns() -> None:
    pattern = Pattern(5, 5, 1.0)
    rgb = 20.0 * pattern.points()[:, :2].astype(np.float64)
    counted = np.swapaxes(rgb.reshape(5, 5, 2), 0, 1)[::-1].reshape(-1, 2)
    np.testing.assert_allclose(same_order(rgb, counted, pattern), rgb)


@pytest.mark.parametrize(
    ("values", "named"),
    [((2, 6, 0.05), "2x6"), ((8, 600, 0.05), "8x600"), ((8, 6, 50.0), "50.0 m"),
     ((8, 6, float("nan")), "nan m")],
)  # fmt: skip
def test_a_pattern_that_is_none_is_refused(values: tuple[int, int, float], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Pattern(*values)
