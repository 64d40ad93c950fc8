# SPDX-License-Identifier: Apache-2.0
"""Scores a bundle on scenes of the virtual rig that training never draws from.

    python benchmarks/score_rig.py models/segmif-nano --scenes 60

Prints mIoU over the classes present with both cameras and with either one blanked.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from segmif_ros.bundle import Bundle
from segmif_ros.engines import open_engine
from segmif_ros.evaluation.segmentation import Confusion
from segmif_ros.rig.sampling import training_frame
from segmif_ros.thermal import ThermalNormaliser


def main() -> None:
    """Parse arguments, score, print a table and, if asked, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--scenes", type=int, default=60, help="seeds 0 to N-1")
    parser.add_argument("--engine", default="onnxruntime")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    bundle = Bundle.load(args.bundle)
    engine = open_engine(args.engine, bundle)
    names = [label.name for label in bundle.manifest.classes]
    modes = {m: Confusion(len(names)) for m in ("both", "visible only", "thermal only")}
    for seed in range(args.scenes):
        frame = training_frame(seed)
        thermal = ThermalNormaliser().normalise(frame.thermal)
        inputs = {
            "both": (frame.rgb, thermal),
            "visible only": (frame.rgb, np.zeros_like(thermal)),
            "thermal only": (np.zeros_like(frame.rgb), thermal),
        }
        for mode, pair in inputs.items():
            modes[mode].add(frame.labels, engine.infer(*pair).mask)
    rows = {
        mode: {
            "mIoU": round(confusion.mean_iou(), 4),
            "accuracy": round(confusion.accuracy(), 4),
            "IoU": {n: round(float(v), 3) for n, v in zip(names, confusion.iou(), strict=True)},
        }
        for mode, confusion in modes.items()
    }
    for mode, row in rows.items():
        print(f"{mode:13s} mIoU {row['mIoU']:.3f}  pixel accuracy {row['accuracy']:.3f}")
        print("  " + "  ".join(f"{n} {v}" for n, v in row["IoU"].items() if np.isfinite(v)))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
