# SPDX-License-Identifier: Apache-2.0
"""Scores a bundle on the 60 MSRS validation pairs: boxes, and fusion against SeAFusion.

    python benchmarks/score_pairs.py models/segmif-nano DATA/msrs --engine onnxruntime

Segmentation is scored three times with the same network: both cameras, visible blanked, thermal
blanked. Fusion metrics of `fused_seafusion/` are computed by the same code in the same run.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from segmif_ros.bundle import Bundle
from segmif_ros.engines import open_engine
from segmif_ros.engines.base import Engine
from segmif_ros.evaluation.fusion import fusion_scores
from segmif_ros.evaluation.segmentation import Box, BoxScores
from segmif_ros.frames import Image8

LABELS = {0: 8, 1: 13, 2: 9}
NAMES = {8: "person", 13: "bicycle", 9: "car"}
MODES = ("both", "visible only", "thermal only")


def read_boxes(path: Path, size: tuple[int, int]) -> list[Box]:
    """Normalised `class cx cy w h` lines to pixel boxes."""
    height, width = size
    boxes = []
    for line in path.read_text().splitlines():
        kind, cx, cy, w, h = (float(v) for v in line.split()[:5])
        boxes.append(
            Box(
                LABELS[int(kind)],
                max(0, round((cx - w / 2) * width)),
                max(0, round((cy - h / 2) * height)),
                round((cx + w / 2) * width),
                round((cy + h / 2) * height),
            )
        )
    return boxes


def luma(rgb: Image8) -> Image8:
    """HxWx3 to HxW, BT.601."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)


def read_rgb(path: Path) -> Image8:
    """Read a colour picture as RGB."""
    return np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), np.uint8)


def score(engine: Engine, root: Path) -> Mapping[str, object]:
    """Run every validation pair and return all scores."""
    boxes = {(mode, time): BoxScores() for mode in MODES for time in ("day", "night")}
    fusion: dict[str, list[Mapping[str, float]]] = {"ours": [], "SeAFusion": []}
    for name in (root / "val.txt").read_text().split():
        stem, time = Path(name).stem, "night" if Path(name).stem.endswith("N") else "day"
        rgb = read_rgb(root / "visible" / f"{stem}.jpg")
        thermal = cv2.imread(str(root / "infrared" / f"{stem}.png"), cv2.IMREAD_GRAYSCALE)
        truth = read_boxes(root / "boxes" / f"{stem}.txt", thermal.shape)
        inputs = {
            "both": (rgb, thermal),
            "visible only": (rgb, np.zeros_like(thermal)),
            "thermal only": (np.zeros_like(rgb), thermal),
        }
        for mode, pair in inputs.items():
            result = engine.infer(*pair)
            boxes[mode, time].add(truth, result.mask, list(NAMES))
            if mode == "both":
                fusion["ours"].append(fusion_scores(thermal, luma(rgb), luma(result.fused)))
        other = read_rgb(root / "fused_seafusion" / f"{stem}.png")
        fusion["SeAFusion"].append(fusion_scores(thermal, luma(rgb), luma(other)))
    return {
        "boxes": {
            f"{mode}, {time}": {
                NAMES[label]: {k: round(v, 3) for k, v in row.items()}
                for label, row in scores.summary().items()
            }
            for (mode, time), scores in boxes.items()
        },
        "fusion": {
            who: {key: round(float(np.mean([r[key] for r in rows])), 4) for key in rows[0]}
            for who, rows in fusion.items()
        },
    }


def main() -> None:
    """Parse arguments, score, print tables and, if asked, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("data", type=Path, help="folder of the MSRS pairs")
    parser.add_argument("--engine", default="onnxruntime")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    engine = open_engine(args.engine, Bundle.load(args.bundle))
    result = score(engine, args.data)
    for mode, rows in result["boxes"].items():
        cells = [f"{n} {r['hit']:.2f}/{r['inside']:.2f} ({r['boxes']})" for n, r in rows.items()]
        print(f"{mode:20s} hit/inside (boxes): {'  '.join(cells)}")
    for who, row in result["fusion"].items():
        print(f"{who:20s} " + "  ".join(f"{k} {v:.3f}" for k, v in row.items()))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
