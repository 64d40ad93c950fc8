# SPDX-License-Identifier: Apache-2.0
"""`segmif export`: what it refuses; test/deploy/test_export.py proves what it writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from segmif_ros.cli.export import main
from segmif_ros.network.variants import build


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
        (foreign_file, "cannot be read (KeyError)"),
        (other_classes, "does not fit variant 'nano'"),
        (no_weights, "does not fit variant 'nano'"),
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
