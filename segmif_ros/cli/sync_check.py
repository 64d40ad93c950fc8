# SPDX-License-Identifier: Apache-2.0
"""`segmif sync-check`: rates, drops, frozen frames and clock offset of two cameras."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from segmif_ros.cli.command_line import (
    FINE,
    Parser,
    UsageError,
    next_step,
    note,
    progress_bar,
    refuse_existing,
    shared,
)
from segmif_ros.images.raw import ImageRefused
from segmif_ros.outputs import write_whole
from segmif_ros.pairing import Stream
from segmif_ros.recordings.bags import BagError, BagReader, header_stamp_ns, image_of
from segmif_ros.recordings.topics import camera_topics
from segmif_ros.sync.check import StreamLog, SyncReport, sync_report
from segmif_ros.sync.timing import StreamTiming

if TYPE_CHECKING:
    from collections.abc import Mapping

_EXAMPLE = """
segmif sync-check drive.mcap
segmif sync-check --live --rgb-topic /front/image_raw --thermal-topic /flir/image_raw
"""
_ADVICE = """
For the clock offset, drive around a corner or tilt the rig by hand a few times while it records.
"""

_LONGEST_S = 1e8


def _check_options(args: argparse.Namespace) -> None:
    if args.live == (args.bag is not None):
        raise UsageError("give either a bag or --live")
    if args.live and not (args.rgb_topic and args.thermal_topic):
        raise UsageError("--live needs --rgb-topic and --thermal-topic")


def _check(args: argparse.Namespace) -> int:
    refuse_existing(args, "out")
    topics, logs = _live(args) if args.live else _recorded(args)
    empty = [topics[stream] for stream, log in logs.items() if not log.stamps_ns]
    if empty:
        refused = "; ".join(reason for log in logs.values() for reason in log.refused)
        raise BagError(
            f"no image on {' and '.join(empty)}{'; ' + refused if refused else ''}; "
            "run `segmif doctor`"
        )
    report = sync_report(logs[Stream.RGB], logs[Stream.THERMAL])
    figures = json.dumps(report.to_dict(), indent=1)
    print(figures if args.json else to_text(report, topics))
    if args.out is not None:
        write_whole(args.out, figures + "\n")
    if not args.json:
        next_step(f"segmif calibrate auto {args.bag or 'BAG'} --out rig.yaml")
    return FINE


def to_text(report: SyncReport, topics: Mapping[Stream, str]) -> str:
    """Return what a person reads in a terminal."""
    lines = [
        _timing_line(topics[Stream.RGB], report.rgb),
        _timing_line(topics[Stream.THERMAL], report.thermal),
    ]
    clocks = report.clocks
    if clocks.offset_ms is None:
        lines.append(f"clocks: not measurable: {clocks.reason}")
    else:
        side = "late" if clocks.offset_ms > 0 else "early"
        how = f"+-{clocks.spread_ms:.0f} ms, agreement {clocks.agreement:.2f}"
        if clocks.reason:
            how = f"from their arrival times; not from the pictures: {clocks.reason}"
        lines.append(f"clocks: thermal stamps are {abs(clocks.offset_ms):.0f} ms {side} ({how})")
    lines += [f"look at: {problem}" for problem in report.problems]
    values = ", ".join(f"{name}: {value:g}" for name, value in report.settings.items())
    if values:
        lines.append(f"set: {values}")
        lines.append(f"with that, {report.paired:.1%} of the slower camera's frames find a partner")
    return "\n".join(lines)


def _timing_line(topic: str, timing: StreamTiming) -> str:
    delay = "" if timing.delay_ms is None else f", {timing.delay_ms:.0f} ms from stamp to arrival"
    return (
        f"{topic}: {timing.frames} images, {timing.rate_hz:.2f} Hz, jitter {timing.jitter_ms:.1f} "
        f"ms, {timing.dropped} missing, {timing.frozen_frames} repeated pictures{delay}"
    )


def _recorded(args: argparse.Namespace) -> tuple[dict[Stream, str], dict[Stream, StreamLog]]:
    with BagReader(args.bag) as reader:
        rgb, thermal = camera_topics(reader.summary(), args.rgb_topic, args.thermal_topic)
        topics = {Stream.RGB: rgb.name, Stream.THERMAL: thermal.name}
        streams = {topic: stream for stream, topic in topics.items()}
        logs = {stream: StreamLog() for stream in topics}
        last_ns = reader.start_ns + round(min(args.seconds, _LONGEST_S) * 1e9)
        messages = reader.messages(streams, stop_ns=last_ns + 1)
        for message in progress_bar(iterable=messages, unit="image", desc="comparing"):
            stream = streams[message.topic]
            try:
                view, _ = image_of(message, stream)
            except ImageRefused as refusal:
                logs[stream].refuse(str(refusal))
                continue
            pixels = view.to_rgb() if stream is Stream.RGB else view.to_thermal()
            logs[stream].add(header_stamp_ns(message.cdr), message.time_ns, pixels)
    return topics, logs


def _live(args: argparse.Namespace) -> tuple[dict[Stream, str], dict[Stream, StreamLog]]:
    from segmif_ros.ros.transport import prepare_process

    prepare_process()
    from segmif_ros.ros.qos import check_topic_name
    from segmif_ros.ros.tools.participant import watch

    topics = {Stream.RGB: args.rgb_topic, Stream.THERMAL: args.thermal_topic}
    try:
        for topic in topics.values():
            check_topic_name(topic)
        note(f"listening for {args.seconds:g} s")
        return topics, watch(topics, args.seconds)
    except ValueError as err:
        raise BagError(str(err)) from err


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(
        "segmif sync-check",
        _EXAMPLE,
        work=_check,
        check=_check_options,
        description=__doc__,
        epilog=_ADVICE,
    )
    made.add_argument(
        "bag", type=Path, nargs="?", metavar="BAG", help="rosbag2 folder, .mcap or .db3 file"
    )
    made.add_argument("--live", action="store_true", help="listen to topics instead of a bag")
    shared(made, "--rgb-topic", "--thermal-topic")
    shared(made, "--seconds", default=60.0, help="listen at most so long")
    shared(made, "--json")
    shared(made, "--out", metavar="JSON", help="write everything as JSON as well")
    shared(made, "--force")
    return made
