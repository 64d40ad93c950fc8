# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.network` at a size where every runtime takes a fraction of a second."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from released_checkpoint import network, states

from benchmarks.network.__main__ import _pairs, main, table
from benchmarks.network.measure import BenchmarkError, Measurement, measure


@pytest.fixture(autouse=True, scope="module")
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_runtimes_agree_and_their_figures_are_theirs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures.json"
    arguments = [
        "--variant",
        "b1",
        "--size",
        "64x64",
        "--threads",
        "1",
        "--repeats",
        "1",
        "--count",
        "2",
    ]
    runtimes = ["--runtime", "rewritten", "--runtime", "openvino"]
    assert main([*arguments, *runtimes, "--json", str(out)]) == 0
    text = capsys.readouterr().out
    assert "b1, 64x64, 1 threads, 2 pairs" in text
    report = json.loads(out.read_text())
    assert [m["runtime"] for m in report["runtimes"]] == ["pytorch", "rewritten", "openvino"]
    plain, rewritten, openvino = report["runtimes"]
    assert (plain["luma_difference"], plain["mask_agreement"]) == (0.0, 1.0)
    assert 0.0 < rewritten["luma_difference"] < 1e-4
    assert openvino["luma_difference"] < 1e-3
    assert min(m["mask_agreement"] for m in report["runtimes"]) > 0.999
    # A process without PyTorch in it is the smaller one; a figure inherited from the parent is not.
    assert openvino["peak_mb"] < plain["peak_mb"]
    assert all(m["runs"] == 3 for m in report["runtimes"])


def test_a_runtime_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"pytorch failed: .*plan\.json"):
        measure(tmp_path, ["pytorch"])


def test_half_a_checkpoint_or_another_one_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--size", "64x64"]
    for name, state in zip(("fusion", "segmentation"), states(network("b0")), strict=True):
        path = tmp_path / f"{name}.pth"
        torch.save(state, path)
        arguments += [f"--{name}", str(path)]
    assert main(arguments[:-2]) == 1
    assert "belong together" in capsys.readouterr().err
    assert main(arguments) == 1
    assert "has MiT-B0, --variant is 'paper-b3'" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--threads", "--repeats", "--classes", "--count"])
def test_nothing_is_measured_with_none_of_it(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([option, "0"])
    assert "'0', expected a whole number of at least 1" in capsys.readouterr().err


def test_pairs_are_spread_over_a_folder_and_scaled(tmp_path: Path) -> None:
    for folder in ("visible", "infrared"):
        (tmp_path / folder).mkdir()
        for i in range(6):
            image = np.full((40, 50, 3), 10 * i, np.uint8)
            cv2.imwrite(str(tmp_path / folder / f"{i}.png"), image)
    cv2.imwrite(str(tmp_path / "visible" / "9.png"), image)
    pairs = _pairs(tmp_path, (64, 96), 3)
    assert [int(thermal[0, 0]) for _, thermal in pairs] == [0, 20, 40]
    assert all(rgb.shape == (64, 96, 3) and heat.shape == (64, 96) for rgb, heat in pairs)
    with pytest.raises(ValueError, match="visible/infrared is not a folder"):
        _pairs(tmp_path / "visible", (64, 96), 3)


def test_factors_are_over_plain_pytorch() -> None:
    plain = Measurement("pytorch", 1000.0, 1900.0, 3, 2000.0, 0.0, float("inf"), 1.0)
    fast = Measurement("openvino", 250.0, 480.0, 9, 900.0, 2e-4, 90.0, 0.9999)
    assert "| OpenVINO, fp32 | 250 | 480 | 9 | 4.0x | 900 | 2.0e-04 | 90.0 | 99.990% |" in table(
        [plain, fast]
    )
