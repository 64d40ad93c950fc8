# SPDX-License-Identifier: Apache-2.0
"""benchmarks/camera_shapes.py: its tables hold the figures that are counted."""

from __future__ import annotations

import importlib

import numpy as np

from segmif_ros.metrics.boxes import Box, BoxScores


def test_a_row_reports_hits_and_pixels_by_light_and_class() -> None:
    script = importlib.import_module("benchmarks.camera_shapes")
    mask = np.zeros((48, 64), np.uint8)
    mask[:10, :10] = 8
    scores = BoxScores()
    boxes = [Box(8, 0, 0, 10, 5), Box(8, 40, 40, 44, 44)]
    scores.add(boxes, mask, [*script.CLASSES.values()], "stretched", "night")
    assert script.figures(scores, "stretched") == ["50/50 of 2", *["-"] * 5]
