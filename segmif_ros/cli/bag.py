# SPDX-License-Identifier: Apache-2.0
"""`segmif bag make | extract | play | record | info | recover`: bags without rosbag2 installed."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path

from segmif_ros.cli.command_line import (
    FINE,
    VERDICT,
    Parser,
    UsageError,
    next_step,
    out_that_was_last,
    progress_bar,
    refuse_existing,
    say,
    shared,
)
from segmif_ros.cli.extract import add_extract
from segmif_ros.error_codes import brief
from segmif_ros.outputs import OutputError
from segmif_ros.recordings.bags import BagReader, BagSummary
from segmif_ros.recordings.clips import FolderPairs, PairSource, VideoPair
from segmif_ros.recordings.writer import write_bag

_TOPIC = re.compile(r"(/[A-Za-z_][A-Za-z0-9_]*)+")
_NO_CHECKSUMS = "without checksums: damage inside of a message cannot be noticed"
_STAMPS_END_S = 2**31
"""A ROS stamp counts its seconds in 32 bits."""


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser("segmif bag", "segmif bag info drive.mcap", description=__doc__)
    verbs = made.add_subparsers(required=True, metavar="VERB")
    _make_arguments(
        verbs.add_parser(
            "make",
            work=_make,
            help="write a bag from two videos or a folder",
            example="segmif bag make --rgb-video rgb.mp4 --thermal-video thermal.mp4 --out drive",
        )
    )
    _play_arguments(
        verbs.add_parser(
            "play",
            work=_play,
            help="publish a bag's messages",
            example="segmif bag play drive --speed 0.5 --seconds 20",
        )
    )
    add_extract(verbs)
    recorder = verbs.add_parser(
        "record",
        work=_record,
        help="write topics to a bag until interrupted",
        example="segmif bag record --out drive --topics /rgb/image_raw /thermal/image_raw",
    )
    recorder.add_argument("--topics", nargs="+", metavar="TOPIC", required=True, help="full names")
    out_that_was_last(recorder, "bag folder to create")
    info = verbs.add_parser(
        "info", work=_info, help="show what a bag holds", example="segmif bag info drive --check"
    )
    info.add_argument("bag", type=Path, metavar="BAG", help="bag folder, .mcap or .db3 file")
    info.add_argument(
        "--check", action="store_true", help="read every message; exit 3 where one is damaged"
    )
    shared(info, "--json")
    saver = verbs.add_parser(
        "recover",
        work=_recover,
        help="make a whole bag of what can be read of a damaged or incomplete one",
        example="segmif bag recover broken.mcap --out saved",
    )
    saver.add_argument("bag", type=Path, metavar="BAG", help="bag folder or file")
    out_that_was_last(saver, "bag folder to create")
    shared(saver, "--force")
    return made


def _record(args: argparse.Namespace) -> int:
    if args.out.exists() or args.out.is_symlink():
        raise OutputError(f"{str(args.out)!r} exists already; give another name")
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
    say(json.dumps(asdict(summary), indent=1, default=str) if args.json else table(summary))
    return VERDICT if args.check and summary.damage else FINE


def _recover(args: argparse.Namespace) -> int:
    from segmif_ros.recordings.recover import recover

    refuse_existing(args, "out")
    with progress_bar(unit="msg", desc="copying") as bar:
        found = recover(args.bag, args.out, bar.update, force=args.force)
    say(table(found.summary))
    for line in found.lost:
        say(f"lost: {line}")
    next_step(f"segmif view {args.out}")
    return FINE


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
            *(
                brief(t.name),
                brief(t.type),
                str(t.count),
                f"{t.rate_hz:.1f} Hz" if t.rate_hz else "-",
            ),
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
    assert isinstance(parser, Parser)
    parser.add_argument("--rgb-video", type=Path, metavar="VIDEO", help="colour video")
    parser.add_argument("--thermal-video", type=Path, metavar="VIDEO", help="thermal video")
    shared(
        parser,
        "--pairs",
        help="instead of videos: FOLDER/visible/* and FOLDER/infrared/* of the same names",
    )
    parser.add_argument(
        "--rate", type=float, metavar="HZ", help="pairs a second, for --pairs (default: 10)"
    )
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FOLDER",
        help="label pictures of the same names, for --pairs",
    )
    shared(parser, "--limit")
    parser.add_argument(
        "--storage", choices=("mcap", "sqlite3"), default="mcap", help="format of the bag"
    )
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
        help="stamp of the first frame, seconds since 1970 (default: now)",
    )
    shared(parser, "--force")
    out_that_was_last(parser, "bag folder to create")


def _make(args: argparse.Namespace) -> int:
    refuse_existing(args, "out")
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
    next_step(f"segmif demo --bag {args.out}")
    return FINE


def _start_ns(seconds: float | None) -> int | None:
    if seconds is None:
        return None
    if not 0 < seconds < _STAMPS_END_S:
        raise UsageError(
            f"--start-time is {seconds}; give seconds since 1970, above 0 and below {_STAMPS_END_S}"
        )
    return round(seconds * 1e9)


def _source(args: argparse.Namespace) -> PairSource:
    if args.pairs is not None:
        if args.rgb_video or args.thermal_video:
            raise UsageError("give either --pairs, or --rgb-video with --thermal-video, not both")
        rate = 10.0 if args.rate is None else args.rate
        return FolderPairs(args.pairs, rate_hz=rate, labels=args.labels, limit=args.limit)
    if args.rgb_video is None or args.thermal_video is None:
        raise UsageError("give --rgb-video VIDEO and --thermal-video VIDEO, or --pairs FOLDER")
    if args.labels or args.rate is not None:
        raise UsageError("--labels and --rate belong to --pairs; videos have their own time stamps")
    return VideoPair(args.rgb_video, args.thermal_video, limit=args.limit)


def _play_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", type=Path, metavar="BAG", help="bag folder, .mcap or .db3 file")
    parser.add_argument("--speed", type=float, default=1.0, metavar="X", help="of the replay")
    parser.add_argument("--loop", action="store_true", help="start again at the end")
    parser.add_argument("--clock", action="store_true", help="publish the bag's time on /clock")
    parser.add_argument(
        "--remap", nargs="+", default=[], metavar="A:=B", help="publish topic A under the name B"
    )
    parser.add_argument("--topics", nargs="+", metavar="TOPIC", help="only these (default: all)")
    parser.add_argument(
        "--wait-for-subscribers",
        type=float,
        metavar="SECONDS",
        help="start when every image topic has a subscriber; exit 1 if that takes longer",
    )
    parser.add_argument(
        "--start-delay", type=float, default=0.0, metavar="SECONDS", help="wait before the start"
    )
    parser.add_argument(
        "--start-offset", type=float, default=0.0, metavar="SECONDS", help="skip the beginning"
    )
    shared(parser, "--seconds", type=float, help="play only so much of the bag")
    shared(parser, "--every", help="only every Nth pair of images")
    parser.add_argument(
        "--restamp",
        action="store_true",
        help="shift header stamps to now, so that latency can be measured",
    )


def _play(args: argparse.Namespace) -> int:
    from segmif_ros.ros.tools.player import Playback, play

    options = Playback(
        rate=args.speed,
        loop=args.loop,
        clock=args.clock,
        remap=_remaps(args.remap),
        topics=None if args.topics is None else frozenset(args.topics),
        wait_s=args.wait_for_subscribers,
        start_delay_s=args.start_delay,
        start_offset_s=args.start_offset,
        duration_s=args.seconds,
        every=args.every,
        restamp=args.restamp,
    )
    return play(args.bag, options)


def _remaps(rules: Sequence[str]) -> dict[str, str]:
    remap: dict[str, str] = {}
    for rule in rules:
        old, arrow, new = rule.partition(":=")
        if not (old and arrow and new):
            raise UsageError(
                f"--remap {rule!r}; expected OLD:=NEW, for example /cam:=/rgb/image_raw"
            )
        if not _TOPIC.fullmatch("/" + new.lstrip("/")):
            raise UsageError(
                f"--remap {rule!r}: {new!r} is no topic name; use letters, digits and _ between "
                "slashes, no part beginning with a digit"
            )
        remap["/" + old.lstrip("/")] = "/" + new.lstrip("/")
    return remap
