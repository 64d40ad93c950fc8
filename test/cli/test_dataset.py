# SPDX-License-Identifier: Apache-2.0
"""`segmif dataset check`: what it prints, and one line where it cannot."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from dataset_layouts import SIZE, make_fmb, make_msrs, write

from segmif_ros.cli.main import main

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"


def test_a_sound_data_set_gives_0_and_a_sheet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made" / "sheet.png"
    code = main(["dataset", "check", str(make_fmb(tmp_path / "FMB")), "--write-sheet", str(out)])
    text = capsys.readouterr().out
    assert code == 0
    assert "fmb, 5 pairs\n" in text
    assert "splits     train 3, test 2" in text
    assert " 8  person" in text
    assert text.rstrip().endswith(f"contact sheet: {out}")
    assert "\nsound\n" in text
    assert cv2.imread(str(out)) is not None


def test_faults_give_3_and_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_fmb(tmp_path)
    (root / "train" / "Visible" / "00001.png").unlink()
    write(root / "test" / "Label" / "00004.png", np.full(SIZE, 77, np.uint8))
    (root / "test" / "Infrared" / "00005.png").write_text("no picture")
    assert main(["dataset", "check", str(root)]) == 3
    text = capsys.readouterr().out
    assert "unpaired: 1\n  train/00001: not in Visible\n" in text
    assert "unreadable: 1\n" in text
    assert "unknown ids: 1\n  77 in 1 pairs, first test/00004\n" in text
    assert text.rstrip().endswith("NOT sound: see above")


def test_json_holds_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_msrs(tmp_path)
    assert main(["dataset", "check", str(root), "--split", "train", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["sound"] is True
    assert (report["kind"], report["split"], report["pairs"]) == ("msrs", "train", 2)
    assert report["when"] == {"day": 1, "night": 1}
    assert report["alignment"]["limit_px"] == 2.0


@pytest.mark.parametrize("broken", ["missing", "file", "empty", "kind", "split", "junk"])
def test_what_is_no_data_set_is_reported_without_a_traceback(
    broken: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, extra = tmp_path / "set", []
    if broken == "file":
        path.write_bytes(bytes(range(256)))
    elif broken == "empty":
        path.mkdir()
    elif broken == "junk":
        make_fmb(path)
        for file in path.rglob("*.png"):
            file.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(200)))
        extra = ["--write-sheet", str(tmp_path / "sheet.png")]
    elif broken != "missing":
        make_fmb(path)
        extra = {"kind": ["--kind", "mfnet"], "split": ["--split", "val"]}[broken]
    assert main(["dataset", "check", str(path), *extra]) == 1
    error = capsys.readouterr().err
    assert "segmif dataset check: " in error
    assert "Traceback" not in error


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint32", "float64", "nan"])
def test_thermal_values_of_odd_types_are_listed(
    dtype: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ramp = np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE)
    for name in ("a", "b"):
        write(tmp_path / "visible" / f"{name}.png", np.full((*SIZE, 3), 90, np.uint8))
    write(tmp_path / "infrared" / "a.png", ramp)
    values = np.full(SIZE, np.nan, np.float32) if dtype == "nan" else np.ones(SIZE, dtype)
    try:
        write(tmp_path / "infrared" / "b.tiff", values)
    except cv2.error:
        pytest.skip(f"this OpenCV does not write {dtype}")
    assert main(["dataset", "check", str(tmp_path)]) == 3
    text = capsys.readouterr().out
    assert "unreadable: 1\n" in text
    assert "b.tiff: " in text


def test_float32_is_sound_and_rendered_as_the_node_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(2)
    write(tmp_path / "visible" / "a.png", rng.integers(0, 256, (*SIZE, 3), np.uint8))
    write(tmp_path / "infrared" / "a.tiff", rng.normal(20.0, 5.0, SIZE).astype(np.float32))
    assert main(["dataset", "check", str(tmp_path)]) == 0
    assert "\nsound\n" in capsys.readouterr().out
    assert main(["bag", "make", "--pairs", str(tmp_path), "--out", str(tmp_path / "bag")]) == 0
    assert main(["bag", "info", str(tmp_path / "bag")]) == 0
    assert "/thermal/image_raw" in capsys.readouterr().out
    assert main(["dataset", "check", str(tmp_path / "bag")]) == 0


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases (../shared/cases) are not there")
@pytest.mark.parametrize("name", ["int16_tiff", "float_all_nan"])
def test_pictures_that_ended_the_check_are_listed(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder,) = CASES.glob(f"25-*/{name}")
    assert main(["dataset", "check", str(folder)]) == 3
    text = capsys.readouterr().out
    assert "unreadable: 1\n" in text
    assert "FLIR 000" in text


def test_wrong_use_gives_2(tmp_path: Path) -> None:
    for wrong in ("--kind coco", "--limit 0", "--limit many", "--write-sheet sheet.txt"):
        with pytest.raises(SystemExit) as ended:
            main(["dataset", "check", str(tmp_path), *wrong.split()])
        assert ended.value.code == 2


def test_the_rig_is_checked_a_few_scenes_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataset", "check", "rig", "--split", "test", "--limit", "2"]) == 0
    text = capsys.readouterr().out
    assert "rig, test, 50000 pairs, 2 read" in text
    assert "sizes      640x480 2" in text
