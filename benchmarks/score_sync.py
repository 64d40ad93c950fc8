# SPDX-License-Identifier: Apache-2.0
"""Scores the clock offset of `segmif sync-check` on the virtual rig, where the truth is known.

    python benchmarks/score_sync.py --seeds 30 36

Every street is seen for ten seconds by day and by night, by a rig that stands and by one that is
tilted by hand, with thermal stamps that are right and that are 80 ms late.
"""

from __future__ import annotations

import argparse

import cv2
import numpy as np

from segmif_ros.frames import ThermalImage
from segmif_ros.rig.cameras.cameras import Rig
from segmif_ros.rig.draw.render import Renderer
from segmif_ros.rig.scene.planner import random_scene
from segmif_ros.sync.check import StreamLog, sync_report

SECONDS, RGB_HZ, THERMAL_HZ, PHASE_S = 10.0, 15.0, 9.0, 0.013
TILT = 0.01
"""Share of the picture."""


def tilt(image: ThermalImage, t: float, amount: float) -> ThermalImage:
    """Turn the rig a little: the same share of the picture in both cameras."""
    dx = np.sin(2.32 * t) + 0.6 * np.sin(5.72 * t + 1) + 0.4 * np.sin(14.5 * t + 2)
    dy = 0.7 * np.sin(3.33 * t + 0.5) + 0.5 * np.sin(10.7 * t)
    height, width = image.shape[:2]
    move = np.array([[1, 0, amount * dx * width], [0, 1, amount * dy * height]])
    return cv2.warpAffine(image, move, (width, height), borderMode=cv2.BORDER_REFLECT)


def main() -> None:
    """Print a line a case and the totals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", nargs=2, type=int, default=(30, 36), metavar=("FIRST", "END"))
    args = parser.parse_args()
    errors: dict[str, list[float | None]] = {"tilted": [], "standing": []}
    for seed in range(*args.seeds):
        for lighting in ("day", "night"):
            renderer = Renderer(random_scene(seed), Rig.default(), lighting)
            times = np.arange(0, SECONDS, 1 / RGB_HZ), np.arange(PHASE_S, SECONDS, 1 / THERMAL_HZ)
            images = (
                [renderer.visible(float(t))[0] for t in times[0]],
                [renderer.thermal(float(t))[0] for t in times[1]],
            )
            for kind, amount in (("tilted", TILT), ("standing", 0.0)):
                for late_s in (0.0, 0.08):
                    logs = StreamLog(), StreamLog()
                    for log, when, taken, late in zip(
                        logs, times, images, (0.0, late_s), strict=True
                    ):
                        for t, image in zip(when, taken, strict=True):
                            stamp = 1 + round((t + late) * 1e9)
                            log.add(stamp, stamp, tilt(image, float(t), amount))
                    clocks = sync_report(*logs).clocks
                    error = None if clocks.offset_ms is None else clocks.offset_ms - late_s * 1e3
                    errors[kind].append(error)
                    told = clocks.reason if error is None else f"error {error:+.1f} ms"
                    print(f"seed {seed} {lighting} {kind} {late_s * 1e3:.0f} ms: {told}")
    for kind, values in errors.items():
        known = [abs(value) for value in values if value is not None]
        worst = f", worst error {max(known):.1f} ms" if known else ""
        print(f"{kind}: {len(known)} of {len(values)} answered{worst}")


if __name__ == "__main__":
    main()
