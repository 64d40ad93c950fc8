# SPDX-License-Identifier: Apache-2.0
"""`segmif calibrate`: what it writes, and one line where it cannot."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from rig_pictures import board_view, street_rgb, street_thermal

from segmif_ros.calibration.points import rms_between
from segmif_ros.cli.main import main
from segmif_ros.registration import Calibration, RigCalibration, load_calibration
from segmif_ros.rig.cameras.cameras import Rig

SIZES = ["--rgb-size", "640x480", "--thermal-size", "320x240"]
PAIRS = ["20,15,40,30", "300,20,600,40", "290,230,580,460", "25,220,50,440"]


def test_points_become_a_calibration_and_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (48, 64), np.uint8)
    cv2.imwrite(str(tmp_path / "rgb.png"), cv2.resize(picture, (640, 480)))
    warm = cv2.resize(picture, (320, 240)).astype(np.uint16) * 20
    cv2.imwrite(str(tmp_path / "thermal.png"), warm)
    out = tmp_path / "made" / "rig.yaml"
    images = [
        "--rgb-picture",
        str(tmp_path / "rgb.png"),
        "--thermal-picture",
        str(tmp_path / "thermal.png"),
    ]
    code = main(["calibrate", "points", "--points", *PAIRS, *SIZES, *images, "--out", str(out)])
    assert code == 0
    calibration = load_calibration(out)
    assert isinstance(calibration, Calibration)
    np.testing.assert_allclose(calibration.homography, np.diag([2.0, 2, 1]), atol=1e-6)
    assert (calibration.rgb_size, calibration.thermal_size) == ((480, 640), (240, 320))
    assert calibration.source in capsys.readouterr().out
    drawn = cv2.imread(str(out.with_suffix(".png")))
    assert drawn is not None
    assert drawn.shape == (480, 1280, 3)


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        (["--points", "1,1,2,2", "50,50,100,100", "90,90,180,180", "130,130,260,260"], "one line"),
        (["--points", *PAIRS, "--rgb-picture", "some.png"], "both --rgb-picture"),
        (
            ["--points", *PAIRS, "--rgb-picture", "none.png", "--thermal-picture", "none.png"],
            "none.png",
        ),
        (["--points", "no-such-file"], "cannot be read"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    extra: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rig.yaml"
    code = 2 if "both" in named else 1
    assert main(["calibrate", "points", *extra, *SIZES, "--out", str(out)]) == code
    error = capsys.readouterr().err
    assert named in error
    assert error.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize("size", ["640", "0x480", "axb", "640x99999999"])
def test_a_size_that_is_none_is_wrong_use(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["calibrate", "points", "--points", *PAIRS, *SIZES, "--rgb-size", size, "--out", "x"])
    assert caught.value.code == 2
    assert size in capsys.readouterr().err


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of the bare rig: two in a bag, and the first of them in a folder beside it."""
    folder = tmp_path_factory.mktemp("recorded")
    pairs = folder / "pairs"
    for side in ("visible", "infrared"):
        (pairs / side).mkdir(parents=True)
    for number in range(2):
        cv2.imwrite(str(pairs / "visible" / f"{number}.png"), street_rgb(2, number)[..., ::-1])
        cv2.imwrite(str(pairs / "infrared" / f"{number}.png"), street_thermal(2, number))
    assert main(["bag", "make", "--pairs", str(pairs), "--out", str(folder / "bag")]) == 0
    for side in ("visible", "infrared"):
        (pairs / side / "1.png").unlink()
    return folder


