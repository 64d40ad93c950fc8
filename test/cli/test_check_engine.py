# SPDX-License-Identifier: Apache-2.0
"""`segmif check-engine` says whether an engine may be used, to people and to programs."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from segmif_ros.cli.main import main
from segmif_ros.engines.gate import GateResult


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> str:
    """The tiny bundle with one pair of its own: the rig would take seconds."""
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    (folder / "reference").mkdir()
    ramp = np.tile(np.linspace(0, 255, 640).astype(np.uint8), (480, 1))
    cv2.imwrite(str(folder / "reference" / "ramp_rgb.png"), np.dstack([ramp] * 3))
    cv2.imwrite(str(folder / "reference" / "ramp_thermal.png"), ramp)
    return str(folder)


def test_a_good_engine_passes(bundle: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-engine", bundle, "--engine", "openvino", "--threads", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("engine: openvino ")
    assert lines[1].startswith("reference: onnxruntime ")
    assert any(line.split()[:2] == ["ramp", "same"] for line in lines)
    assert any(line.startswith("classes (at least 85% required): road 100.0%") for line in lines)
    assert lines[-1] == "passed"


def test_a_bad_engine_fails_with_reasons(bundle: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-engine", bundle, "--engine", "null"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("reason: mask ids [255] are no class") for line in lines)
    assert lines[-1] == "failed"


def test_json_holds_the_whole_result(bundle: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-engine", bundle, "--engine", "onnxruntime", "--json"]) == 0
    result = GateResult.from_json(capsys.readouterr().out)
    assert result.passed
    assert [row.name for row in result.pairs] == ["ramp", "ramp, thermal only"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--precision", "int8", "--engine", "openvino"], "no 'int8' model, only fp32"),
        (["--engine", "onnxruntime-cuda"], "engine 'onnxruntime-cuda' needs"),
    ],
)
def test_what_cannot_run_is_one_line(
    options: list[str], said: str, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-engine", bundle, *options]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--precision", "fp99"], "choose from"), (["--threads", "-3"], "--threads: '-3', expected")],
)
def test_options_that_are_none_are_refused(
    options: list[str], said: str, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["check-engine", bundle, "--engine", "onnxruntime", *options])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_what_is_no_bundle_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-engine", str(tmp_path)]) == 1
    assert "no manifest.json" in capsys.readouterr().err
