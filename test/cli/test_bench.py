# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_model import write_tiny_bundle

from segmif_ros.cli.main import main


def test_engines_are_timed_in_turn_and_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, out = write_tiny_bundle(tmp_path, (64, 96)), tmp_path / "figures.json"
    words = ["--engine", "onnxruntime", "--engine", "null", "--rounds", "6", "--threads", "1"]
    assert main(["bench", str(bundle), *words, "--out", str(out)]) == 0
    one, other = json.loads(out.read_text())["engines"]
    assert (one["engine"], one["fused_difference"], one["mask_agreement"]) == (
        "onnxruntime",
        0,
        1.0,
    )
    assert one["p5_ms"] <= one["p50_ms"] <= one["p95_ms"]
    assert other["engine"] == "null"
    assert other["mask_agreement"] < 1.0
    assert "| onnxruntime, " in capsys.readouterr().out


def test_what_cannot_be_timed_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = write_tiny_bundle(tmp_path, (64, 96))
    assert main(["bench", str(bundle), "--engine", "tensorrt", "--rounds", "1"]) == 1
    assert "tensorrt is left out: " in capsys.readouterr().err
    assert main(["bench", str(tmp_path / "none")]) == 1
    assert main(["bench", "node", "--seconds", "2"]) == 2
    assert "python -m benchmarks.dds" in capsys.readouterr().err
    with pytest.raises(SystemExit) as wrong:
        main(["bench", str(bundle), "--rounds", "0"])
    assert wrong.value.code == 2