@pytest.mark.parametrize("kind", ["pairs", "bag"])
def test_recorded_pairs_become_a_calibration(
    kind: str, recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rig.yaml"
    hints = ["--rgb-hfov", "60", "--thermal-hfov", "68"]
    assert main(["calibrate", "auto", str(recorded / kind), *hints, "--out", str(out)]) == 0
    found = load_calibration(out)
    assert isinstance(found, Calibration)
    truth = Rig.default().thermal_to_rgb_homography(18.0)
    assert rms_between(truth, found.homography, found) < 2.5
    assert found.source in capsys.readouterr().out
    assert out.with_suffix(".png").is_file()


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten views of a warm board; in the fifth it moved before the thermal camera saw it."""
    folder = tmp_path_factory.mktemp("boards")
    for side in ("visible", "infrared"):
        (folder / side).mkdir()
    for number in range(10):
        view = board_view(number)
        rgb, thermal = view.rgb, view.thermal
        if number == 4:
            thermal = np.roll(thermal, 6, axis=1)
        cv2.imwrite(str(folder / "visible" / f"{number}.png"), rgb[..., ::-1])
        cv2.imwrite(str(folder / "infrared" / f"{number}.png"), thermal)
    return folder


BOARD = ["--pattern", "8x6", "--square", "0.05"]


def test_views_of_a_board_become_a_rig(
    boards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rig.yaml"
    depth = ["--depth-range", "5", "40"]
    assert main(["calibrate", "board", str(boards), *BOARD, *depth, "--out", str(out)]) == 0
    found = load_calibration(out)
    assert isinstance(found, RigCalibration)
    assert (found.nearest_m, found.furthest_m) == (5.0, 40.0)
    np.testing.assert_allclose(found.translation_m, Rig.default().thermal.position_m, atol=0.004)
    printed = capsys.readouterr().out
    assert printed.count("left out") == 1
    assert "view 5 of 10: left out" in printed
    assert found.source in printed
    assert "% of the RGB picture" in printed
    assert out.with_suffix(".png").is_file()


def test_one_view_of_a_board_becomes_a_homography(boards: Path, tmp_path: Path) -> None:
    out = tmp_path / "flat.yaml"
    code = main(
        ["calibrate", "board", str(boards), *BOARD, "--flat", "--limit", "1", "--out", str(out)]
    )
    assert code == 0
    assert isinstance(load_calibration(out), Calibration)


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ([*BOARD, "--limit", "3"], "--flat"),
        (["--pattern", "8x6", "--square", "50"], "50.0 m"),
        (["--pattern", "1x6", "--square", "0.05"], "1x6"),
        ([*BOARD, "--plane-distance", "0"], "depth is 0"),
    ],
)
def test_views_that_do_not_do_are_refused_in_one_line(
    extra: list[str], named: str, boards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rig.yaml"
    assert main(["calibrate", "board", str(boards), *extra, "--out", str(out)]) == 1
    error = capsys.readouterr().err
    assert named in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_a_board_counted_in_squares_is_not_taken_for_one_of_corners(
    boards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for side in ("visible", "infrared"):
        (tmp_path / side).mkdir()
        whole = cv2.imread(str(boards / side / "0.png"), cv2.IMREAD_UNCHANGED)
        # A wrong board is sought in every way there is; that takes long in large pictures.
        small = cv2.resize(whole, (400, 300), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(tmp_path / side / "0.png"), small)
    board = ["calibrate", "board", str(tmp_path), "--square", "0.05", "--flat"]
    out = ["--out", str(tmp_path / "rig.yaml")]
    assert main([*board, "--pattern", "9x7", *out]) == 1
    error = capsys.readouterr().err
    assert "no view shows the whole" in error
    assert error.count("\n") == 1
    assert main([*board, "--pattern", "8x6", *out]) == 0


def test_pictures_without_edges_leave_no_calibration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for side in ("visible", "infrared"):
        (tmp_path / side).mkdir()
        cv2.imwrite(str(tmp_path / side / "a.png"), np.full((120, 160), 90, np.uint8))
    out = tmp_path / "rig.yaml"
    hints = ["--rgb-hfov", "60", "--thermal-hfov", "60"]
    assert main(["calibrate", "auto", str(tmp_path), *hints, "--out", str(out)]) == 1
    error = capsys.readouterr().err
    assert "no edges" in error
    assert error.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("source", "extra", "named"),
    [("none", [], "none"), (".", ["--rgb-hfov", "60"], "both --rgb-hfov"), ("x.mcap", [], "exist")],
)
def test_what_is_no_source_is_said_in_one_line(
    source: str, extra: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["calibrate", "auto", str(tmp_path / source), *extra, "--out", "rig.yaml"])
    error = capsys.readouterr().err
    assert code == (2 if extra else 1)
    assert named in error
    assert error.count("\n") == 1
