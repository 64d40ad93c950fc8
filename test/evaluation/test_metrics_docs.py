# SPDX-License-Identifier: Apache-2.0
"""docs/metrics.md defines every score that scores.json holds."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from segmif_ros.cli.main import main
from segmif_ros.datasets.protocol import load_protocol
from segmif_ros.metrics.boxes import BOX_HIT, Box, BoxScores
from segmif_ros.metrics.flicker import BLOCK
from segmif_ros.metrics.fusion import METRICS
from segmif_ros.metrics.objects import ObjectScores
from segmif_ros.metrics.segmentation import DILATION, SegmentationScores, boundary_distance

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")


def defined() -> set[str]:
    """Names in the first column of the tables."""
    cells = re.findall(r"^\| (`[^|]*) \|", TEXT, re.M)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_every_score_has_a_definition() -> None:
    mask, protocol = np.ones((64, 64), np.uint8), load_protocol("fmb14")
    masks = SegmentationScores(protocol.classes, protocol)
    masks.add(mask, mask)
    boxes = BoxScores()
    boxes.add([Box(1, 0, 0, 9, 9)], mask, [1])
    objects = ObjectScores()
    objects.add([Box(1, 0, 0, 9, 9)], [])
    found = [each.summary()["fused"]["all"] for each in (masks, boxes, objects)]
    names = {*found[0], *found[1][1], *found[2][1], *METRICS}
    assert names <= defined(), names - defined()


def test_constants_are_those_of_the_code() -> None:
    assert f"d = {DILATION:.0%} of the image diagonal".replace("%", " %") in TEXT
    assert f"{boundary_distance((480, 640))} pixels at 480x640" in TEXT
    assert f"whose class covers {BOX_HIT:.0%} of their area".replace("%", " %") in TEXT
    assert f"blocks\nof {BLOCK}x{BLOCK} pixels" in TEXT


def test_every_option_in_the_commands_exists(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    told = capsys.readouterr().out
    commands = re.findall(r"^(segmif evaluate --dataset(?:.*\\\n)*.*)$", TEXT, re.M)
    assert len(commands) >= 4
    for option in {word for command in commands for word in re.findall(r"--[\w-]+", command)}:
        assert option in told, option
