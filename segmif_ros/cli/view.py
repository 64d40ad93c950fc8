# SPDX-License-Identifier: Apache-2.0
"""`segmif view`: visible, thermal, fused and classes side by side, in a browser on this machine.

SOURCE is a bag, a folder with visible/ and infrared/, or a folder that `segmif evaluate` wrote.
Bags and folders go through the engine as you look; a bag that holds results of the node shows those
unless --model is given. --live listens to a running node.
"""

from __future__ import annotations

import argparse
import math
import sys
import webbrowser
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from segmif_ros.bundle import Bundle, BundleError
from segmif_ros.cli.console import progress_bar, say
from segmif_ros.cli.managed_process import terminable
from segmif_ros.engines import open_engine
from segmif_ros.engines.base import EngineError
from segmif_ros.pairing import LONGEST_OFFSET_MS, MILLISECOND, PairingConfig
from segmif_ros.perceiver import Perceiver
from segmif_ros.recordings.bags import (
    BagError,
    BagSummary,
    is_bag,
    summarize,
)
from segmif_ros.recordings.clips import ClipError
from segmif_ros.recordings.pairs import BagPairs
from segmif_ros.recordings.topics import camera_topics
from segmif_ros.recordings.video import VideoError
from segmif_ros.registration import Registration, RegistrationError, load_calibration
from segmif_ros.report.pictures import ReportPictures
from segmif_ros.share import resolve_model
from segmif_ros.view.bag_results import RecordedResults, result_topics
from segmif_ros.view.export import export_pictures, export_video
from segmif_ros.view.folder_pairs import FolderReader
from segmif_ros.view.frames import ImageSource, LiveSource, RecordedSource, ViewError
from segmif_ros.view.perceived import PairReader, PerceivedSource
from segmif_ros.view.server import ViewServer

DEFAULT_MODEL = "segmif-nano"
DEFAULT_PORT = 8765
_PATIENCE_S = 3.0
_LIMITS = {
    "every": (1, math.inf),
    "first": (0, math.inf),
    "count": (1, math.inf),
    "threads": (0, 256),
    "port": (0, 65535),
    "tolerance_ms": (0, 1000),
    "thermal_offset_ms": (-LONGEST_OFFSET_MS, LONGEST_OFFSET_MS),
}

EXAMPLES = """
segmif view drive.mcap
segmif view pairs_folder --model models/mine
segmif view --live --node /segmif --rgb-topic /front/image_raw --thermal-topic /flir/image_raw
segmif view drive.mcap --video drive.mp4 --every 3
segmif view drive.mcap --export pictures --first 100 --count 5
"""


