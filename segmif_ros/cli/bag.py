# SPDX-License-Identifier: Apache-2.0
"""`segmif bag make | extract | play | record | info | recover`: bags without rosbag2 installed."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from segmif_ros.cli.console import progress_bar, say
from segmif_ros.cli.extract import bag_arguments, extract
from segmif_ros.recordings.bags import BagError, BagReader, BagSummary
from segmif_ros.recordings.clips import ClipError, FolderPairs, PairSource, VideoPair
from segmif_ros.recordings.writer import write_bag

_TOPIC = re.compile(r"(/[A-Za-z_][A-Za-z0-9_]*)+")
_NO_CHECKSUMS = "without checksums: damage inside of a message cannot be noticed"
_STAMPS_END_S = 2**31
"""A ROS stamp counts its seconds in 32 bits."""


def main(argv: Sequence[str]) -> int:
    """Run `segmif bag`; returns the exit code."""
    parser = argparse.ArgumentParser(prog="segmif bag", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    _make_arguments(verbs.add_parser("make", help="write a bag from two videos or a folder"))
    _play_arguments(verbs.add_parser("play", help="publish a bag's messages"))
    bag_arguments(verbs.add_parser("extract", help="write pairs as a folder of pictures"))
    recorder = verbs.add_parser("record", help="write topics to a bag until interrupted")
    recorder.add_argument("out", type=Path, metavar="OUT", help="bag folder to create")
    recorder.add_argument("--topics", nargs="+", metavar="TOPIC", required=True, help="full names")
    info = verbs.add_parser("info", help="show what a bag holds")
    info.add_argument("bag", type=Path, help="bag folder, or a single .mcap or .db3 file")
    info.add_argument(
        "--check", action="store_true", help="read every message; exit 1 where one is damaged"
    )
    saver = verbs.add_parser(
        "recover", help="make a whole bag of what can be read of a damaged or incomplete one"
    )
    saver.add_argument("bag", type=Path, metavar="IN", help="bag folder or file")
    saver.add_argument("out", type=Path, metavar="OUT", help="bag folder to create")
    args = parser.parse_args(argv)
    try:
        return _VERBS[args.verb](args)
    except (BagError, ClipError) as err:
        sys.stderr.write(f"segmif bag {args.verb}: {err}\n")
        return 2


def _record(args: argparse.Namespace) -> int:
    from segmif_ros.ros.tools.bag_recorder import record

    return record(args.out, args.topics)


def _info(args: argparse.Namespace) -> int:
    with BagReader(args.bag, lambda _: None) as reader:
        summary = reader.summary()
        if args.check:
            total = sum(topic.count for topic in summary.topics)
            with progress_bar(total=total, unit="msg", desc="reading") as bar:
                for _ in reader.messages():
                    bar.update()
            summary = replace(summary, damage=reader.damage)
    say(table(summary))
    return 1 if args.check and summary.damage else 0


def _recover(args: argparse.Namespace) -> int:
    from segmif_ros.recordings.recover import recover

    with progress_bar(unit="msg", desc="copying") as bar:
        found = recover(args.bag, args.out, bar.update)
    say(table(found.summary))
    for line in found.lost:
        say(f"lost: {line}")
    return 0


def table(summary: BagSummary) -> str:
    """Return the text of `segmif bag info`."""
    start = datetime.fromtimestamp(summary.start_ns / 1e9, tz=timezone.utc)
    head = [
        f"{summary.path}: {summary.storage}, {summary.size_bytes / 1e6:.1f} MB, "
        f"{summary.duration_ns / 1e9:.1f} s from {start:%Y-%m-%d %H:%M:%S} UTC, "
        + ("with checksums" if summary.checksums else _NO_CHECKSUMS),
        *(f"note: {note}" for note in summary.notes),
        *(f"damaged: {damage}" for damage in summary.damage),
        "",
    ]
    rows = [("topic", "type", "count", "rate", "first image")]
    rows += [
        (
            *(t.name, t.type, str(t.count), f"{t.rate_hz:.1f} Hz" if t.rate_hz else "-"),
            t.detail or ("latched" if t.latched else ""),
        )
        for t in summary.topics
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return "\n".join(head + lines)


def _make_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, metavar="OUT", help="bag folder to create")
    parser.add_argument("--visible", type=Path, metavar="VIDEO", help="colour video")
    parser.add_argument("--thermal", type=Path, metavar="VIDEO", help="thermal video")
    parser.add_argument(
        "--pairs",
        type=Path,
        metavar="FOLDER",
        help="instead of videos: FOLDER/visible/* and FOLDER/infrared/* of the same names",
    )
    parser.add_argument(
        "--rate", type=float, metavar="HZ", help="pairs a second, for --pairs (default 10)"
    )
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FOLDER",
        help="label pictures of the same names, for --pairs",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="at most N pairs")
    parser.add_argument("--storage", choices=("mcap", "sqlite3"), default="mcap")
    parser.add_argument(
        "--no-compression", action="store_true", help="plain mcap: larger, quicker to write"
    )
    parser.add_argument(
        "--thermal-encoding",
        choices=("auto", "mono8"),
        default="auto",
        help="auto keeps 16-bit pictures as mono16; mono8 renders them as the node would",
    )
    parser.add_argument(
        "--camera-info", action="store_true", help="also write camera_info (size, not calibrated)"
    )
    parser.add_argument(
        "--start-time",
        type=float,
        metavar="SECONDS",
        help="stamp of the first frame, seconds since 1970 (default now)",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing bag")


def _make(args: argparse.Namespace) -> int:
    start_ns = _start_ns(args.start_time)
    source = _source(args)
    for note in source.notes:
        say(f"note: {note}")
    with progress_bar(total=source.frames, unit="image", desc="writing") as bar:
        summary = write_bag(
            source,
            args.out,
            storage=args.storage,
            compress=not args.no_compression,
            start_ns=start_ns,
            thermal_8bit=args.thermal_encoding == "mono8",
            camera_info=args.camera_info,
            force=args.force,
            progress=bar.update,
        )
    say(table(summary))
    return 0


def _start_ns(seconds: float | None) -> int | None:
    if seconds is None:
        return None
    if not 0 < seconds < _STAMPS_END_S:
        raise BagError(
            f"--start-time is {seconds}; give seconds since 1970, above 0 and below {_STAMPS_END_S}"
        )
    return round(seconds * 1e9)


def _source(args: argparse.Namespace) -> PairSource:
    if args.limit is not None and args.limit < 1:
        raise ClipError(f"--limit is {args.limit}; give 1 or more")
    if args.pairs is not None:
        if args.visible or args.thermal:
            raise ClipError("give either --pairs, or --visible with --thermal, not both")
        rate = 10.0 if args.rate is None else args.rate
        return FolderPairs(args.pairs, rate_hz=rate, labels=args.labels, limit=args.limit)
    if args.visible is None or args.thermal is None:
        raise ClipError("give --visible VIDEO and --thermal VIDEO, or --pairs FOLDER")
    if args.labels or args.rate is not None:
        raise ClipError("--labels and --rate belong to --pairs; videos have their own time stamps")
    return VideoPair(args.visible, args.thermal, limit=args.limit)


def _play_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", type=Path, help="bag folder, or a single .mcap or .db3 file")
    parser.add_argument("--rate", type=float, default=1.0, metavar="X", help="speed (default 1)")
    parser.add_argument("--loop", action="store_true", help="start again at the end")
    parser.add_argument("--clock", action="store_true", help="publish the bag's time on /clock")
    parser.add_argument(
        "--remap", nargs="+", default=[], metavar="A:=B", help="publish topic A under the name B"
    )
    parser.add_argument("--topics", nargs="+", metavar="TOPIC", help="only these (default all)")
    parser.add_argument(
        "--wait-for-subscribers",
        type=float,
        metavar="SECONDS",
        help="start when every image topic has a subscriber; exit 3 if that takes longer",
    )
    parser.add_argument("--start-delay", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument(
        "--start-offset", type=float, default=0.0, metavar="SECONDS", help="skip the beginning"
    )
    parser.add_argument(
        "--duration", type=float, metavar="SECONDS", help="play only so much of the bag"
    )
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="only every Nth pair of images"
    )
    parser.add_argument(
        "--restamp",
        action="store_true",
        help="shift header stamps to now, so that latency can be measured",
    )


def _play(args: argparse.Namespace) -> int:
    from segmif_ros.ros.tools.player import Playback, play

    options = Playback(
        rate=args.rate,
        loop=args.loop,
        clock=args.clock,
        remap=_remaps(args.remap),
        topics=None if args.topics is None else frozenset(args.topics),
        wait_s=args.wait_for_subscribers,
        start_delay_s=args.start_delay,
        start_offset_s=args.start_offset,
        duration_s=args.duration,
        every=args.every,
        restamp=args.restamp,
    )
    return play(args.bag, options)


def _remaps(rules: Sequence[str]) -> dict[str, str]:
    remap: dict[str, str] = {}
    for rule in rules:
        old, arrow, new = rule.partition(":=")
        if not (old and arrow and new):
            raise BagError(f"--remap {rule!r}; expected OLD:=NEW, for example /cam:=/rgb/image_raw")
        if not _TOPIC.fullmatch("/" + new.lstrip("/")):
            raise BagError(
                f"--remap {rule!r}: {new!r} is no topic name; use letters, digits and _ between "
                "slashes, no part beginning with a digit"
            )
        remap["/" + old.lstrip("/")] = "/" + new.lstrip("/")
    return remap


_VERBS = {
    "make": _make,
    "extract": extract,
    "play": _play,
    "record": _record,
    "info": _info,
    "recover": _recover,
}
