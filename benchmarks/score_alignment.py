# SPDX-License-Identifier: Apache-2.0
"""Scores the alignment watch: warnings after a blow of known size, and without one.

    python benchmarks/score_alignment.py rig --seeds 60 70
    python benchmarks/score_alignment.py pictures FOLDER ...
    python benchmarks/score_alignment.py one-by-one FOLDER

`rig` shows every street by day and by night, 4 s apart: pairs of a rig as it was calibrated, then
of one whose thermal camera was turned. `pictures` does the same with folders that hold registered
pairs in `visible/` and `infrared/`, in the order of their names, and shifts thermal for the blow.
`one-by-one` shows each pair alone, again and again, as a vehicle that stands sees it.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from segmif_ros.calibration.alignment_watch import (
    CONFIRMED_IN_ONE_SCENE_AFTER,
    WINDOW,
    Alignment,
    AlignmentState,
    AlignmentWatch,
)
from segmif_ros.frames import Image8
from segmif_ros.registration import Calibration, Registration
from segmif_ros.rig.cameras.cameras import Rig
from segmif_ros.rig.draw.render import Renderer
from segmif_ros.rig.scene.planner import random_scene
from segmif_ros.thermal import ThermalNormaliser

PLANE_M, STEP_S = 18.0, 4.0
BEFORE, AFTER, LONG = 6, 10, 16
"""Pairs before and after a blow; pairs of a rig that was bumped before the start."""
BLOWS = ((8.0, 0.0, 0.0), (-8.0, 0.0, 0.0), (0.0, 8.0, 0.0), (0.0, -8.0, 0.0), (0.0, 0.0, 2.0))
"""Pixels to the right and down in the middle of a picture 640 wide, and degrees of roll."""
SIZE = (480, 640)
Pair = tuple[Image8, Image8]
Blow = tuple[float, float, float]


@dataclass
class Tally:
    """What became of several sequences."""

    runs: int = 0
    warned: int = 0
    within: int = 0
    errors: list[float] | None = None
    pairs: list[int] | None = None

    def add(self, after: Sequence[Alignment], blow: Blow) -> None:
        """Take note of what was said after a blow."""
        self.errors, self.pairs = self.errors or [], self.pairs or []
        self.runs += 1
        moved = [i for i, each in enumerate(after) if each.state is AlignmentState.MOVED]
        if not moved:
            return
        told = after[-1].last_confirmed
        assert told is not None
        self.warned += 1
        self.pairs.append(moved[0] + 1)
        turned = math.radians(told.roll_deg - blow[2]) * math.hypot(*SIZE) / math.sqrt(12.0)
        error = math.hypot(told.dx - blow[0], told.dy - blow[1], turned)
        self.errors.append(error)
        self.within += error <= 2.0

    def line(self) -> str:
        """One line for people."""
        if not self.errors or not self.pairs:
            return f"{self.warned} of {self.runs} warned"
        return (
            f"{self.warned} of {self.runs} warned after {min(self.pairs)} to {max(self.pairs)} "
            f"pairs; error of the shift {np.median(self.errors):.1f} px median, "
            f"{max(self.errors):.1f} at most, {self.within} within 2 px"
        )


def feed(watch: AlignmentWatch, pairs: Iterable[Pair]) -> list[Alignment]:
    """Measure pairs one after the other."""
    return [watch.measure(rgb, thermal) for rgb, thermal in pairs]


def quiet_line(found: Sequence[Alignment]) -> str:
    """What was said of pairs that are aligned."""
    states = [each.state.value for each in found]
    counts = ", ".join(f"{name} {states.count(name)}" for name in sorted(set(states)))
    full = [each.relative_px(each.shift) for each in found[WINDOW - 1 :]]
    return f"{counts}; largest shift of {WINDOW} pairs together {max(full, default=0.0):.1f} px"


def bumped(rig: Rig, blow: Blow) -> Rig:
    """The rig after its thermal camera was turned so that the registered picture moves by this."""
    focal = rig.rgb.intrinsics.fx
    roll, pitch, yaw = rig.thermal.rotation_rad
    right, down, turn = blow
    sideways, upwards = math.atan(right / focal), math.atan(-down / focal)
    turned = (roll + math.radians(turn), pitch + upwards, yaw + sideways)
    return replace(rig, thermal=replace(rig.thermal, rotation_rad=turned))


class Street:
    """Registered pairs of one street."""

    def __init__(self, seed: int, lighting: str) -> None:
        self._scene, self._lighting = random_scene(seed), lighting
        self._camera = Renderer(self._scene, Rig.default(), lighting)
        self._seen: dict[int, Image8] = {}
        truth = Rig.default().thermal_to_rgb_homography(PLANE_M)
        self._registration = Registration(Calibration(SIZE, (512, 640), truth))

    def pairs(self, numbers: Iterable[int], rig: Rig) -> list[Pair]:
        """Pairs at these multiples of the step."""
        renderer, normaliser = Renderer(self._scene, rig, self._lighting), ThermalNormaliser()
        out = []
        for number in numbers:
            heat = normaliser.normalise(renderer.thermal(STEP_S * number)[0])
            if number not in self._seen:
                self._seen[number] = self._camera.visible(STEP_S * number)[0]
            out.append((self._seen[number], self._registration.apply(heat, SIZE).copy()))
        return out


def score_rig(seeds: Iterable[int], lightings: Sequence[str], blows: Sequence[Blow]) -> None:
    """Streets of the virtual rig."""
    rig = Rig.default()
    for lighting in lightings:
        quiet: list[Alignment] = []
        tallies = {blow: Tally() for blow in blows}
        late = Tally()
        for seed in seeds:
            street = Street(seed, lighting)
            clean = street.pairs(range(BEFORE + AFTER), rig)
            quiet += feed(AlignmentWatch(), clean)
            for blow, tally in tallies.items():
                watch = AlignmentWatch()
                feed(watch, clean[:BEFORE])
                moved = street.pairs(range(BEFORE, BEFORE + AFTER), bumped(rig, blow))
                tally.add(feed(watch, moved), blow)
            moved = street.pairs(range(LONG), bumped(rig, BLOWS[0]))
            late.add(feed(AlignmentWatch(), moved), BLOWS[0])
        print(f"{lighting}, no blow: {quiet_line(quiet)}")
        for blow, tally in tallies.items():
            print(f"{lighting}, blow {blow}: {tally.line()}")
        print(f"{lighting}, blow {BLOWS[0]} before the start: {late.line()}")


def load(folder: Path) -> list[Pair]:
    """Pairs of a folder, 640x480."""
    out = []
    for seen in sorted((folder / "visible").iterdir()):
        (warm,) = (folder / "infrared").glob(f"{seen.stem}.*")
        bgr, heat = cv2.imread(str(seen)), cv2.imread(str(warm), cv2.IMREAD_GRAYSCALE)
        assert bgr is not None
        assert heat is not None
        images = [
            cv2.resize(each, SIZE[::-1], interpolation=cv2.INTER_AREA) for each in (bgr, heat)
        ]
        out.append((cv2.cvtColor(images[0], cv2.COLOR_BGR2RGB), images[1]))
    return [(np.asarray(rgb, np.uint8), np.asarray(heat, np.uint8)) for rgb, heat in out]


def shifted(pairs: Iterable[Pair], blow: Blow) -> list[Pair]:
    """Thermal turned about the middle and shifted."""
    turn = cv2.getRotationMatrix2D(((SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2), -blow[2], 1.0)
    turn[:, 2] += blow[:2]
    return [
        (rgb, np.asarray(cv2.warpAffine(heat, turn, SIZE[::-1]), np.uint8)) for rgb, heat in pairs
    ]


def score_pictures(folders: Iterable[Path], blows: Sequence[Blow]) -> None:
    """Folders of registered pairs."""
    for folder in folders:
        pairs = load(folder)
        quiet = quiet_line(feed(AlignmentWatch(), pairs))
        print(f"{folder.name}, {len(pairs)} pairs, no blow: {quiet}")
        for blow in blows:
            tally = Tally()
            for start in range(0, len(pairs) - BEFORE - AFTER + 1, BEFORE + AFTER):
                watch = AlignmentWatch()
                feed(watch, pairs[start : start + BEFORE])
                rest = pairs[start + BEFORE : start + BEFORE + AFTER]
                tally.add(feed(watch, shifted(rest, blow)), blow)
            print(f"{folder.name}, blow {blow}: {tally.line()}")


def score_one_by_one(folder: Path) -> None:
    """Each pair of a folder for itself."""
    for number, pair in enumerate(load(folder)):
        last = feed(AlignmentWatch(), [pair] * (CONFIRMED_IN_ONE_SCENE_AFTER + WINDOW))[-1]
        shift = last.shift
        print(
            f"{folder.name} {number}: {last.state.value}, {shift.dx:+.1f} px right, "
            f"{shift.dy:+.1f} px down, {shift.roll_deg:+.1f} deg, prominence {shift.prominence:.1f}"
        )


def timed(task: Callable[[], None]) -> None:
    """Run on one core and print the processor time."""
    cv2.setNumThreads(1)
    started = time.process_time()
    task()
    print(f"{time.process_time() - started:.0f} s of one core")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True)
    rig = parts.add_parser("rig")
    rig.add_argument("--seeds", nargs=2, type=int, default=(60, 70), metavar=("FIRST", "END"))
    rig.add_argument("--blows", type=int, default=len(BLOWS), help="try so many kinds of blow")
    rig.add_argument("--lightings", nargs="+", default=("day", "night"))
    for name in ("pictures", "one-by-one"):
        part = parts.add_parser(name)
        part.add_argument("folders", nargs="+", type=Path)
        part.add_argument("--blows", type=int, default=len(BLOWS))
    args = parser.parse_args()
    blows = BLOWS[: args.blows]
    if args.part == "rig":
        timed(lambda: score_rig(range(*args.seeds), args.lightings, blows))
    elif args.part == "pictures":
        timed(lambda: score_pictures(args.folders, blows))
    else:
        for folder in args.folders:
            score_one_by_one(folder)


if __name__ == "__main__":
    main()
