# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np

from segmif_ros.datasets.protocol import load_protocol
from segmif_ros.metrics.boxes import Box, BoxScores
from segmif_ros.metrics.fusion import METRICS
from segmif_ros.metrics.segmentation import SegmentationScores
from segmif_ros.metrics.tally import by_split
from segmif_ros.report.score_tables import (
    box_lines,
    fusion_lines,
    segmentation_lines,
    verdict_lines,
)


def test_masks_have_a_line_for_every_row_and_split() -> None:
    protocol = load_protocol("fmb14")
    scores = SegmentationScores(protocol.classes, protocol)
    mask = np.full((64, 64), 8, np.uint8)
    scores.add(mask, mask, "fused", "night")
    scores.add(mask, np.ones_like(mask), "visible")
    lines = segmentation_lines({"protocols": {"fmb14": {}}, "rows": scores.summary()})
    assert [line.split()[:2] for line in lines[1:5]] == [
        ["mIoU", "fmb14"],
        ["visible", "0.000"],
        ["fused", "1.000"],
        ["night", "1.000"],
    ]
    assert lines[5] == "IoU of classes (fmb14): person 1.00"
    assert segmentation_lines(None) == []


def test_long_names_of_protocols_stay_apart() -> None:
    protocols = [load_protocol(name) for name in ("mfnet8", "mfnet8-objects")]
    scores = SegmentationScores(protocols[0].classes, *protocols)
    scores.add(np.ones((64, 64), np.uint8), np.ones((64, 64), np.uint8))
    names = {protocol.name: {} for protocol in protocols}
    head, row = segmentation_lines({"protocols": names, "rows": scores.summary()})[1:3]
    assert head.split()[1:3] == ["mfnet8", "mfnet8-objects"]
    assert row.split()[1:3] == ["1.000", "1.000"]
    assert row.index("1.000", head.index("mfnet8-")) < head.index("objects") + 7


def test_boxes_go_by_name_where_it_is_known() -> None:
    scores = BoxScores()
    mask = np.full((64, 64), 8, np.uint8)
    scores.add([Box(8, 0, 0, 9, 9)], mask, [8, 9])
    (head, line) = box_lines(scores.summary(), [{"id": 8, "name": "person"}])[1:]
    shares = ["boxes", "class", "boxes", "recall", "precision"]
    assert head.split() == [*shares, "AP@.5", "obj.", "recall", "obj.", "prec."]
    assert line.split() == ["fused", "person", "1", "1.000", "0.020", "-", "-", "-"]
    figures = {"boxes": 4, "box_recall": 0.5, "box_precision": 1.0, "average_precision": 0.25}
    figures |= {"object_recall": 0.5, "object_precision": 0.75}
    (line,) = box_lines({"fused": {"all": {"8": figures}}}, [])[2:]
    assert line.split()[2:] == ["4", "0.500", "1.000", "0.250", "0.500", "0.750"]
    assert box_lines(scores.summary(), [])[-1].split()[:2] == ["fused", "8"]
    assert box_lines(None, []) == []


def test_another_method_is_compared_metric_by_metric() -> None:
    def row(value: float) -> dict[str, float]:
        return {**dict.fromkeys(METRICS, value), "frames": 3}

    fused = {**row(1.0), "MI": 2.0, "VIF": 3.0}
    rows = {"visible": row(0), "thermal": row(0), "fused": fused, "net": {**row(2.0), "EN": 1.0}}
    lines = fusion_lines({"all": rows, "every": 5})
    assert lines[-2] == "on 3 pairs, every 5."
    assert lines[-1] == "fused is at or above net in 3 of 9: EN, MI, VIF"
    assert len(lines) == 2 + 4 + 2
    assert fusion_lines({"all": {}, "every": 1}) == []


def test_thresholds_say_what_was_missed() -> None:
    checks = [
        {"name": "miou", "limit": ">= 0.5", "value": 0.25, "passed": False},
        {"name": "SSIM", "limit": ">= 0.5", "value": None, "passed": False},
    ]
    lines = verdict_lines({"passed": False, "checks": checks})
    assert lines[1:] == [
        "MISSED  miou >= 0.5, is 0.250",
        "MISSED  SSIM >= 0.5, is -",
        "verdict: failed",
    ]
    assert verdict_lines({"passed": None, "checks": []}) == []


def test_a_table_turned_keeps_all_first() -> None:
    table = {"fused": {"all": 1, "night": 2}, "visible": {"all": 3}}
    assert by_split(table) == {"all": {"fused": 1, "visible": 3}, "night": {"fused": 2}}
    assert by_split({}) == {"all": {}}
