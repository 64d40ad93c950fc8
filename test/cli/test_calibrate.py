# SPDX-License-Identifier: Apache-2.0
"""`segmif calibrate`: what it writes, and one line where it cannot."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from segmif_ros.cli.main import main
from segmif_ros.registration import Calibration

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
    images = ["--rgb", str(tmp_path / "rgb.png"), "--thermal", str(tmp_path / "thermal.png")]
    code = main(["calibrate", "points", "--pairs", *PAIRS, *SIZES, *images, "--out", str(out)])
    assert code == 0
    calibration = Calibration.load(out)
    np.testing.assert_allclose(calibration.homography, np.diag([2.0, 2, 1]), atol=1e-6)
    assert (calibration.rgb_size, calibration.thermal_size) == ((480, 640), (240, 320))
    assert calibration.source in capsys.readouterr().out
    drawn = cv2.imread(str(out.with_suffix(".png")))
    assert drawn is not None
    assert drawn.shape == (480, 1280, 3)


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        (["--pairs", "1,1,2,2", "50,50,100,100", "90,90,180,180", "130,130,260,260"], "one line"),
        (["--pairs", *PAIRS, "--rgb", "some.png"], "both --rgb and --thermal"),
        (["--pairs", *PAIRS, "--rgb", "none.png", "--thermal", "none.png"], "none.png"),
        (["--pairs", "no-such-file"], "cannot be read"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    extra: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rig.yaml"
    assert main(["calibrate", "points", *extra, *SIZES, "--out", str(out)]) == 1
    error = capsys.readouterr().err
    assert named in error
    assert error.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize("size", ["640", "0x480", "axb", "640x99999999"])
def test_a_size_that_is_none_is_wrong_use(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["calibrate", "points", "--pairs", *PAIRS, *SIZES, "--rgb-size", size, "--out", "x"])
    assert caught.value.code == 2
    assert size in capsys.readouterr().err
