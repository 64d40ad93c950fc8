# SPDX-License-Identifier: Apache-2.0
"""CPU time of every metric on one 480x640 pair, single-threaded; the lowest of some repeats.

    python benchmarks/metric_times.py

"made once" is shared by the metrics below it: histograms, gradients, local means and variances.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from segmif_ros.datasets.classes import load_classes
from segmif_ros.datasets.protocol import load_protocol
from segmif_ros.datasets.rig import rig_pairs
from segmif_ros.frames import Image8
from segmif_ros.metrics import fusion
from segmif_ros.metrics.boxes import Box, BoxScores
from segmif_ros.metrics.flicker import Flicker
from segmif_ros.metrics.segmentation import Confusion, SegmentationScores

Steps = list[tuple[str, Callable[[], Any]]]


def fusion_steps(thermal: Image8, visible: Image8, fused: Image8) -> Steps:
    """Return what is timed; on fresh planes, so that what is shared is made in its own step."""
    t, v, f = planes = [fusion.Plane(image) for image in (thermal, visible, fused)]
    tf, vf, tv = pairs = [fusion.Pair(t, f), fusion.Pair(v, f), fusion.Pair(t, v)]
    rows = {"fused": fused}
    return [
        ("histograms, made once", lambda: [[p.greys for p in planes], [p.joint for p in pairs]]),
        ("EN", lambda: fusion.entropy(f)),
        ("SD", lambda: fusion.standard_deviation(f)),
        ("MI", lambda: [fusion.mutual_information(p) for p in (tf, vf)]),
        ("SCD", lambda: fusion.sum_of_correlations(tf, vf, tv)),
        ("SF", lambda: fusion.spatial_frequency(f)),
        ("AG", lambda: fusion.average_gradient(f)),
        ("gradients, made once", lambda: [p.edges for p in planes]),
        ("Qabf", lambda: fusion.gradient_preservation(t, v, f)),
        ("SSIM windows, made once", lambda: [p.window for p in planes]),
        ("SSIM", lambda: [fusion.structural_similarity(p) for p in (tf, vf)]),
        ("VIF scales, made once", lambda: [p.scales for p in planes]),
        ("VIF", lambda: [fusion.visual_information_fidelity(p) for p in (tf, vf)]),
        ("all, fused image only", lambda: fusion.fusion_scores(thermal, visible, fused)),
        ("all, with both inputs", lambda: fusion.fusion_rows(thermal, visible, rows)),
    ]


def other_steps(rgb: Image8, labels: Image8) -> Steps:
    """Return what is timed of masks and video."""
    scores = SegmentationScores(load_classes("fmb15"), load_protocol("fmb14"))
    boxes = [Box(8, 100, 100, 150, 200), Box(9, 300, 200, 420, 280)]
    return [
        ("confusion", lambda: Confusion(15).add(labels, labels)),
        ("confusion and boundary IoU", lambda: scores.add(labels, labels)),
        ("boxes of 3 classes", lambda: BoxScores().add(boxes, labels, (8, 9, 13))),
        ("flicker", lambda: Flicker().add(rgb)),
    ]


def times(repeats: int) -> dict[str, float]:
    """Return the milliseconds of every step."""
    sample = rig_pairs([0])[0]()
    assert sample.labels is not None
    visible = np.asarray(cv2.cvtColor(sample.rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    fused = np.asarray(cv2.max(sample.thermal, visible), np.uint8)
    least: dict[str, float] = {}
    for _ in range(repeats):
        steps = fusion_steps(sample.thermal, visible, fused)
        for name, step in steps + other_steps(sample.rgb, sample.labels):
            begun = time.process_time()
            step()
            least[name] = min(least.get(name, np.inf), 1e3 * (time.process_time() - begun))
    return least


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    for name, value in times(args.repeats).items():
        print(f"{name:28s}{value:8.2f} ms")


if __name__ == "__main__":
    main()