def main(argv: Sequence[str]) -> int:
    """Run `segmif view`; 0 done, 1 something cannot be shown or written, 2 wrong use."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.live == (args.source is not None):
        parser.error("give either a SOURCE or --live")
    if args.live and (args.export or args.video):
        parser.error("--export and --video need a recorded SOURCE; record with `segmif bag record`")
    for name, (least, most) in _LIMITS.items():
        value = getattr(args, name)
        if value is not None and not least <= value <= most:
            flag = name.replace("_", "-")
            parser.error(f"--{flag} is {value}; give {least} to {most:g}")
    try:
        with terminable(), closing(_live(args) if args.live else _recorded(args)) as source:
            if args.export or args.video:
                return _write(args, source)
            return _serve(args, source)
    except (ViewError, BagError, ClipError, VideoError, OSError) as err:
        sys.stderr.write(f"segmif view: {err}\n")
    except (BundleError, EngineError, RegistrationError) as err:
        sys.stderr.write(f"segmif view: {err}\n")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="segmif view",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", nargs="?", type=Path, metavar="SOURCE")
    parser.add_argument("--model", help=f"shipped name or bundle folder (default {DEFAULT_MODEL})")
    parser.add_argument("--engine", default="auto", help="engine name (default auto)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads, 0 = all (default)")
    parser.add_argument("--calibration", type=Path, metavar="YAML", help="for unregistered pairs")
    parser.add_argument("--rgb-topic", metavar="TOPIC", help="visible camera, if not guessed")
    parser.add_argument("--thermal-topic", metavar="TOPIC", help="thermal camera, likewise")
    parser.add_argument(
        "--thermal-offset-ms",
        type=float,
        help="added to thermal stamps (default 0; with --live what the node has)",
    )
    parser.add_argument("--tolerance-ms", type=float, default=30.0, help="of a pair (default 30)")
    live = parser.add_argument_group("live")
    live.add_argument("--live", action="store_true", help="show a running node")
    live.add_argument("--node", default="/segmif", help="its full name (default /segmif)")
    page = parser.add_argument_group("page")
    page.add_argument(
        "--port",
        type=int,
        default=DEFAULT_PORT,
        help=f"on 127.0.0.1; 0 takes a free one (default {DEFAULT_PORT})",
    )
    page.add_argument("--open", action="store_true", help="open the page in the browser")
    files = parser.add_argument_group("files instead of a page")
    files.add_argument("--export", type=Path, metavar="DIR", help="write pictures of every frame")
    files.add_argument("--video", type=Path, metavar="MP4", help="write the four panes as a video")
    files.add_argument("--every", type=int, default=1, metavar="N", help="every Nth frame only")
    files.add_argument("--first", type=int, default=0, metavar="N", help="start at frame N")
    files.add_argument("--count", type=int, metavar="N", help="at most N frames")
    return parser


def _recorded(args: argparse.Namespace) -> RecordedSource:
    path: Path = args.source
    if not path.exists():
        raise ViewError(f"{str(path)!r} does not exist; check the path")
    if is_bag(path):
        return _bag(args, path)
    if (path / "report.json").is_file():
        return ReportPictures(path)
    if path.is_dir() and (path / "visible").is_dir():
        return _perceived(args, FolderReader(path))
    raise ViewError(
        f"{str(path)!r} is no bag (.mcap, .db3 or a folder with metadata.yaml), no folder with "
        "visible/ and infrared/, and no report of `segmif evaluate`"
    )


def _bag(args: argparse.Namespace, path: Path) -> ImageSource:
    summary = summarize(path)
    topics = {} if args.model else result_topics(summary)
    rgb, thermal = camera_topics(summary, args.rgb_topic, args.thermal_topic)
    chosen = (rgb.name, thermal.name)
    config = PairingConfig(
        tolerance_ns=round(args.tolerance_ms * MILLISECOND),
        thermal_offset_ns=round((args.thermal_offset_ms or 0.0) * MILLISECOND),
    )
    with progress_bar(total=_images(summary, chosen), unit="image", desc="pairing") as bar:
        pairs = BagPairs(path, *chosen, config, bar.update)
    if not topics:
        return _perceived(args, pairs)
    say(f"{path.name} holds results on {', '.join(topics)}; --model computes them anew")
    registration = _registration(args)
    return RecordedResults(pairs, topics, _load(args).manifest.classes, registration)


def _images(summary: BagSummary, topics: Sequence[str]) -> int:
    return sum(topic.count for topic in summary.topics if topic.name in topics)


def _perceived(args: argparse.Namespace, pairs: PairReader) -> PerceivedSource:
    bundle = _load(args)
    registration = _registration(args)
    engine = open_engine(args.engine, bundle, threads=args.threads, warn=say)
    return PerceivedSource(
        pairs, Perceiver(engine, registration=registration), bundle.manifest.classes
    )


def _load(args: argparse.Namespace) -> Bundle:
    return Bundle.load(resolve_model(args.model or DEFAULT_MODEL))


def _registration(args: argparse.Namespace) -> Registration:
    return Registration(load_calibration(args.calibration) if args.calibration else None)


def _live(args: argparse.Namespace) -> LiveSource:
    from segmif_ros.ros.tools.view_listener import ViewListener

    node = "/" + args.node.strip("/")
    rgb = args.rgb_topic or f"{node}/input/rgb"
    thermal = args.thermal_topic or f"{node}/input/thermal"
    listener = ViewListener(node, rgb, thermal, _registration(args), args.thermal_offset_ms)
    if not listener.wait_for_classes(_PATIENCE_S):
        say(f"note: {node} has not said what its classes are; is it running? Waiting.")
    return listener


def _serve(args: argparse.Namespace, source: RecordedSource | LiveSource) -> int:
    try:
        server = ViewServer(source, args.port)
    except OSError as err:
        raise ViewError(f"port {args.port}: {err.strerror}; choose another with --port") from err
    with closing(server):
        say(f"{source.title}: {server.address}  (ctrl-C ends it)")
        if args.open:
            webbrowser.open(server.address)
        server.serve_forever(poll_interval=0.2)
    return 0


def _write(args: argparse.Namespace, source: RecordedSource | LiveSource) -> int:
    if not isinstance(source, PerceivedSource | RecordedResults):
        raise ViewError("a report's pictures are files already; give the bag or the folder")
    last = len(source) if args.count is None else args.first + args.count * args.every
    indices = range(args.first, min(last, len(source)), args.every)
    if not indices:
        raise ViewError(f"--first {args.first} is behind the last of {len(source)} frames")
    if args.export:
        with progress_bar(total=len(indices), unit="frame", desc="pictures") as bar:
            count = export_pictures(source, indices, args.export, bar.update)
        say(f"wrote {count} frames to {args.export}")
    if args.video:
        with progress_bar(total=len(indices), unit="frame", desc="video") as bar:
            count = export_video(source, indices, args.video, bar.update)
        say(f"wrote {count} frames to {args.video}")
    return 0
