# SPDX-License-Identifier: Apache-2.0
"""Point pairs must give the true homography, or one line that says which points prevent it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segmif_ros.calibration.points import (
    CalibrationError,
    Points,
    fit_points,
    project,
    read_pairs,
    rms_between,
)
from segmif_ros.registration import Calibration
from segmif_ros.rig.cameras.cameras import Rig

RIG = Rig.default()
RGB, THERMAL = (480, 640), (512, 640)
TRUTH = RIG.thermal_to_rgb_homography(18.0)


def seen_points(count: int, seed: int, noise: float = 0.3) -> tuple[Points, Points]:
    """Points of the plane at 18 m all over the RGB image, with noise on both sides."""
    random = np.random.default_rng(seed)
    cells = np.stack(np.meshgrid(np.arange(6), np.arange(5)), axis=-1).reshape(-1, 2)
    cells = cells[random.permutation(len(cells))[:count]]
    rgb = (cells + random.uniform(0.2, 0.8, cells.shape)) * [640 / 6, 480 / 5]
    thermal = project(np.linalg.inv(TRUTH), rgb)
    return thermal + random.normal(0, noise, rgb.shape), rgb + random.normal(0, noise, rgb.shape)


@pytest.mark.parametrize("seed", range(10))
def test_the_rig_is_found_within_half_a_pixel(seed: int) -> None:
    fit = fit_points(*seen_points(30, seed), THERMAL, RGB)
    assert rms_between(TRUTH, fit.calibration.homography, fit.calibration) < 0.5
    assert 0.1 < fit.rms_px < 1.0
    assert f"{fit.rms_px:.2f} px RMS" in fit.calibration.source


def test_wrong_pairs_are_left_out_and_named() -> None:
    thermal, rgb = seen_points(20, 3)
    rgb[[2, 11]] = [[30, 400], [600, 20]]
    fit = fit_points(thermal, rgb, THERMAL, RGB)
    assert list(np.flatnonzero(~fit.used)) == [2, 11]
    assert rms_between(TRUTH, fit.calibration.homography, fit.calibration) < 0.6


def test_four_exact_points_are_enough() -> None:
    thermal = np.array([[50.0, 60], [600, 40], [580, 470], [40, 480]])
    fit = fit_points(thermal, project(TRUTH, thermal).clip(0, (639, 479)), THERMAL, RGB)
    assert fit.rms_px < 1e-3
    assert "not known" in fit.calibration.source


LINE = np.array([[10.0, 10], [100, 100], [200, 200], [300, 302]])


@pytest.mark.parametrize(
    ("thermal", "rgb", "named"),
    [
        (LINE[:3], LINE[:3], "3 point pairs; give 4"),
        (LINE, LINE, "pairs 1, 2, 3, 4 lie on one line in the thermal image"),
        (np.array([*LINE[:3], [400, 50]]), np.array([*LINE[:3], [400, 50]]), "pairs 1, 2, 3 lie"),
        (np.full((6, 2), 50.0), np.full((6, 2), 50.0), "lie on one line"),
        (np.array([[0.0, 0], [300, 0], [300, 300], [0, 300]]), LINE, "line in the RGB image"),
        (np.array([*LINE[:3], [400, 600]]), LINE, "pair 4: (400, 600) lies outside the thermal"),
    ],
)
def test_degenerate_points_are_refused_by_name(thermal: Points, rgb: Points, named: str) -> None:
    with pytest.raises(CalibrationError) as caught:
        fit_points(thermal, rgb, THERMAL, RGB)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_mirrored_points_are_refused() -> None:
    thermal, rgb = seen_points(12, 1, noise=0.0)
    with pytest.raises(CalibrationError, match="mirror"):
        fit_points(thermal, rgb * [-1, 1] + [639, 0], THERMAL, RGB)


def test_points_that_contradict_each_other_are_refused() -> None:
    thermal, rgb = seen_points(20, 2)
    with pytest.raises(CalibrationError, match="of 20 point pairs agree"):
        fit_points(thermal, np.random.default_rng(0).permutation(rgb), THERMAL, RGB)


def test_pairs_are_read_from_a_file_and_from_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "points.txt"
    path.write_text("# thermal, rgb\n1,2,3,4\n\n 5 6 7.5 8 # lamp\n")
    thermal, rgb = read_pairs([str(path)])
    np.testing.assert_array_equal(thermal, [[1, 2], [5, 6]])
    np.testing.assert_array_equal(rgb, [[3, 4], [7.5, 8]])
    listed = read_pairs(["1,2,3,4", "5,6,7.5,8"])
    np.testing.assert_array_equal(listed[0], thermal)
    np.testing.assert_array_equal(listed[1], rgb)


@pytest.mark.parametrize(
    ("content", "named"),
    [("1,2,3\n", "line 1: '1,2,3' is not four"), ("1,2,3,x", "'x'"), ("1 2 3 nan", "finite")],
)
def test_a_bad_line_is_named(tmp_path: Path, content: str, named: str) -> None:
    path = tmp_path / "points.txt"
    path.write_text(content)
    with pytest.raises(CalibrationError) as caught:
        read_pairs([str(path)])
    assert named in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="cannot be read"):
        read_pairs([str(tmp_path / "none.txt")])


def test_distance_between_homographies() -> None:
    shifted = np.array([[1.0, 0, 3], [0, 1, 4], [0, 0, 1]]) @ TRUTH
    calibration = Calibration(RGB, THERMAL, TRUTH)
    assert rms_between(TRUTH, TRUTH, calibration) == pytest.approx(0.0, abs=1e-6)
    assert rms_between(TRUTH, shifted, calibration) == pytest.approx(5.0)
