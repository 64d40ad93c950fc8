# SPDX-License-Identifier: Apache-2.0
"""`segmif export`: what it refuses; test/export/test_export.py proves what it writes."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from verb import verb

from segmif_ros.bundle import Bundle
from segmif_ros.engines import open_engine
from segmif_ros.engines.reference import reference_pairs
from segmif_ros.network.variants import build

main = verb("export")


def text_file(path: Path) -> None:
    path.write_text("hello\n")


def foreign_file(path: Path) -> None:
    torch.save({"weights": {}}, path)


def other_classes(path: Path) -> None:
    torch.save({"average": build("nano", 3).state_dict()}, path)


def no_weights(path: Path) -> None:
    torch.save({"average": 7}, path)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (text_file, "cannot be read"),
        (foreign_file, "has no averaged weights"),
        (other_classes, "does not fit variant 'nano'"),
        (no_weights, "expected a state dict"),
    ],
)
def test_a_checkpoint_that_cannot_be_used_is_one_line(write, words, tmp_path, capsys):
    checkpoint = tmp_path / "checkpoint.pt"
    write(checkpoint)
    out = tmp_path / "bundle"
    assert main(["--checkpoint", str(checkpoint), "--variant", "nano", "--out", str(out)]) == 1
    error = capsys.readouterr().err
    assert str(checkpoint) in error
    assert words in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_a_checkpoint_that_is_missing_is_named(tmp_path, capsys):
    checkpoint = tmp_path / "none.pt"
    command = ["--checkpoint", str(checkpoint), "--variant", "nano", "--out", str(tmp_path / "o")]
    assert main(command) == 1
    assert str(checkpoint) in capsys.readouterr().err


@pytest.mark.usefixtures("compiler")
def test_a_class_with_a_bias_is_found_everywhere(tmp_path, capsys, monkeypatch):
    out = tmp_path / "bundle"
    command = ["--random", "0", "--variant", "nano", "--size", "64x64", "--out", str(out)]
    assert main([*command, "--class-bias", "car=50", "--write-precision", "fp32,fp16"]) == 0
    bundle = Bundle.load(out)
    assert bundle.precisions == ("fp32", "fp16")
    if find_spec("tensorrt_rtx"):
        said = [line for line in capsys.readouterr().out.splitlines() if "compiles it" in line]
        assert [line.split(":")[0] for line in said] == ["model.onnx", "model_fp16.onnx"]
    assert bundle.manifest.provenance["class_bias"] == {"car": 50.0}
    grey = np.full((64, 64), 90, np.uint8)
    mask = open_engine("onnxruntime", bundle).infer(np.dstack([grey] * 3), grey).mask
    assert (mask == 9).all()
    pictures = {path.name: path.stat().st_size for path in (out / "reference").iterdir()}
    assert set(pictures) == set(bundle.manifest.reference)
    assert sum(pictures.values()) < 400_000
    pairs = reference_pairs(bundle)
    assert [pair.name for pair in pairs[:2]] == ["day_11", "day_12"]
    assert pairs[0].rgb.shape == (64, 64, 3)

    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)  # that it compiles was said above
    (out / "notes.txt").write_text("mine")
    assert main(command) == 2
    assert Bundle.load(out).precisions == ("fp32", "fp16")
    assert main([*command, "--force"]) == 0
    assert Bundle.load(out).precisions == ("fp32",)
    names = {path.name for path in out.iterdir()}
    assert names == {"manifest.json", "model.onnx", "reference", "notes.txt"}


def test_int8_without_its_pairs_is_refused_and_the_rest_stays(tmp_path, capsys):
    out = tmp_path / "bundle"
    command = ["--random", "0", "--variant", "nano", "--size", "64x64", "--out", str(out)]
    assert main([*command, "--write-precision", "int8", "--pairs", str(tmp_path / "none")]) == 1
    assert "none" in capsys.readouterr().err
    assert Bundle.load(out).precisions == ("fp32",)


@pytest.mark.parametrize("text", ["car", "car=", "=1", "car=nan", "car=much"])
def test_a_bias_that_is_no_number_is_refused(text, capsys):
    with pytest.raises(SystemExit):
        main(["--random", "0", "--out", "x", "--class-bias", text])
    assert "expected CLASS=LOGIT" in capsys.readouterr().err


def test_a_bias_for_no_class_is_refused(tmp_path, capsys):
    command = ["--random", "0", "--variant", "nano", "--out", str(tmp_path / "x")]
    assert main([*command, "--class-bias", "cow=1"]) == 1
    assert "'cow' is no class" in capsys.readouterr().err
