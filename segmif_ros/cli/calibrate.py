# SPDX-License-Identifier: Apache-2.0
"""`segmif calibrate`: makes the YAML that the node loads as its parameter calibration_file."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from segmif_ros.calibration.automatic import LEAST_PROMINENCE, MOST_FRAMES, align
from segmif_ros.calibration.picture import before_after
from segmif_ros.calibration.points import CalibrationError, fit_points, read_pairs
from segmif_ros.cli.console import say
from segmif_ros.cli.recorded_pairs import is_bag, read_bag, read_folder
from segmif_ros.evaluation.bags import BagError
from segmif_ros.evaluation.clips import ClipError, read_rgb, read_thermal
from segmif_ros.frames import Image8
from segmif_ros.registration import Calibration, RegistrationError, save_calibration
from segmif_ros.thermal import ThermalNormaliser

_LARGEST = 65536


def main(argv: Sequence[str]) -> int:
    """Calibrate and return the exit code."""
    parser = argparse.ArgumentParser(prog="segmif calibrate", description=__doc__)
    ways = parser.add_subparsers(dest="way", required=True)
    points = ways.add_parser("points", help="from four or more points that both cameras see")
    points.add_argument(
        "--pairs",
        nargs="+",
        required=True,
        metavar="PAIR",
        help="a text file with thermal x, y, RGB x, y on each line; or pairs as tx,ty,rx,ry",
    )
    points.add_argument("--rgb-size", type=_size, required=True, metavar="WxH", help="RGB image")
    points.add_argument(
        "--thermal-size", type=_size, required=True, metavar="WxH", help="thermal image"
    )
    points.add_argument("--rgb", type=Path, help="RGB picture, for the before/after picture")
    points.add_argument("--thermal", type=Path, help="thermal picture, for the same")
    points.set_defaults(run=_points)
    auto = ways.add_parser("auto", help="from ordinary pictures: edges only, no target")
    auto.add_argument("source", type=Path, help="folder with visible/ and infrared/, or a bag")
    auto.add_argument("--rgb-hfov", type=_hfov, metavar="DEG", help="horizontal field of view")
    auto.add_argument("--thermal-hfov", type=_hfov, metavar="DEG", help="the same, thermal")
    auto.add_argument("--rgb-topic", help="for a bag [guessed]")
    auto.add_argument("--thermal-topic", help="for a bag [guessed]")
    auto.set_defaults(run=_auto)
    for way in (points, auto):
        way.add_argument("--out", type=Path, required=True, help="YAML file to write")
        way.add_argument("--picture", type=Path, help="before/after picture [beside the YAML]")
    args = parser.parse_args(argv)
    try:
        return int(args.run(args))
    except (CalibrationError, BagError, ClipError, RegistrationError, OSError) as err:
        sys.stderr.write(f"segmif calibrate: {' '.join(str(err).split())}\n")
        return 1


def _points(args: argparse.Namespace) -> int:
    if (args.rgb is None) != (args.thermal is None):
        raise CalibrationError("a before/after picture needs both --rgb and --thermal")
    thermal, rgb = read_pairs(args.pairs)
    fit = fit_points(thermal, rgb, args.thermal_size, args.rgb_size)
    picture = None
    if args.rgb is not None:
        picture = before_after(read_rgb(args.rgb), _thermal8(args.thermal), fit.calibration)
    left_out = [str(number) for number, used in enumerate(fit.used, 1) if not used]
    if left_out:
        say(f"left out, more than 3 px off: pair {', '.join(left_out)}")
    _write(args, fit.calibration, picture)
    return 0


def _auto(args: argparse.Namespace) -> int:
    if (args.rgb_hfov is None) != (args.thermal_hfov is None):
        raise CalibrationError("a field of view helps only with both --rgb-hfov and --thermal-hfov")
    if is_bag(args.source):
        pairs = read_bag(args.source, args.rgb_topic, args.thermal_topic, MOST_FRAMES)
    else:
        pairs = read_folder(args.source, MOST_FRAMES)
    scale = None
    if args.rgb_hfov is not None:
        rgb_focal = pairs[0].rgb.shape[1] / math.tan(math.radians(args.rgb_hfov) / 2)
        thermal_focal = pairs[0].thermal.shape[1] / math.tan(math.radians(args.thermal_hfov) / 2)
        scale = rgb_focal / thermal_focal
    grey = [np.asarray(cv2.cvtColor(pair.rgb, cv2.COLOR_RGB2GRAY)) for pair in pairs]
    fit = align(grey, [pair.thermal for pair in pairs], scale=scale)
    middle = pairs[len(pairs) // 2]
    thermal8 = ThermalNormaliser().normalise(middle.thermal)
    picture = before_after(middle.rgb, thermal8, fit.calibration)
    say(
        f"agreement of the edges {fit.agreement_before:.3f} before, {fit.agreement:.3f} after; "
        f"prominence {fit.prominence:.1f} (needed {LEAST_PROMINENCE:g})"
    )
    _write(args, fit.calibration, picture)
    return 0


def _write(args: argparse.Namespace, calibration: Calibration, picture: Image8 | None) -> None:
    save_calibration(calibration, args.out)
    say(f"{args.out}: {calibration.source}")
    if picture is not None:
        path = args.picture or args.out.with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            written = cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        except cv2.error:
            written = False
        if not written:
            raise CalibrationError(f"picture {str(path)!r} cannot be written; name it .png or .jpg")
        say(f"{path}: thermal edges on the RGB image, before and after")


def _thermal8(path: Path) -> Image8:
    return ThermalNormaliser().normalise(read_thermal(path))


def _hfov(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1.0 < value < 170.0:
        raise argparse.ArgumentTypeError(f"{text!r}: expected 1 to 170 degrees")
    return value


def _size(text: str) -> tuple[int, int]:
    """Read "640x480" as (height, width)."""
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size like 640x480")
    size = (int(height), int(width))
    if not 0 < min(size) <= max(size) <= _LARGEST:
        raise argparse.ArgumentTypeError(f"{text!r}: expected 1 to {_LARGEST} pixels a side")
    return size


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
