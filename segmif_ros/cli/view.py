# SPDX-License-Identifier: Apache-2.0
"""`segmif view`: visible, thermal, fused and classes side by side, in a browser on this machine.

SOURCE is a bag, a folder with visible/ and infrared/, or a folder that `segmif evaluate` wrote.
Bags and folders go through the engine as you look; a bag that holds results of the node shows those
unless --model is given. --live listens to a running node.
"""

from __future__ import annotations

import argparse
import webbrowser
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from segmif_ros.bundle import Bundle
from segmif_ros.cli.command_line import (
    FINE,
    Parser,
    UsageError,
    progress_bar,
    refuse_existing,
    say,
    shared,
    whole,
)
from segmif_ros.cli.managed_process import terminable
from segmif_ros.engines import open_engine
from segmif_ros.pairing import LONGEST_OFFSET_MS, MILLISECOND, PairingConfig
from segmif_ros.perceiver import Perceiver
from segmif_ros.recordings.bags import (
    BagSummary,
    is_bag,
    summarize,
)
from segmif_ros.recordings.clips import FolderPairs
from segmif_ros.recordings.pairs import BagPairs
from segmif_ros.recordings.topics import camera_topics
from segmif_ros.registration import Registration, load_calibration
from segmif_ros.report.pictures import ReportPictures
from segmif_ros.share import resolve_model
from segmif_ros.thermal import ThermalNormaliser, ThermalSettings
from segmif_ros.view.export import export_pictures, export_video
from segmif_ros.view.frames import ImageSource, LiveSource, RecordedSource, ViewError
from segmif_ros.view.perceived import PairReader, PerceivedSource, RecordedResults, result_topics
from segmif_ros.view.server import ViewServer

DEFAULT_MODEL = "segmif-nano"
DEFAULT_PORT = 8765
_PATIENCE_S = 3.0
_LIMITS = {
    "tolerance_ms": (0, 1000),
    "thermal_offset_ms": (-LONGEST_OFFSET_MS, LONGEST_OFFSET_MS),
}

_EXAMPLE = """
segmif view drive.mcap
segmif view pairs_folder --model models/mine
segmif view --live --node /segmif --rgb-topic /front/image_raw --thermal-topic /flir/image_raw
segmif view drive.mcap --write-video drive.mp4 --every 3
segmif view drive.mcap --write-pictures pictures --start 100 --limit 5
"""


def _check(args: argparse.Namespace) -> None:
    if args.live == (args.source is not None):
        raise UsageError("give either a SOURCE or --live")
    if args.live and (args.write_pictures or args.write_video):
        raise UsageError(
            "--write-pictures and --write-video need a recorded SOURCE; record with "
            "`segmif bag record`"
        )
    for name, (least, most) in _LIMITS.items():
        value = getattr(args, name)
        if value is not None and not least <= value <= most:
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag} is {value}; give {least} to {most:g}")


def _view(args: argparse.Namespace) -> int:
    files = args.write_pictures or args.write_video
    refuse_existing(args, "write_pictures", "write_video")
    with terminable(), closing(_live(args) if args.live else _recorded(args)) as source:
        return _write(args, source) if files else _serve(args, source)


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser("segmif view", _EXAMPLE, work=_view, check=_check, description=__doc__)
    made.add_argument(
        "source", nargs="?", type=Path, metavar="SOURCE",
        help="bag, folder with visible/ and infrared/, or report",
    )  # fmt: skip
    shared(
        made, "--model", default=None,
        help=f"folder of a model bundle, or the name of a shipped one (default: {DEFAULT_MODEL})",
    )  # fmt: skip
    shared(made, "--engine", "--threads", "--calibration", "--rgb-topic", "--thermal-topic")
    made.add_argument(
        "--thermal-offset-ms",
        type=float,
        metavar="MS",
        help="added to thermal stamps (default: 0; with --live what the node has)",
    )
    for name, of_what in (("scale", "degrees a count"), ("offset", "degrees at 0 counts")):
        made.add_argument(
            f"--thermal-{name}", type=float, metavar="X",
            help=f"{of_what}, as the node's parameter (default: counts; with --live what it has)",
        )  # fmt: skip
    made.add_argument(
        "--tolerance-ms", type=float, default=30.0, metavar="MS", help="between stamps of a pair"
    )
    live = made.add_argument_group("live")
    live.add_argument("--live", action="store_true", help="show a running node")
    live.add_argument("--node", default="/segmif", metavar="NAME", help="its full name")
    page = made.add_argument_group("page")
    page.add_argument(
        "--port", type=whole(0, 65535), default=DEFAULT_PORT, metavar="N",
        help="on 127.0.0.1; 0 takes a free one",
    )  # fmt: skip
    page.add_argument("--open", action="store_true", help="open the page in the browser")
    files = made.add_argument_group("files instead of a page")
    files.add_argument(
        "--write-pictures", type=Path, metavar="FOLDER", help="write pictures of every frame"
    )
    files.add_argument(
        "--write-video", type=Path, metavar="MP4", help="write the four panes as a video"
    )
    shared(files, "--start", "--limit", "--every", "--force")
    return made


