# SPDX-License-Identifier: Apache-2.0
"""The command line of `segmif_rig`."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from segmif_ros.rig.draw.render import ENCODINGS
from segmif_ros.rig.faults.requests import KINDS, parse_fault
from segmif_ros.rig.scene.lighting import Lighting

PRERENDER = 180
"""Pairs rendered ahead by default: about 350 MB, and publishing then leaves the machine alone."""


def _above_zero(text: str) -> float:
    value = float(text)
    if not 0.0 < value <= 1000.0:
        raise argparse.ArgumentTypeError(f"{text}: expected a rate above 0 and up to 1000 Hz")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text}: expected 0 or more")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: expected seconds, 0 or more")
    return value


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text}: expected WIDTHxHEIGHT, for example 320x240")
    return int(found[1]), int(found[2])


def _fault(text: str) -> str:
    try:
        parse_fault(text)
    except ValueError as err:
        raise argparse.ArgumentTypeError(str(err)) from None
    return text


def parser() -> argparse.ArgumentParser:
    """Return the parser of everything before --ros-args."""
    out = argparse.ArgumentParser(
        prog="segmif_rig",
        description="Publishes a virtual thermal + RGB rig: rgb/image_raw, thermal/image_raw and "
        "their camera_info, in the namespace /rig.",
        epilog="ROS arguments follow --ros-args, for example: --ros-args -r __ns:=/front",
    )
    names = [lighting.value for lighting in Lighting]
    add = out.add_argument
    add("--seed", type=_count, default=1, help="which street (default 1)")
    add("--lighting", choices=[*names, "tour"], default="day",
        help="light of the street; tour goes through all five (default day)")  # fmt: skip
    add("--rate", type=_above_zero, default=30.0, metavar="HZ", help="RGB frames per second (30)")
    add("--thermal-rate", type=_above_zero, default=30.0, metavar="HZ",
        help="thermal frames per second (30)")  # fmt: skip
    add("--thermal-encoding", choices=ENCODINGS, default="mono16",
        help="mono16: 0.01 K; mono8: a fixed span around the air temperature")  # fmt: skip
    add("--frames", type=_count, metavar="N", help="stop after N RGB frames (default: no end)")
    add("--wait-for-subscribers", type=_seconds, metavar="SECONDS",
        help="start when both image topics have a subscriber; exit 1 if they do not")  # fmt: skip
    add("--write-calibration", type=Path, metavar="PATH",
        help="write the true thermal to RGB geometry for the node's calibration_file")  # fmt: skip
    add("--prerender", type=_count, default=PRERENDER, metavar="N",
        help="render N pairs ahead and show them to and fro, so that publishing costs little; "
        f"0 renders images when they are due (default {PRERENDER}, or --frames)")  # fmt: skip
    add("--pattern", action="store_true",
        help="a moving test pattern instead of the street: starts at once")  # fmt: skip
    add("--board", type=_count, metavar="N",
        help="a warm checkerboard of 8x6 corners, 0.05 m apart, at N places for a second each, to "
        "try `segmif calibrate board` on")  # fmt: skip
    add("--labels", action="store_true", help="also publish the true labels on rgb/labels (mono8)")
    add("--lidar", type=int, choices=(16, 64), metavar="RINGS",
        help="also publish a LiDAR of 16 or 64 rings (points, 10 Hz at most), a depth image "
        "(depth/image_raw, 16UC1 mm) and the true objects (objects, JSON)")  # fmt: skip
    add("--aligned", action="store_true", help="both cameras in one place with one geometry")
    add("--size", type=_size, metavar="WxH",
        help="RGB pixels (default 640x480); the thermal image follows with --aligned")  # fmt: skip
    add("--reliable", action="store_true", help="offer reliable images (default: best effort)")
    add("--time-code", action="store_true",
        help="write the time of each picture into its pixels, as bars along two edges")  # fmt: skip
    add("--fault", type=_fault, action="append", default=[], metavar="FAULT",
        help="CAMERA:KIND[=VALUE][@START[+LENGTH]], CAMERA is rgb, thermal or both, times in "
        f"seconds, KIND is one of {', '.join(KINDS)}; may be given again; while it runs: "
        "ros2 param set /rig/rig faults 'thermal:stop rgb:drop=0.1'")  # fmt: skip
    return out
