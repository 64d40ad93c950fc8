# SPDX-License-Identifier: Apache-2.0
"""`segmif demo`: camera images in, pictures and figures out, over ROS 2 between real processes.

The image source, segmif_node and this program's recorder are separate processes that use
DDS on a private ROS domain. The result lies in the folder --out: contact_sheet.png, demo.mp4,
report.json and log/.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segmif_ros.cli.command_line import (
    FINE,
    VERDICT,
    Parser,
    UsageError,
    next_step,
    progress_bar,
    say,
    shared,
    whole,
)
from segmif_ros.cli.demo_pictures import Marks, draw_sheet, draw_video
from segmif_ros.cli.demo_session import DemoSession, DemoSessionError
from segmif_ros.cli.demo_sources import LIGHTINGS, ON_TOUR, BagSource, RigSource, Source
from segmif_ros.cli.managed_process import private_domain, terminable
from segmif_ros.outputs import own_folder, write_whole
from segmif_ros.recordings.clips import FolderPairs
from segmif_ros.recordings.recording import evenly
from segmif_ros.recordings.writer import write_bag
from segmif_ros.report.run_summary import NO_PARTNER, REQUIRED_SHARE, RunReport

if TYPE_CHECKING:
    from segmif_ros.ros.tools.recorder import Recorder

LOAD = 0.7
"""Part of the time that the engine may be busy: the rest is for the cameras, DDS and jitter."""

_AROUND_ENGINE_MS = 14.0
"""Conversion, registration, objects and publishing of one VGA pair on a busy CPU core."""

_ATTEMPTS = 3
_SLOWER = 0.6
_PAIRS_LIMIT = 150
_SHARED_MEMORY_MB = 80


_RESULTS = ("contact_sheet.png", "demo.mp4", "report.json")
_FILES = (*_RESULTS, "log", "pairs_bag")


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(
        "segmif demo", "segmif demo --lighting night --seconds 10", work=_run, description=__doc__
    )
    source = made.add_argument_group("source (default: the virtual rig)")
    source.add_argument("--bag", type=Path, metavar="BAG", help="play a bag")
    shared(source, "--pairs", help="FOLDER/visible/* and FOLDER/infrared/*")
    source.add_argument("--seed", type=whole(0), default=1, metavar="N", help="street of the rig")
    source.add_argument(
        "--lighting",
        choices=LIGHTINGS,
        default=ON_TOUR,
        help="light of the rig's street; tour: all of them",
    )
    shared(source, "--rgb-topic", "--thermal-topic", "--calibration")
    length = made.add_argument_group("length and rate")
    shared(length, "--seconds", type=float, help="how long to run (default: 15, bags 20)")
    shared(length, "--limit", type=whole(2), help="pairs of the rig, instead of --seconds")
    length.add_argument(
        "--rate", type=float, metavar="HZ", help="pairs a second (default: what the machine holds)"
    )
    shared(made.add_argument_group("node"), "--model", "--engine")
    output = made.add_argument_group("output")
    shared(output, "--out", default=Path("demo_out"), metavar="FOLDER", help="pictures and figures")
    shared(output, "--force")
    output.add_argument(
        "--rows", type=whole(1), default=5, metavar="N", help="rows of the contact sheet"
    )
    output.add_argument("--no-video", action="store_true", help="spare the time of encoding")
    return made


def _run(args: argparse.Namespace) -> int:
    _check(args)
    inputs = (args.bag, args.pairs, args.calibration, args.model)
    refused = () if args.force else _RESULTS
    advice = "--force replaces it, or choose another folder with --out"
    try:
        with terminable(), own_folder(args.out, _FILES, inputs, refused=refused, advice=advice):
            return _demonstrate(args, args.out)
    except OSError as err:
        raise DemoSessionError(f"{err}; choose another folder with --out, or free space") from err


def _demonstrate(args: argparse.Namespace, out: Path) -> int:
    _check_shared_memory()
    source = _source(args)
    for stale in _RESULTS:
        (out / stale).unlink(missing_ok=True)
    report, recorder = _measure(args, source)
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    text = json.dumps(report.to_json(created=created), indent=2)
    write_whole(out / "report.json", text + "\n")
    _draw(args, source, recorder, report)
    say("")
    say(report.table())
    return _verdict(report, out, video=not args.no_video)


def _measure(args: argparse.Namespace, source: Source) -> tuple[RunReport, Recorder]:
    """Run the session; where other work on the machine was in the way, again at a lower rate."""
    domain = private_domain()
    notes: list[str] = []
    say(f"demo: {source.title}, ROS domain {domain}, logs in {args.out / 'log'}")
    holdable_hz: float | None = None
    for attempts_left in reversed(range(_ATTEMPTS)):
        with DemoSession(
            source,
            args.out / "log",
            domain=domain,
            parameters=_parameters(args, source),
        ) as session:
            warmup_ms = session.start_node()
            if holdable_hz is None:
                holdable_hz = 1e3 * LOAD / (warmup_ms + _AROUND_ENGINE_MS)
            plan = source.plan(holdable_hz)
            say(
                f"one inference takes {warmup_ms:.0f} ms here: sending {plan.pairs} pairs at "
                f"{plan.rate_hz:.1f} per second"
            )
            for note in plan.notes:
                say(f"note: {note}")
            session.play(plan)
            session.stop_node()
            recorder = session.recorder
        report = session.summary(plan, notes)
        if report.passed or not report.too_fast or args.rate is not None or not attempts_left:
            break
        holdable_hz = _SLOWER * plan.rate_hz
        notes.append(
            f"at {plan.rate_hz:.1f} pairs per second only {report.pairs_out} of {report.pairs_in} "
            "came out: the machine is busy with other work"
        )
        say(f"note: {notes[-1]}; trying a lower rate")
    return report, recorder


def _parameters(args: argparse.Namespace, source: Source) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "model": str(args.model),
        "engine": str(args.engine),
    }
    if source.calibration is not None:
        parameters["calibration_file"] = str(source.calibration.resolve())
    return parameters


def _check(args: argparse.Namespace) -> None:
    if args.bag is not None and args.pairs is not None:
        raise UsageError("give --bag or --pairs, not both")
    for name, least in (("seconds", 0.5), ("rate", 0.1)):
        value = getattr(args, name)
        if value is not None and not least <= value < math.inf:
            raise UsageError(f"--{name} is {value}; give a number of {least} or more")


def _check_shared_memory() -> None:
    folder = Path("/dev/shm")  # noqa: S108
    if folder.is_dir() and shutil.disk_usage(folder).free < _SHARED_MEMORY_MB * 2**20:
        say(
            f"note: less than {_SHARED_MEMORY_MB} MB are free in {folder}, where images pass from "
            "process to process; frames may be lost. Start a container with --shm-size=256m; "
            "elsewhere remove leftovers with: fastdds shm clean"
        )


def _source(args: argparse.Namespace) -> Source:
    if args.bag is None and args.pairs is None:
        return RigSource(
            seed=args.seed,
            lighting=args.lighting,
            seconds=args.seconds or 15.0,
            frames=args.limit,
            rate_hz=args.rate,
            calibration=args.out / "log" / "rig_calibration.yaml",
        )
    path, title = args.bag, ""
    if args.pairs is not None:
        path, title = args.out / "pairs_bag", args.pairs.resolve().name
        pairs = FolderPairs(args.pairs, rate_hz=args.rate or 10.0, limit=_PAIRS_LIMIT)
        for note in pairs.notes:
            say(f"note: {note}")
        with progress_bar(total=pairs.frames, unit="image", desc="reading pairs") as bar:
            write_bag(pairs, path, force=True, compress=False, progress=bar.update)
    return BagSource(
        path,
        title=title,
        seconds=args.seconds or 20.0,
        rgb_topic=args.rgb_topic,
        thermal_topic=args.thermal_topic,
        rate_hz=args.rate,
        calibration=args.calibration,
    )


def _draw(args: argparse.Namespace, source: Source, recorder: Recorder, report: RunReport) -> None:
    if not recorder.sheet_sets:
        say("note: no complete set of images was recorded, so there are no pictures")
        return
    first = recorder.sheet_sets[0]
    start_ns, marks = first.stamp_ns, Marks(recorder.marks, first.mask.shape[0])
    draw_sheet(
        args.out / "contact_sheet.png",
        evenly(recorder.sheet_sets, args.rows),
        recorder.classes,
        start_ns=start_ns,
        caption=source.caption,
        title=f"segmif_ros: {source.title}",
        subtitle=_subtitle(report),
        marks=marks,
    )
    if not args.no_video and len(recorder.video_sets) < 2:
        say("note: one complete set of images was recorded, too few for a video; play longer")
    elif not args.no_video:
        draw_video(
            args.out / "demo.mp4",
            recorder.video_sets,
            recorder.classes,
            start_ns=start_ns,
            caption=source.caption,
            marks=marks,
        )


def _subtitle(report: RunReport) -> str:
    parts = [
        f"{report.model.get('model', '')} on {report.model.get('name', 'unknown engine')}",
        f"{report.pairs_out} of {report.pairs_in} pairs at {report.rate_out_hz:.1f} per second",
    ]
    if "total" in report.latency_ms:
        total = report.latency_ms["total"]
        parts.append(f"camera stamp to published: {total.p50:.0f} ms median, {total.p95:.0f} p95")
    parts.append("boxes: colour of the class, id of the object")
    return ",  ".join(parts)


def _verdict(report: RunReport, out: Path, *, video: bool) -> int:
    names = ["contact_sheet.png", *(["demo.mp4"] if video else []), "report.json"]
    written = [str(out / name) for name in names if (out / name).is_file()]
    say("")
    say("wrote " + ", ".join(written))
    next_step("segmif bag make --rgb-video A.mp4 --thermal-video B.mp4 --out my_bag")
    if report.passed:
        return FINE
    worst = max(report.dropped, key=lambda reason: report.dropped[reason], default="nothing came")
    sys.stderr.write(
        f"segmif demo: {report.pairs_out} of {report.pairs_in} pairs came out, fewer than "
        f"{100 * REQUIRED_SHARE:.0f} %; most were {worst}. {_remedy(report, worst)}\n"
    )
    return VERDICT


def _remedy(report: RunReport, worst: str) -> str:
    if worst == NO_PARTNER:
        return (
            "The stamps of the two cameras lie more than 30 ms apart: correct the clocks, or run "
            "segmif_node with thermal_offset_ms or tolerance_ms and play with `segmif bag play`"
        )
    rate = max(0.5, _SLOWER * report.rate_in_hz)
    return f"Run it again with --rate {rate:.1f}, or free the machine of other work"
