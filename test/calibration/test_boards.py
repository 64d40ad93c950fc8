# SPDX-License-Identifier: Apache-2.0
"""Views of a board must give the rig's true geometry, and name the views that are wrong."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from rig_pictures import STUDIO, board_view

from segmif_ros.calibration.board_corners import Pattern, find_board, same_order
from segmif_ros.calibration.boards import BoardSighting, difference_px, fit_plane, fit_rig
from segmif_ros.calibration.points import CalibrationError, rms_between
from segmif_ros.registration import Intrinsics, RigCalibration
from segmif_ros.rig.cameras.cameras import Camera, Rig
from segmif_ros.rig.draw.board import Board, BoardPose, BoardStudio

PATTERN = Pattern(8, 6, 0.05)
RGB, THERMAL = (480, 640), (512, 640)
SIZES = (300, 400), THERMAL
"""Of the pictures of `STUDIO`: RGB and thermal."""


def truth(studio: BoardStudio, distance_m: float) -> RigCalibration:
    def camera(camera: Camera, lens: tuple[float, ...]) -> Intrinsics:
        k = camera.intrinsics
        return Intrinsics((k.height, k.width), k.matrix, "plumb_bob", (*lens, 0.0))

    rig = studio.rig
    return RigCalibration(
        camera(rig.rgb, studio.rgb_lens),
        camera(rig.thermal, studio.thermal_lens),
        rig.thermal.rotation.T,
        np.array(rig.thermal.position_m),
        distance_m,
        distance_m,
    )


def measured(studio: BoardStudio, count: int, noise_px: float = 0.05) -> list[BoardSighting]:
    """True corners with the noise that the corner finder leaves."""
    rng = np.random.default_rng(studio.seed)
    views = []
    for number, pose in enumerate(studio.poses(count)):
        rgb = studio.pixels(pose, studio.rig.rgb, studio.rgb_lens)
        thermal = studio.pixels(pose, studio.rig.thermal, studio.thermal_lens)
        views.append(
            BoardSighting(
                f"view {number}",
                rgb + rng.normal(0.0, noise_px, rgb.shape),
                thermal + rng.normal(0.0, noise_px, rgb.shape),
            )
        )
    return views


def test_pictures_of_a_board_give_the_rig_within_half_a_pixel() -> None:
    views = []
    for number in range(10):
        view = board_view(number)
        rgb = find_board(np.asarray(cv2.cvtColor(view.rgb, cv2.COLOR_RGB2GRAY)), PATTERN)
        thermal = find_board(view.thermal, PATTERN)
        assert rgb is not None
        assert thermal is not None
        views.append(BoardSighting(str(number), rgb, same_order(rgb, thermal, PATTERN)))
    fit = fit_rig(views, PATTERN, *SIZES, (15.0, 15.0))
    for distance in (2.0, 15.0, 100.0):
        found = replace(fit.calibration, nearest_m=distance, furthest_m=distance)
        assert difference_px(truth(STUDIO, distance), found) < 0.5
    assert fit.residual_px < 0.3
    assert 0.4 < fit.coverage < 1.0
    assert f"residual {fit.residual_px:.2f} px" in fit.calibration.source


def test_the_halves_show_how_good_it_is() -> None:
    noises = (0.02, 0.5)
    fits = [fit_rig(measured(STUDIO, 16, noise), PATTERN, *SIZES, (4.0, 60.0)) for noise in noises]
    errors = [difference_px(truth(STUDIO, 7.5), fit.calibration) for fit in fits]
    assert errors[0] < 0.1
    assert fits[0].halves_px < 0.3 < fits[1].halves_px
    assert errors[1] < 2 * fits[1].halves_px


def test_a_moved_and_a_miscounted_view_are_named_and_left_out() -> None:
    views = measured(STUDIO, 14)
    views[3] = replace(views[3], thermal=views[3].thermal + np.array([3.0, 0.0]))
    views[8] = replace(views[8], thermal=views[8].thermal[::-1])
    bent = views[11].rgb.copy()
    bent[10:14] += 4.0
    views[11] = replace(views[11], rgb=bent)
    fit = fit_rig(views, PATTERN, *SIZES, (15.0, 15.0))
    assert {view.name for view in fit.views if view.reason} == {"view 3", "view 8", "view 11"}
    lines = [view.line() for view in fit.views]
    assert "between the cameras" in lines[3]
    assert "left out" in lines[11]
    assert "RGB camera alone" in lines[11]
    assert "at " in lines[0]
    assert "left out" not in lines[0]
    assert difference_px(truth(STUDIO, 15.0), fit.calibration) < 0.3


def test_few_views_are_refused_with_the_way_out() -> None:
    with pytest.raises(CalibrationError, match=r"5 good views .* 8 are needed .*--flat"):
        fit_rig(measured(STUDIO, 5), PATTERN, *SIZES, (15.0, 15.0))


def test_one_view_gives_the_homography_at_its_distance() -> None:
    studio = BoardStudio(Rig.default(), Board(20, 14, 0.1))
    pose = BoardPose(np.eye(3), np.array([0.0, 0.0, 2.05]))
    pattern = Pattern(20, 14, 0.1)
    rng = np.random.default_rng(0)
    rgb, thermal = (
        studio.pixels(pose, camera, (0.0, 0.0, 0.0, 0.0)) + rng.normal(0.0, 0.1, (280, 2))
        for camera in (studio.rig.rgb, studio.rig.thermal)
    )
    fit = fit_plane([BoardSighting("view 1", rgb, thermal)], pattern, RGB, THERMAL)
    exact = studio.rig.thermal_to_rgb_homography(2.05)
    assert rms_between(exact, fit.calibration.homography, fit.calibration) < 0.3
    assert fit.left_out == ()
    assert fit.residual_px < 0.3


def test_a_view_at_another_distance_is_left_out_of_a_homography() -> None:
    studio = BoardStudio(Rig.default(), Board(), seed=2)
    places = ((0.0, 0.0, 1.5), (0.3, 0.1, 1.5), (-0.3, -0.2, 1.5), (0.0, 0.0, 0.7))
    at = [BoardPose(np.eye(3), np.array(place)) for place in places]
    views = [
        BoardSighting(
            f"view {number}",
            studio.pixels(pose, studio.rig.rgb, (0.0, 0.0, 0.0, 0.0)),
            studio.pixels(pose, studio.rig.thermal, (0.0, 0.0, 0.0, 0.0)),
        )
        for number, pose in enumerate(at)
    ]
    fit = fit_plane(views, PATTERN, RGB, THERMAL)
    assert len(fit.left_out) == 1
    assert fit.left_out[0].startswith("view 3: left out")
    exact = studio.rig.thermal_to_rgb_homography(1.5)
    assert rms_between(exact, fit.calibration.homography, fit.calibration) < 0.1


def test_no_view_is_no_homography() -> None:
    with pytest.raises(CalibrationError, match="no view"):
        fit_plane([], PATTERN, RGB, THERMAL)
