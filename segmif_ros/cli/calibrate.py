# SPDX-License-Identifier: Apache-2.0
"""`segmif calibrate`: makes the YAML that the node loads as its parameter calibration_file."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from segmif_ros.calibration.automatic import LEAST_PROMINENCE, MOST_FRAMES, align
from segmif_ros.calibration.board_corners import Pattern, find_board, same_order, stretched
from segmif_ros.calibration.boards import BoardSighting, fit_plane, fit_rig
from segmif_ros.calibration.picture import before_after
from segmif_ros.calibration.points import CalibrationError, fit_points, read_pairs
from segmif_ros.cli.command_line import (
    FINE,
    Parser,
    UsageError,
    next_step,
    progress_bar,
    refuse_existing,
    say,
    shared,
    size,
    whole,
)
from segmif_ros.frames import Image8, ThermalImage
from segmif_ros.images.pictures import PictureError, encode_picture, read_rgb, read_thermal
from segmif_ros.outputs import write_whole
from segmif_ros.pairing import MILLISECOND, PairingConfig
from segmif_ros.recordings.bags import is_bag, summarize
from segmif_ros.recordings.clips import FolderPairs
from segmif_ros.recordings.pairs import BagPairs
from segmif_ros.recordings.topics import camera_topics
from segmif_ros.registration import Calibration, RigCalibration, save_calibration
from segmif_ros.registration.calibration import Transform
from segmif_ros.thermal import ThermalNormaliser

_MOST_VIEWS = 200
_PLANE_M = 15.0
_LEAST_COVERAGE = 0.4
_LARGEST_HALVES_PX = 1.0
_FURTHEST_NS = 50 * MILLISECOND
"""Images of a bag further apart in time are no pair."""


class Pictures(NamedTuple):
    """One pair: rgb HxWx3 uint8, thermal hxw of any depth."""

    rgb: Image8
    thermal: ThermalImage


def _complete(args: argparse.Namespace) -> None:
    if args.work is not _points or args.rgb_picture is not None:
        args.write_picture = args.write_picture or args.out.with_suffix(".png")
    refuse_existing(args, "out", "write_picture")


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(
        "segmif calibrate",
        "segmif calibrate auto drive.mcap --out rig.yaml",
        check=_complete,
        description=__doc__,
    )
    ways = made.add_subparsers(required=True, metavar="WAY")
    points = ways.add_parser(
        "points",
        work=_points,
        help="from four or more points that both cameras see",
        example="segmif calibrate points --points points.txt --rgb-size 640x480 "
        "--thermal-size 320x256 --out rig.yaml",
    )
    _points_arguments(points)
    board = ways.add_parser(
        "board",
        work=_board,
        help="from a warm checkerboard or circle grid",
        example="segmif calibrate board boards.mcap --pattern 8x6 --square 0.05 --out rig.yaml",
    )
    _board_arguments(board)
    auto = ways.add_parser(
        "auto",
        work=_auto,
        help="from ordinary pictures: edges only, no target",
        example="segmif calibrate auto pictures --rgb-hfov 60 --thermal-hfov 68 --out rig.yaml",
    )
    for camera in ("rgb", "thermal"):
        auto.add_argument(
            f"--{camera}-hfov", type=_hfov, metavar="DEG", help="horizontal field of view"
        )
    for way in (board, auto):
        way.add_argument(
            "source", type=Path, metavar="BAG|FOLDER",
            help="a bag, or a folder with visible/ and infrared/",
        )  # fmt: skip
        shared(way, "--rgb-topic", "--thermal-topic")
    for way in (points, board, auto):
        shared(way, "--out", required=True, metavar="YAML", help="file to write")
        way.add_argument(
            "--write-picture", type=Path, metavar="FILE",
            help="before/after picture (default: beside the YAML)",
        )  # fmt: skip
        shared(way, "--force")
    return made


def _points(args: argparse.Namespace) -> int:
    if (args.rgb_picture is None) != (args.thermal_picture is None):
        raise UsageError("a before/after picture needs both --rgb-picture and --thermal-picture")
    thermal, rgb = read_pairs(args.points)
    fit = fit_points(thermal, rgb, args.thermal_size, args.rgb_size)
    picture = None
    if args.rgb_picture is not None:
        thermal8 = ThermalNormaliser().normalise(read_thermal(args.thermal_picture))
        picture = before_after(read_rgb(args.rgb_picture), thermal8, fit.calibration)
    left_out = [str(number) for number, used in enumerate(fit.used, 1) if not used]
    if left_out:
        say(f"left out, more than 3 px off: pair {', '.join(left_out)}")
    _write(args, fit.calibration, picture)
    return FINE


def _points_arguments(points: Parser) -> None:
    points.add_argument(
        "--points",
        nargs="+",
        required=True,
        metavar="FILE|TX,TY,RX,RY",
        help="a text file with thermal x, y, RGB x, y on each line; or such points",
    )
    for camera in ("rgb", "thermal"):
        shown = camera.upper() if camera == "rgb" else camera
        points.add_argument(
            f"--{camera}-size", type=size(1), required=True, metavar="WxH", help=f"{shown} image"
        )
        points.add_argument(
            f"--{camera}-picture", type=Path, metavar="FILE",
            help=f"{shown} picture, for the before/after picture",
        )  # fmt: skip


def _board_arguments(board: argparse.ArgumentParser) -> None:
    board.add_argument(
        "--pattern",
        type=_grid,
        required=True,
        metavar="CxR",
        help="inner corners (or circles) in a row x in a column, for example 8x6",
    )
    board.add_argument(
        "--square", type=float, required=True, metavar="M", help="metres between neighbours"
    )
    board.add_argument(
        "--circles", action="store_true", help="circles in straight rows instead of squares"
    )
    shared(
        board,
        "--limit",
        type=whole(1, _MOST_VIEWS),
        default=40,
        help="pairs to read, evenly spaced",
    )
    board.add_argument(
        "--flat",
        action="store_true",
        help="few views: one homography for the distance at which the board was held, no lenses",
    )
    depth = board.add_mutually_exclusive_group()
    depth.add_argument(
        "--plane-distance", type=float, metavar="M",
        help=f"where the scene will be, metres (default: {_PLANE_M:g})",
    )  # fmt: skip
    depth.add_argument(
        "--depth-range", type=float, nargs=2, metavar=("NEAR", "FAR"), help="the same as a range"
    )


def _board(args: argparse.Namespace) -> int:
    try:
        pattern = Pattern(args.pattern[0], args.pattern[1], args.square, args.circles)
    except ValueError as err:
        raise CalibrationError(str(err)) from err
    depth_m = _depth(args)
    pairs = _read(args, args.limit)
    shown: dict[str, Pictures] = {}
    sightings = []
    bar = progress_bar(iterable=pairs, unit="view", desc="looking for the board")
    for number, pair in enumerate(bar, 1):
        rgb = find_board(np.asarray(cv2.cvtColor(pair.rgb, cv2.COLOR_RGB2GRAY)), pattern)
        thermal = find_board(pair.thermal, pattern)
        name = f"view {number} of {len(pairs)}"
        if rgb is None or thermal is None:
            blind = [text for text, seen in (("RGB", rgb), ("thermal", thermal)) if seen is None]
            say(f"{name}: left out, no whole board in {' and '.join(blind)}")
        else:
            sightings.append(BoardSighting(name, rgb, same_order(rgb, thermal, pattern)))
            shown[name] = pair
    if not sightings:
        raise CalibrationError(
            f"no view shows the whole {pattern.describe()} in both pictures; check --pattern "
            "(inner corners, not squares), and that the board is warm"
        )
    sizes = [(image.shape[0], image.shape[1]) for image in pairs[0]]
    if args.flat:
        flat = fit_plane(sightings, pattern, sizes[0], sizes[1])
        for line in flat.left_out:
            say(line)
        _write(args, flat.calibration, _largest(sightings, shown, flat.calibration))
        return FINE
    fit = fit_rig(sightings, pattern, sizes[0], sizes[1], depth_m)
    for view in fit.views:
        say(view.line())
    say(f"the boards reached {100 * fit.coverage:.0f} % of the RGB picture")
    if fit.coverage < _LEAST_COVERAGE:
        say("warning: beyond them the lens is extrapolated; hold the board near the borders too")
    if math.isnan(fit.halves_px):
        say("warning: too few views to estimate the accuracy; 12 or more can be halved")
    elif fit.halves_px > _LARGEST_HALVES_PX:
        say(f"warning: two halves of the views differ by {fit.halves_px:.1f} px; take more views")
    used = {view.name: view.depth_m for view in fit.views if not view.reason}
    kept = [sighting for sighting in sightings if sighting.name in used]
    _write(args, fit.calibration, _largest(kept, shown, fit.calibration, used))
    return FINE


def _depth(args: argparse.Namespace) -> tuple[float, float]:
    plane = _PLANE_M if args.plane_distance is None else args.plane_distance
    nearest, furthest = args.depth_range or (plane, plane)
    if not 0.0 < nearest <= furthest or math.isinf(nearest):
        raise CalibrationError(
            f"the depth is {nearest:g} to {furthest:g} m; expected above 0, the nearest first"
        )
    return nearest, furthest


def _largest(
    sightings: Sequence[BoardSighting],
    shown: Mapping[str, Pictures],
    calibration: Calibration | RigCalibration,
    depths: Mapping[str, float] | None = None,
) -> Image8:
    """Draw the view with the largest board; a rig is shown at the distance of that board."""
    best = max(sightings, key=lambda each: float(np.prod(np.ptp(each.rgb, axis=0))))
    if isinstance(calibration, RigCalibration) and depths is not None:
        depth = depths[best.name]
        calibration = replace(calibration, nearest_m=depth, furthest_m=depth)
    pair = shown[best.name]
    return before_after(pair.rgb, stretched(pair.thermal), calibration)


def _read(args: argparse.Namespace, count: int) -> list[Pictures]:
    """Read at most `count` pairs, evenly spaced."""
    source: FolderPairs | BagPairs
    if is_bag(args.source):
        rgb, thermal = camera_topics(summarize(args.source), args.rgb_topic, args.thermal_topic)
        # Before a calibration the clocks are not set either, so frames may lie further apart.
        config = PairingConfig(tolerance_ns=_FURTHEST_NS)
        source = BagPairs(args.source, rgb.name, thermal.name, config)
    else:
        source = FolderPairs(args.source)
    with closing(source) as pairs:
        spread = np.linspace(0, len(pairs) - 1, min(count, len(pairs))).round().astype(int)
        return [Pictures(*pairs.read(index).arrays()) for index in spread.tolist()]


def _auto(args: argparse.Namespace) -> int:
    if (args.rgb_hfov is None) != (args.thermal_hfov is None):
        raise UsageError("a field of view helps only with both --rgb-hfov and --thermal-hfov")
    pairs = _read(args, MOST_FRAMES)
    scale = rgb_focal = None
    if args.rgb_hfov is not None:
        rgb_focal = pairs[0].rgb.shape[1] / math.tan(math.radians(args.rgb_hfov) / 2)
        thermal_focal = pairs[0].thermal.shape[1] / math.tan(math.radians(args.thermal_hfov) / 2)
        scale = rgb_focal / thermal_focal
    grey = [np.asarray(cv2.cvtColor(pair.rgb, cv2.COLOR_RGB2GRAY)) for pair in pairs]
    with progress_bar(desc=f"aligning {len(pairs)} pairs", bar_format="{desc}"):
        fit = align(grey, [pair.thermal for pair in pairs], scale=scale, focal_px=rgb_focal)
    middle = pairs[len(pairs) // 2]
    thermal8 = ThermalNormaliser().normalise(middle.thermal)
    picture = before_after(middle.rgb, thermal8, fit.calibration)
    say(
        f"agreement of the edges {fit.agreement_before:.3f} before, {fit.agreement:.3f} after; "
        f"prominence {fit.prominence:.1f} (needed {LEAST_PROMINENCE:g})"
    )
    _write(args, fit.calibration, picture)
    return FINE


def _write(
    args: argparse.Namespace, calibration: Calibration | RigCalibration, picture: Image8 | None
) -> None:
    save_calibration(calibration, args.out)
    say(f"{args.out}: {calibration.source}")
    if isinstance(calibration, RigCalibration):
        place = Transform(calibration.rotation, calibration.translation_m)
        line = place.publisher_line("RGB_OPTICAL_FRAME", "THERMAL_OPTICAL_FRAME")
        say(f"the mounting on /tf_static, which segmif_node publishes where tf2 is:\n  {line}")
    if picture is not None:
        path = args.write_picture
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            coded = encode_picture(picture, path.suffix)
        except PictureError as err:
            raise CalibrationError(
                f"picture {str(path)!r} cannot be written; name it .png or .jpg"
            ) from err
        write_whole(path, coded)
        say(f"{path}: thermal edges on the RGB image, before and after")
    next_step(f"ros2 launch segmif_ros segmif.launch.py calibration_file:={args.out.resolve()}")


def _hfov(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1.0 < value < 170.0:
        raise argparse.ArgumentTypeError(f"{text!r}: expected 1 to 170 degrees")
    return value


def _grid(text: str) -> tuple[int, int]:
    """Read "8x6" as (columns, rows)."""
    columns, _, rows = text.lower().partition("x")
    if not (columns.isdecimal() and rows.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a pattern like 8x6")
    return int(columns), int(rows)