def _recorded(args: argparse.Namespace) -> RecordedSource:
    path: Path = args.source
    if not path.exists():
        raise ViewError(f"{str(path)!r} does not exist; check the path")
    if is_bag(path):
        return _bag(args, path)
    if (path / "report.json").is_file():
        return ReportPictures(path)
    if path.is_dir() and (path / "visible").is_dir():
        return _perceived(args, FolderPairs(path))
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
    say(f"{path.name} holds results on {', '.join(topics)}; --model computes them again")
    registration = _registration(args)
    classes = _load(args).manifest.classes
    return RecordedResults(pairs, topics, classes, registration, _thermal(args))


def _images(summary: BagSummary, topics: Sequence[str]) -> int:
    return sum(topic.count for topic in summary.topics if topic.name in topics)


def _perceived(args: argparse.Namespace, pairs: PairReader) -> PerceivedSource:
    bundle = _load(args)
    registration = _registration(args)
    engine = open_engine(args.engine, bundle, threads=args.threads, on_warning=say)
    perceiver = Perceiver(engine, ThermalNormaliser(_thermal(args)), registration)
    source = PerceivedSource(pairs, perceiver, bundle.manifest.classes)
    facts = perceiver.engine.describe()
    with_what = ", ".join(facts[name] for name in ("runtime", "precision") if facts.get(name))
    source.title = f"{source.title}: {bundle.manifest.name} on {with_what}"
    return source


def _load(args: argparse.Namespace) -> Bundle:
    return Bundle.load(resolve_model(args.model or DEFAULT_MODEL))


def _registration(args: argparse.Namespace) -> Registration:
    return Registration(load_calibration(args.calibration) if args.calibration else None)


def _thermal(args: argparse.Namespace) -> ThermalSettings | None:
    """Return scale and offset of the temperatures, None without these options."""
    scale, offset = args.thermal_scale, args.thermal_offset
    if scale is None and offset is None:
        return None
    return ThermalSettings(scale=1.0 if scale is None else scale, offset=offset or 0.0)


def _live(args: argparse.Namespace) -> LiveSource:
    from segmif_ros.ros.tools.view_listener import ViewListener

    node = "/" + args.node.strip("/")
    rgb = args.rgb_topic or f"{node}/input/rgb"
    thermal = args.thermal_topic or f"{node}/input/thermal"
    scale = _thermal(args)
    listener = ViewListener(node, rgb, thermal, _registration(args), args.thermal_offset_ms, scale)
    if not listener.wait_for_classes(_PATIENCE_S):
        say(f"note: {node} has not published its classes; check that it is running. Waiting.")
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
    return FINE


def _write(args: argparse.Namespace, source: RecordedSource | LiveSource) -> int:
    if not isinstance(source, PerceivedSource | RecordedResults):
        raise ViewError("a report's pictures are files already; give the bag or the folder")
    last = len(source) if args.limit is None else args.start + args.limit * args.every
    indices = range(args.start, min(last, len(source)), args.every)
    if not indices:
        raise ViewError(f"--start {args.start} is behind the last of {len(source)} frames")
    if args.write_pictures:
        with progress_bar(total=len(indices), unit="frame", desc="pictures") as bar:
            count = export_pictures(source, indices, args.write_pictures, bar.update)
        say(f"wrote {count} frames to {args.write_pictures}")
    if args.write_video:
        with progress_bar(total=len(indices), unit="frame", desc="video") as bar:
            count = export_video(source, indices, args.write_video, bar.update)
        say(f"wrote {count} frames to {args.write_video}")
    return FINE
