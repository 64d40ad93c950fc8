# SPDX-License-Identifier: Apache-2.0
"""`segmif quantise`: what it writes, and what it refuses."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from nano_bundle import write_nano_bundle, write_pairs

from segmif_ros.bundle import Bundle
from segmif_ros.cli.main import main
from segmif_ros.cli.quantise import precisions


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    write_pairs(tmp_path / "pairs", 3)
    return tmp_path / "pairs"


@pytest.mark.usefixtures("compiler")
def test_both_precisions_go_into_a_new_bundle(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_nano_bundle(tmp_path / "bundle")
    out = tmp_path / "out"
    (tmp_path / "names.txt").write_text("pair2\npair0\n")
    command = ["quantise", str(bundle.path), "--write-precision", "fp16,int8", "--out", str(out)]
    command += ["--pairs", str(pairs), "--names", str(tmp_path / "names.txt"), "--for", "cpu"]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    compiled = [line for line in lines if "compiles it" in line]  # where TensorRT can be asked
    assert [line.partition(":")[0] for line in compiled] in ([], ["model_fp16.onnx"])
    said = [line for line in lines if line not in compiled]
    assert [line.partition(":")[0] for line in said] == [
        str(out / "model_fp16.onnx"),
        str(out / "model_int8.onnx"),
    ]
    assert all("gate passed: fused " in line for line in said)
    made = Bundle.load(out).manifest.files["int8"].made
    assert (made["from"], made["for"]) == ("pairs", "cpu")
    assert made["pairs"] == 2 + 2  # and one with either camera blank
    assert Bundle.load(bundle.path).precisions == ("fp32",)
    assert main(["info", str(out)]) == 0
    text = capsys.readouterr().out
    assert "also in int8: model_int8.onnx" in text
    assert "for cpu" in text


def test_an_output_that_is_there_is_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_nano_bundle(tmp_path / "bundle")
    assert main(["quantise", str(bundle.path), "--out", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--pairs", "/nowhere"], "is not a folder"),
    ],
)
def test_what_cannot_be_calibrated_on_is_one_line(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_nano_bundle(tmp_path / "bundle")
    assert main(["quantise", str(bundle.path), *options]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("segmif quantise: ")
    assert error.count("\n") == 1


def test_what_is_no_bundle_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quantise", str(tmp_path)]) == 1
    assert "no manifest.json" in capsys.readouterr().err


def test_a_copy_to_which_nothing_was_added_is_not_left_in_the_way(tmp_path: Path) -> None:
    bundle, out = write_nano_bundle(tmp_path / "bundle"), tmp_path / "out"
    command = ["quantise", str(bundle.path), "--out", str(out)]
    assert main([*command, "--pairs", "/nowhere"]) == 1
    assert not out.exists()
    assert main([*command, "--write-precision", "fp16,int8", "--pairs", "/nowhere"]) == 1
    assert Bundle.load(out).precisions == ("fp32", "fp16")
    assert Bundle.load(bundle.path).precisions == ("fp32",)


@pytest.mark.parametrize("text", ["", "fp8", "int8,int8", "fp16 int8"])
def test_precisions_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected some of fp32, fp16, int8"):
        precisions(text)
