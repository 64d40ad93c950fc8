# SPDX-License-Identifier: Apache-2.0
"""`segmif bag extract` and `segmif dataset export rig`: pairs as a folder of pictures."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from segmif_ros.cli.command_line import (
    FINE,
    UsageError,
    next_step,
    out_that_was_last,
    progress_bar,
    say,
    shared,
)
from segmif_ros.datasets.bag import BagReading
from segmif_ros.datasets.extract import extract_bag, rig_pairs, write_pairs
from segmif_ros.datasets.rig import NAME, SEEDS
from segmif_ros.pairing import LONGEST_OFFSET_MS, MILLISECOND, PairingConfig
from segmif_ros.registration import load_calibration

_REPLACE = "replace a folder written so before, if unchanged"


def add_extract(verbs: Any) -> None:
    """Add `segmif bag extract`."""
    made = verbs.add_parser(
        "extract",
        work=extract,
        help="write pairs as a folder of pictures",
        description="Writes OUT/visible, OUT/infrared (PNG of 8 or 16 bits, TIFF of floats), "
        "OUT/labels where the bag has labels, and OUT/pairs.csv: a folder that every verb reads.",
        example="segmif bag extract drive.mcap --out pairs --every 30 --calibration rig.yaml",
    )
    made.add_argument("bag", type=Path, metavar="BAG", help="bag folder or file")
    out_that_was_last(made, "folder to make", metavar="FOLDER")
    made.add_argument("--force", action="store_true", help=_REPLACE)
    shared(made, "--start", "--every", "--limit", "--rgb-topic", "--thermal-topic")
    made.add_argument(
        "--labels", metavar="TOPIC", help="mono8 ids (default: the topic that ends in label...)"
    )
    shared(made, "--calibration", help="warp thermal values onto the RGB image")
    made.add_argument(
        "--tolerance-ms", type=float, default=30.0, metavar="MS", help="between stamps of a pair"
    )
    made.add_argument(
        "--thermal-offset-ms", type=float, default=0.0, metavar="MS", help="added to thermal stamps"
    )


def add_export(verbs: Any) -> None:
    """Add `segmif dataset export`."""
    made = verbs.add_parser(
        "export",
        work=export,
        help="write scenes of the virtual rig as a folder",
        description="Renders scenes of the virtual rig, both cameras in one place, with true "
        "labels (FMB ids) and 16-bit thermal counts, as a folder of pictures.",
        example="segmif dataset export rig --out street --limit 50 --split train",
    )
    made.add_argument("source", choices=(NAME,), help="the virtual rig")
    out_that_was_last(made, "folder to make", metavar="FOLDER")
    made.add_argument("--force", action="store_true", help=_REPLACE)
    shared(made, "--limit", default=50, help="pairs")
    shared(made, "--start", help="first scene")
    made.add_argument("--split", choices=tuple(SEEDS), default="train", help="scenes of it")


def extract(args: argparse.Namespace) -> int:
    """Run `segmif bag extract`."""
    if not args.tolerance_ms >= 0.0:
        raise UsageError(f"--tolerance-ms is {args.tolerance_ms}; give 0 or more")
    if not abs(args.thermal_offset_ms) <= LONGEST_OFFSET_MS:
        raise UsageError(f"--thermal-offset-ms is {args.thermal_offset_ms:g}; a day at most")
    config = PairingConfig(
        tolerance_ns=round(args.tolerance_ms * MILLISECOND),
        thermal_offset_ns=round(args.thermal_offset_ms * MILLISECOND),
    )
    calibration = load_calibration(args.calibration) if args.calibration else None
    how = BagReading(args.rgb_topic, args.thermal_topic, args.labels, calibration, config)
    end = None if args.limit is None else args.start + args.limit * args.every
    which = slice(args.start, end, args.every)
    return _run(
        args.out,
        lambda progress: extract_bag(
            args.bag, args.out, how, which, force=args.force, progress=progress
        ),
    )


def export(args: argparse.Namespace) -> int:
    """Run `segmif dataset export`."""
    pairs = rig_pairs(args.split, args.limit, args.start)
    return _run(
        args.out,
        lambda progress: write_pairs(
            args.out, pairs, force=args.force, progress=progress, total=args.limit
        ),
    )


def _run(out: Path, work: Callable[[Callable[[int, int], None]], tuple[int, list[str]]]) -> int:
    with progress_bar(unit="pair", desc="writing") as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        count, notes = work(progress)
    for note in notes:
        say(f"note: {note}")
    say(f"wrote {count} pairs to {out}")
    next_step(f"segmif dataset check {out} --write-sheet sheet.png")
    return FINE
