# SPDX-License-Identifier: Apache-2.0
"""`segmif bag extract` and `segmif dataset export rig`: pairs as a folder of pictures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from segmif_ros.cli.console import progress_bar, say
from segmif_ros.datasets.bag import BagReading
from segmif_ros.datasets.extract import extract_bag, rig_pairs, write_pairs
from segmif_ros.datasets.rig import NAME, SEEDS
from segmif_ros.datasets.sample import DatasetError
from segmif_ros.outputs import OutputError
from segmif_ros.pairing import LONGEST_OFFSET_MS, MILLISECOND, PairingConfig
from segmif_ros.registration import RegistrationError, load_calibration


def bag_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `segmif bag extract`."""
    parser.description = (
        "Writes OUT/visible, OUT/infrared (PNG of 8 or 16 bits, TIFF of floats), OUT/labels where "
        "the bag has labels, and OUT/pairs.csv: a folder that every verb reads."
    )
    parser.epilog = "segmif bag extract drive.mcap pairs --every 30 --calibration rig.yaml"
    parser.add_argument("bag", type=Path, metavar="BAG", help="bag folder or file")
    _out_arguments(parser)
    parser.add_argument("--start", type=int, default=0, metavar="N", help="begin at pair N")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every Nth pair only")
    parser.add_argument("--limit", type=int, metavar="N", help="at most N pairs")
    parser.add_argument("--rgb-topic", metavar="TOPIC", help="visible camera, if not guessed")
    parser.add_argument("--thermal-topic", metavar="TOPIC", help="thermal camera, likewise")
    parser.add_argument("--labels", metavar="TOPIC", help="mono8 ids; guessed: ...label...")
    parser.add_argument(
        "--calibration", type=Path, metavar="YAML", help="bring thermal values onto the RGB image"
    )
    parser.add_argument("--tolerance-ms", type=float, default=30.0, help="of a pair (default 30)")
    parser.add_argument(
        "--thermal-offset-ms", type=float, default=0.0, help="added to thermal stamps (default 0)"
    )


def rig_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `segmif dataset export`."""
    parser.description = (
        "Renders scenes of the virtual rig, both cameras in one place, with true labels (FMB ids) "
        "and 16-bit thermal counts, as a folder of pictures."
    )
    parser.epilog = "segmif dataset export rig street --count 50 --split train"
    parser.add_argument("source", choices=(NAME,), help="the virtual rig")
    _out_arguments(parser)
    parser.add_argument("--count", type=int, default=50, metavar="N", help="pairs (default 50)")
    parser.add_argument("--start", type=int, default=0, metavar="N", help="first scene (default 0)")
    parser.add_argument(
        "--split", choices=tuple(SEEDS), default="train", help="scenes of it (default train)"
    )


def extract(args: argparse.Namespace) -> int:
    """Run `segmif bag extract`; 0 done, 1 something cannot be read or written, 2 wrong use."""
    limits = {"every": 1, "start": 0, "limit": 1, "tolerance_ms": 0.0}
    wrong = _below(args, limits)
    if abs(args.thermal_offset_ms) > LONGEST_OFFSET_MS:
        wrong = f"--thermal-offset-ms is {args.thermal_offset_ms:g}; a day at most"
    if wrong:
        return _refused("bag extract", wrong, 2)

    def work(progress: Callable[[int, int], None]) -> tuple[int, list[str]]:
        config = PairingConfig(
            tolerance_ns=round(args.tolerance_ms * MILLISECOND),
            thermal_offset_ns=round(args.thermal_offset_ms * MILLISECOND),
        )
        calibration = load_calibration(args.calibration) if args.calibration else None
        how = BagReading(args.rgb_topic, args.thermal_topic, args.labels, calibration, config)
        end = None if args.limit is None else args.start + args.limit * args.every
        which = slice(args.start, end, args.every)
        return extract_bag(args.bag, args.out, how, which, force=args.force, progress=progress)

    return _run("bag extract", args.out, work)


def export(args: argparse.Namespace) -> int:
    """Run `segmif dataset export`; exit codes as `extract`."""
    if wrong := _below(args, {"count": 1, "start": 0}):
        return _refused("dataset export", wrong, 2)
    pairs = rig_pairs(args.split, args.count, args.start)
    return _run(
        "dataset export",
        args.out,
        lambda progress: write_pairs(
            args.out, pairs, force=args.force, progress=progress, total=args.count
        ),
    )


def _out_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to make")
    parser.add_argument(
        "--force", action="store_true", help="replace a folder written so before, if unchanged"
    )


def _run(
    verb: str, out: Path, work: Callable[[Callable[[int, int], None]], tuple[int, list[str]]]
) -> int:
    try:
        with progress_bar(unit="pair", desc="writing") as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            count, notes = work(progress)
    except (DatasetError, RegistrationError, OutputError, OSError) as err:
        return _refused(verb, str(err), 1)
    for note in notes:
        say(f"note: {note}")
    say(f"wrote {count} pairs to {out}; next: segmif dataset check {out} --out sheet.png")
    return 0


def _below(args: argparse.Namespace, limits: dict[str, float]) -> str:
    for name, least in limits.items():
        value = getattr(args, name)
        if value is not None and not value >= least:
            return f"--{name.replace('_', '-')} is {value}; give {least:g} or more"
    return ""


def _refused(verb: str, why: str, code: int) -> int:
    sys.stderr.write(f"segmif {verb}: {why}\n")
    return code
