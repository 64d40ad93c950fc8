# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_model import fmb_classes

from segmif_ros.cli.main import main
from segmif_ros.export.export import write_bundle
from segmif_ros.network.segmif import Switches
from segmif_ros.network.variants import build


def test_a_bundle_reports_what_it_is_and_costs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    network = build("nano", 15).eval()
    bundle = write_bundle(
        network,
        tmp_path,
        name="segmif-test",
        variant="nano",
        size=(64, 96),
        classes=fmb_classes(),
        switches=Switches().to_manifest(),
        provenance={"seed": 7},
        licence="Apache-2.0",
    )
    assert main(["info", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    for line in (
        "name: segmif-test",
        "size: 96x64 (width x height)",
        f"sha256: {bundle.manifest.sha256}",
        "switch guidance: saliency",
        "switch min_max_stretch: False",
        "provenance seed: 7",
        "licence: Apache-2.0",
    ):
        assert line in text.splitlines()
    assert "14 pole" in text
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line[:1].isalpha()}
    parameters = int(rows["total"][1].replace(",", ""))
    # BatchNorm is folded into the convolutions; pixels are folded by moving, which has no kernels.
    expected = sum(p.numel() for p in network.parameters())
    assert 0.99 * expected < parameters < expected
    assert float(rows["encoder"][2]) > 0.0


def test_what_is_no_bundle_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(tmp_path / "nothing")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_name_of_a_model_that_ships_is_enough(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "segmif-nano"]) == 0
    assert "name: segmif-nano" in capsys.readouterr().out.splitlines()


def test_info_as_json_has_the_same_facts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "segmif-nano", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["name"] == "segmif-nano"
    assert found["parts"][-1]["parameters"] > 1_000_000
