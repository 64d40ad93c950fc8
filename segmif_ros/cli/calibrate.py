# SPDX-License-Identifier: Apache-2.0
"""`segmif calibrate`: makes the YAML that the node loads as its parameter calibration_file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2

from segmif_ros.calibration.picture import before_after
from segmif_ros.calibration.points import CalibrationError, fit_points, read_pairs
from segmif_ros.cli.console import say
from segmif_ros.evaluation.clips import ClipError, read_rgb, read_thermal
from segmif_ros.frames import Image8
from segmif_ros.registration import Calibration, RegistrationError
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
    points.add_argument("--out", type=Path, required=True, help="YAML file to write")
    points.add_argument("--picture", type=Path, help="before/after picture [beside the YAML]")
    args = parser.parse_args(argv)
    try:
        return int(args.run(args))
    except (CalibrationError, ClipError, RegistrationError, OSError) as err:
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


def _write(args: argparse.Namespace, calibration: Calibration, picture: Image8 | None) -> None:
    calibration.save(args.out)
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
