# SPDX-License-Identifier: Apache-2.0
"""Scores `segmif calibrate board` and `segmif calibrate auto` on the rig and on folders of pairs.

    python benchmarks/score_calibration.py boards --seeds 20 23
    python benchmarks/score_calibration.py boards --seeds 20 23 --kinds checkerboard --width 320
    python benchmarks/score_calibration.py auto --seeds 40 44
    python benchmarks/score_calibration.py auto --seeds 20 21 --lightings night dusk smoke
    python benchmarks/score_calibration.py pairs DATA/misregistered --single
    python benchmarks/score_calibration.py pairs DATA/msrs --names "*D.*" --judge 8

`boards` holds a warm board before rigs whose lenses bend, and compares registration with the truth.
`auto` drives through streets and compares with the rig's own plane. `pairs` has no truth: it shows
how far thermal is moved, how well edges agree and how much mutual information there is, before and
after. Where several pairs make one calibration, `--judge` scores it on pairs it has not seen.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.calibration.automatic import AutomaticFit, align
from segmif_ros.calibration.board_corners import Pattern, find_board, same_order
from segmif_ros.calibration.boards import BoardSighting, difference_px, fit_rig
from segmif_ros.calibration.edge_agreement import Level, has_data
from segmif_ros.calibration.points import CalibrationError, rms_between
from segmif_ros.metrics import fusion
from segmif_ros.registration import Intrinsics, RigCalibration
from segmif_ros.rig.cameras.cameras import Camera, Pinhole, Rig
from segmif_ros.rig.draw.render import Renderer
from segmif_ros.rig.scene.planner import random_scene

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test" / "helpers"))
from segmif_ros.rig.draw.board import Board, BoardStudio, Distortion

RGB_LENS: Distortion = (-0.25, 0.08, 0.001, -0.0005)
THERMAL_LENS: Distortion = (-0.35, 0.12, 0.0, 0.0)
THERMAL_HFOV_DEG = 68.0
DISTANCES_M = (2.0, 15.0, 50.0)
PLANE_M, STEP_S = 18.0, 3.0
JUDGED_WIDTH = 320
"""Edges are compared on pictures so wide."""

Row = dict[str, Any]
Picture = NDArray[Any]
Pair = tuple[Picture, Picture]
"""Grey RGB HxW uint8 and thermal hxw of any depth."""


def studio_of(kind: str, seed: int, width: int) -> BoardStudio:
    """A rig with bent lenses and a thermal camera of this width, and what is held before it."""
    rig = Rig.default()
    eye = Pinhole.from_hfov(width, width * 4 // 5, THERMAL_HFOV_DEG)
    rig = Rig(rig.rgb, replace(rig.thermal, intrinsics=eye))
    return BoardStudio(rig, Board(circles=kind == "circles"), seed, RGB_LENS, THERMAL_LENS)


def truth_of(studio: BoardStudio, distance_m: float) -> RigCalibration:
    """The calibration that a perfect tool would write."""

    def intrinsics(camera: Camera, lens: Distortion) -> Intrinsics:
        k = camera.intrinsics
        return Intrinsics((k.height, k.width), k.matrix, "plumb_bob", (*lens, 0.0))

    rgb = intrinsics(studio.rig.rgb, studio.rgb_lens)
    thermal = intrinsics(studio.rig.thermal, studio.thermal_lens)
    turn, place = studio.rig.thermal.rotation.T, np.array(studio.rig.thermal.position_m)
    return RigCalibration(rgb, thermal, turn, place, distance_m, distance_m)


def score_board(kind: str, seed: int, width: int, views: int) -> Row:
    """Calibrate one rig from pictures of a board."""
    studio = studio_of(kind, seed, width)
    pattern = Pattern(8, 6, 0.05, kind == "circles")
    sightings = []
    for number, pose in enumerate(studio.poses(views)):
        view = studio.view(pose, number)
        rgb = find_board(np.asarray(cv2.cvtColor(view.rgb, cv2.COLOR_RGB2GRAY)), pattern)
        thermal = find_board(view.thermal, pattern)
        if rgb is not None and thermal is not None:
            sightings.append(BoardSighting(str(number), rgb, same_order(rgb, thermal, pattern)))
    row: Row = {"kind": kind, "seed": seed, "thermal_width": width, "views": views}
    row["found"] = len(sightings)
    k = studio.rig.rgb.intrinsics
    sizes = ((k.height, k.width), (width * 4 // 5, width))
    try:
        fit = fit_rig(sightings, pattern, *sizes, (PLANE_M, PLANE_M))
    except CalibrationError as err:
        return row | {"refused": str(err)}
    row["used"] = sum(not view.reason for view in fit.views)
    for distance in DISTANCES_M:
        found = replace(fit.calibration, nearest_m=distance, furthest_m=distance)
        error = difference_px(truth_of(studio, distance), found)
        row[f"error_px_{distance:g}m"] = round(error, 3)
    return row


def score_street(seed: int, lighting: str, count: int) -> Row:
    """Calibrate the default rig from one street, without any hint."""
    rig = Rig.default()
    renderer = Renderer(random_scene(seed), rig, lighting)
    times = [STEP_S * number for number in range(count)]
    rgb = [np.asarray(cv2.cvtColor(renderer.visible(t)[0], cv2.COLOR_RGB2GRAY)) for t in times]
    thermal = [renderer.thermal(t)[0] for t in times]
    row: Row = {"seed": seed, "lighting": lighting, "pairs": count}
    try:
        fit = align(rgb, thermal)
    except CalibrationError as err:
        return row | {"refused": str(err)}
    truth = rig.thermal_to_rgb_homography(PLANE_M)
    error = rms_between(truth, fit.calibration.homography, fit.calibration)
    return row | {"error_px": round(error, 2)} | facts(fit)


def facts(fit: AutomaticFit) -> Row:
    """What a fit says of itself."""
    return {
        "change_px": round(fit.change_px, 2),
        "halves_px": round(fit.disagreement_px, 2),
        "prominence": round(fit.prominence, 2),
        "moved": not np.array_equal(fit.calibration.homography, only_scaled(fit)),
    }


def only_scaled(fit: AutomaticFit) -> NDArray[np.float64]:
    """The homography of thermal that is only scaled to the RGB size."""
    (height, width), (rows, columns) = fit.calibration.rgb_size, fit.calibration.thermal_size
    plain = np.diag([width / columns, height / rows, 1.0])
    plain[:2, 2] = (np.diag(plain)[:2] - 1.0) / 2.0
    return plain


def load(folder: Path, names: str) -> list[tuple[str, Pair]]:
    """Pairs of a folder in the order of their names, all of the size of the first."""
    pairs: list[tuple[str, Pair]] = []
    for seen in sorted((folder / "visible").glob(names)):
        (warm,) = (folder / "infrared" / seen.relative_to(folder / "visible").parent).glob(
            f"{seen.stem}.*"
        )
        images = []
        for path in (seen, warm):
            image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            if image is None:
                raise SystemExit(f"{path}: cannot be read as a picture")
            images.append(np.asarray(image))
        if pairs:
            first = pairs[0][1]
            images = [
                np.asarray(cv2.resize(image, like.shape[::-1]))
                for image, like in zip(images, first, strict=True)
            ]
        pairs.append((seen.stem, (images[0], images[1])))
    if not pairs:
        raise SystemExit(f"{folder}: no pictures visible/{names}")
    return pairs


def judged(pair: Pair, fit: AutomaticFit) -> dict[str, float]:
    """Agreement of the edges, and mutual information where thermal lies before and after."""
    rgb, thermal = pair
    matrices = {"before": only_scaled(fit), "after": fit.calibration.homography}
    level = Level([rgb], [thermal], JUDGED_WIDTH)
    row = {f"edges_{when}": level.agreement(matrix) for when, matrix in matrices.items()}
    size = rgb.shape[::-1]
    filled = has_data(thermal).astype(np.float32)
    common = np.logical_and.reduce(
        [cv2.warpPerspective(filled, matrix, size) > 0.99 for matrix in matrices.values()]
    )
    for when, matrix in matrices.items():
        warped = cv2.warpPerspective(thermal, matrix, size)
        seen, warm = (fusion.Plane(image[common][None]) for image in (rgb, warped))
        row[f"mutual_bits_{when}"] = fusion.mutual_information(fusion.Pair(seen, warm))
    return row


def score_set(name: str, fitted: Sequence[Pair], others: Sequence[Pair]) -> Row:
    """Make one calibration from `fitted` and score it on `others`."""
    row: Row = {"name": name, "pairs": len(fitted), "judged_on": len(others)}
    try:
        fit = align([rgb for rgb, _ in fitted], [thermal for _, thermal in fitted])
    except CalibrationError as err:
        return row | {"refused": str(err)}
    row |= facts(fit)
    scores = [judged(pair, fit) for pair in others]
    for what in ("edges", "mutual_bits"):
        before, after = (
            np.array([score[f"{what}_{when}"] for score in scores]) for when in ("before", "after")
        )
        row[f"{what}_before"] = round(float(before.mean()), 4)
        row[f"{what}_after"] = round(float(after.mean()), 4)
        row[f"{what}_better"] = int((after > before).sum())
    return row


def sets(args: argparse.Namespace) -> Iterable[Callable[[], Row]]:
    """What `pairs` has to do."""
    found = load(args.folder, args.names)
    if args.single:
        for name, pair in found:
            yield partial(score_set, name, [pair], [pair])
        return
    picked = np.unique(np.linspace(0, len(found) - 1, args.fit + args.judge).round().astype(int))
    pairs = [found[i][1] for i in picked]
    # Taken in turns, so that both reach over the whole drive.
    other = {round((i + 0.5) * len(pairs) / args.judge - 0.5) for i in range(args.judge)}
    fitted = [pair for i, pair in enumerate(pairs) if i not in other]
    held_out = [pair for i, pair in enumerate(pairs) if i in other]
    yield partial(score_set, f"{args.folder.name} {args.names}", fitted, held_out or fitted)


def group(row: Row) -> str:
    """What a run is counted with."""
    return str(row.get("kind") or row.get("lighting") or "pairs")


def summary(rows: Sequence[Row]) -> Row:
    """Least, median and largest of every error and change, and how many were refused."""
    out: Row = {"runs": len(rows), "refused": sum("refused" in row for row in rows)}
    keys = {key for row in rows for key in row if key.startswith(("error_px", "change_px"))}
    for key in sorted(keys):
        values = [row[key] for row in rows if key in row]
        out[key] = [round(float(v), 3) for v in (min(values), np.median(values), max(values))]
    for key in ("edges_better", "mutual_bits_better"):
        if any(key in row for row in rows):
            better = sum(row.get(key, 0) for row in rows)
            out[key] = f"{better} of {sum(row['judged_on'] for row in rows if key in row)}"
    return out


def line(row: Mapping[str, object]) -> str:
    """A row for people."""
    return "  ".join(f"{key} {value}" for key, value in row.items())


def jobs(args: argparse.Namespace) -> Iterable[Callable[[], Row]]:
    """The measurements, one call a row."""
    if args.part == "pairs":
        yield from sets(args)
        return
    for seed in range(*args.seeds):
        if args.part == "boards":
            for kind in args.kinds:
                yield partial(score_board, kind, seed, args.width, args.views)
        else:
            for lighting in args.lightings:
                yield partial(score_street, seed, lighting, args.pairs)


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(dest="part", required=True)
    boards = parts.add_parser("boards")
    boards.add_argument("--seeds", nargs=2, type=int, default=(20, 30), metavar=("FIRST", "END"))
    boards.add_argument("--kinds", nargs="+", default=("checkerboard", "circles"))
    boards.add_argument("--views", type=int, default=20)
    boards.add_argument("--width", type=int, default=640, help="of the thermal picture, pixels")
    auto = parts.add_parser("auto")
    auto.add_argument("--seeds", nargs=2, type=int, default=(40, 50), metavar=("FIRST", "END"))
    auto.add_argument("--lightings", nargs="+", default=("day",))
    auto.add_argument("--pairs", type=int, default=8, help="of each street")
    pairs = parts.add_parser("pairs")
    pairs.add_argument("folder", type=Path, help="holds visible/ and infrared/")
    pairs.add_argument("--names", default="*", help='under visible/, for example "clip/*" ["*"]')
    pairs.add_argument("--single", action="store_true", help="every pair for itself")
    pairs.add_argument("--fit", type=int, default=8, help="pairs of one calibration")
    pairs.add_argument("--judge", type=int, default=0, help="other pairs to score it on")
    for part in (boards, auto, pairs):
        part.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    """Print a line a run and the totals and, if asked, write JSON."""
    args = parsed()
    cv2.setNumThreads(1)
    started, rows = time.process_time(), []
    for job in jobs(args):
        rows.append(job())
        print(line(rows[-1]), flush=True)
    groups = sorted({group(row) for row in rows})
    totals = {name: summary([row for row in rows if group(row) == name]) for name in groups}
    for name, total in totals.items():
        print(f"{name}: {line(total)}")
    print(f"{time.process_time() - started:.0f} s of one core")
    if args.json:
        args.json.write_text(json.dumps({"summary": totals, "runs": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
