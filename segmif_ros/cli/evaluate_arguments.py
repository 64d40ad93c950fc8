# SPDX-License-Identifier: Apache-2.0
"""The command line of `segmif evaluate`, and the settings and thresholds that it stands for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segmif_ros.cli.command_line import Parser, UsageError, shared, whole
from segmif_ros.datasets.opening import AUTO, KINDS
from segmif_ros.documents import DocumentError, read_yaml
from segmif_ros.evaluation.settings import (
    LIGHTS,
    METRICS_EVERY,
    NODE,
    ROWS,
    DriveSettings,
    SettingsError,
    node_parameters,
    with_parameters,
)
from segmif_ros.parameters import SPECS
from segmif_ros.report.verdict import Requirement, RequirementError, requirement
from segmif_ros.share import resolve_model
from segmif_ros.thermal import THERMAL_MODES

_LIMITS: Sequence[tuple[str, str, str, str, str]] = (
    ("min_miou", "miou", "segmentation.rows.fused.all.protocols.{protocol}", ">=", "0 to 1"),
    ("max_drop", "lost pairs", "pairs.lost_share", "<=", "share of the pairs, 0 to 1"),
    (
        "max_flicker",
        "flicker",
        "flicker.ratio",
        "<=",
        "flicker of the fused image over that of the worse input",
    ),
    ("min_ssim", "SSIM", "fusion.all.fused.SSIM", ">=", "of the fused image with both inputs"),
)
"""Option, name in the report, path in the report, comparison, meaning."""

_OFTEN_GIVEN = (
    *("tolerance_ms", "max_wait_ms", "thermal_offset_ms", "rgb_offset_ms"),
    "confidence_threshold",
)
"""Parameters of the node that are options too; text and default are those of the node."""


SHIPPED = "segmif-nano"
"""The model if none is named."""

_OF_DRIVES = (
    *("rgb_topic", "thermal_topic", "params", "node", "calibration", "thermal_mode"),
    *_OFTEN_GIVEN,
    *("labels", "rows", "light", "max_drop", "max_flicker", "max_skipped", "jobs", "scheduler"),
    *("resume", "write_bag", "no_bag_inputs", "points_topic", "live"),
)
_OF_DATASETS = ("kind", "split", "classes", "fused", "worst")

_EXAMPLE = """
segmif evaluate drive.mcap --out report --labels /rgb/labels --min-miou 0.5
segmif evaluate --dataset DATA/fmb --model segmif-nano --out scores
"""


def check(args: argparse.Namespace) -> None:
    """Refuse what does not go together.

    Raises:
        UsageError: with the options.
    """
    if args.dataset is not None and args.bags:
        raise UsageError("give bags, or a data set with --dataset, not both")
    if args.dataset is None and not (args.bags and args.out):
        raise UsageError("give bags and --out DIR, or a data set with --dataset PATH")
    if args.force and args.resume:
        raise UsageError(
            "give --force or --resume: one does all again, the other keeps what is done"
        )
    defaults = evaluate_parser()
    foreign, things = (_OF_DATASETS, "a data set") if args.dataset is None else (_OF_DRIVES, "bags")
    for name in foreign:
        if getattr(args, name) != defaults.get_default(name):
            raise UsageError(f"{_option(name)} goes with {things} only")


def refusal(args: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of `own_folder` about an earlier result."""
    if args.force or args.resume:
        return {}
    resume = "" if args.dataset else "--resume continues it, "
    advice = f"{resume}--force replaces it, or choose another folder with --out"
    return {"refused": names, "advice": advice}


def evaluate_parser(**options: Any) -> Parser:
    """Return the parser, with options as of `Parser`."""
    made = Parser("segmif evaluate", _EXAMPLE, **options)
    made.add_argument("bags", type=Path, nargs="*", metavar="BAG", help="bag, or folder of bags")
    shared(made, "--out", metavar="FOLDER", help="folder of the report")
    model = made.add_argument_group("model")
    shared(model, "--model", default=None, help=f"folder or shipped name (default: {SHIPPED})")
    shared(model, "--engine", default=None, help="runtime of the network (default: auto)")
    shared(model, "--threads", default=None, help="CPU threads (default: all cores)")
    _add_dataset(made)
    _add_input(made)
    _add_truth(made)
    _add_verdict(made)
    many = made.add_argument_group("many bags")
    many.add_argument("--jobs", type=whole(1), default=1, metavar="N", help="processes")
    many.add_argument(
        "--scheduler", metavar="ADDRESS", help="Dask scheduler, for example tcp://host:8786"
    )
    shared(many, "--force")
    many.add_argument(
        "--resume", action="store_true", help="continue: bags that an earlier run finished are kept"
    )
    out = made.add_argument_group("more output")
    out.add_argument(
        "--write-bag",
        type=Path,
        metavar="PATH",
        help="write the results as a bag; of several bags, a folder of them",
    )
    out.add_argument(
        "--no-bag-inputs", action="store_true", help="leave the camera images out of that bag"
    )
    out.add_argument(
        "--points-topic",
        metavar="TOPIC",
        help="LiDAR clouds or depth images that are labelled in that bag (the only such topic)",
    )
    out.add_argument(
        "--live",
        action="store_true",
        help="play the bag to a real node over DDS: adds latency and loss, takes as long as it is",
    )
    return made


def _add_dataset(made: Parser) -> None:
    data = made.add_argument_group("data set, instead of bags")
    data.add_argument(
        "--dataset", type=Path, metavar="PATH", help="its folder; rig: the virtual rig"
    )
    data.add_argument("--kind", choices=(AUTO, *KINDS), default=AUTO, help="layout")
    data.add_argument(
        "--split", metavar="NAME", help="part of it (default: test, else val, else all)"
    )
    shared(data, "--classes", help="class list of a plain folder's or a bag's labels")
    data.add_argument(
        "--fused",
        action="append",
        default=[],
        metavar="[NAME=]FOLDER",
        help="fused images of another method, scored as well; may be repeated",
    )
    data.add_argument(
        "--worst", type=whole(0), default=8, metavar="N", help="pairs with the lowest scores shown"
    )


def _add_input(made: Parser) -> None:
    given = made.add_argument_group("input, as the node's parameters of the same names")
    shared(given, "--rgb-topic", "--thermal-topic")
    given.add_argument("--params", type=Path, metavar="YAML", help="parameter file of the node")
    given.add_argument(
        "--node", default=NODE, metavar="NAME", help="full name of the node that --params is for"
    )
    shared(given, "--calibration", type=str)
    given.add_argument("--thermal-mode", choices=THERMAL_MODES, help="16 bits to 8 (default: auto)")
    for name in _OFTEN_GIVEN:
        spec = SPECS[name]
        meaning = f"{spec.text.rstrip('.')} (default: {spec.default:g})"
        given.add_argument(_option(name), type=float, metavar="X", help=meaning)
    shared(given, "--limit", help="at most N pairs, of each bag")


def _add_truth(made: Parser) -> None:
    truth = made.add_argument_group("truth and measures")
    truth.add_argument(
        "--labels",
        metavar="TOPIC|FOLDER",
        help="label images: a topic of the bag, or a folder of masks named by stamp or number",
    )
    truth.add_argument(
        "--boxes",
        type=Path,
        metavar="FOLDER",
        help="text files: class cx cy w h (boxes/ of a data set)",
    )
    truth.add_argument(
        "--box-classes",
        default="",
        metavar="NAMES",
        help="names of the ids in box files, from 0: person,bicycle,car; - leaves one out "
        "(default: bags: the ids are the model's; data sets: classes.txt beside them, else "
        "person,bicycle,car)",
    )
    truth.add_argument(
        "--protocol",
        metavar="NAMES",
        help="scoring protocols (default: those of the model's classes)",
    )
    truth.add_argument(
        "--rows",
        choices=ROWS,
        default="auto",
        help="run the network on each camera alone too; auto: where there are labels",
    )
    truth.add_argument(
        "--light",
        choices=LIGHTS,
        default="auto",
        help="split of the scores; auto: by the brightness of each visible image",
    )
    truth.add_argument(
        "--metrics-every",
        type=whole(1),
        metavar="N",
        help=f"measure fusion on every Nth pair (default: {METRICS_EVERY}, or less for 20 pairs "
        "of a short drive; of a data set 1)",
    )


def _add_verdict(made: Parser) -> None:
    limits = made.add_argument_group("verdict (exit code 3 if one is missed)")
    for name, _, _, _, meaning in _LIMITS:
        limits.add_argument(_option(name), type=float, metavar="X", help=meaning)
    limits.add_argument(
        "--require",
        action="append",
        default=[],
        metavar="LIMIT",
        help="any number of the report: 'fusion.all.fused.VIF>=0.6'; may be repeated",
    )
    limits.add_argument(
        "--max-skipped",
        type=int,
        default=0,
        metavar="N",
        help="bags that may be damaged or without pairs",
    )


def settings_of(args: argparse.Namespace) -> DriveSettings:
    """Return the settings that a command line stands for: an option wins over --params.

    Raises:
        SettingsError: a value that cannot be used.
        OSError: there is no such model.
    """
    values: dict[str, Any] = {}
    if args.params is not None:
        try:
            values = node_parameters(read_yaml(args.params), f"/{args.node.strip('/')}")
        except (DocumentError, SettingsError) as err:
            raise SettingsError(f"--params {args.params}: {err}") from err
    options = {name: name for name in ("model", "engine", "thermal_mode", *_OFTEN_GIVEN)}
    for name, option in {**options, "engine_threads": "threads"}.items():
        if getattr(args, option) is not None:
            values[name] = getattr(args, option)
    calibration = args.calibration or values.get("calibration_file") or None
    labels, topic = args.labels, None
    if labels is not None and labels.startswith("/") and not Path(labels).is_dir():
        labels, topic = None, labels
    return with_parameters(
        values,
        model=str(resolve_model(str(values.get("model", SHIPPED))).resolve()),
        rgb_topic=args.rgb_topic,
        thermal_topic=args.thermal_topic,
        label_topic=topic,
        labels=_absolute(labels),
        boxes=_absolute(args.boxes),
        box_classes=tuple(n.strip() for n in args.box_classes.split(",") if n.strip()),
        protocol=args.protocol,
        calibration=_absolute(calibration),
        rows=args.rows,
        light=args.light,
        metrics_every=METRICS_EVERY if args.metrics_every is None else args.metrics_every,
        limit=args.limit,
        write_bag=_absolute(args.write_bag),
        bag_inputs=not args.no_bag_inputs,
        points_topic=args.points_topic,
    )


def requirements(args: argparse.Namespace, protocol: str = "") -> list[Requirement]:
    """Return the thresholds of a command line.

    Args:
        args: parsed.
        protocol: name of the first scoring protocol, for --min-miou.

    Raises:
        RequirementError: a threshold that cannot be read or that nothing is measured for.
    """
    wanted = []
    for option, name, path, how, _ in _LIMITS:
        value = getattr(args, option)
        if value is None:
            continue
        if option == "min_miou" and not protocol:
            raise RequirementError("--min-miou needs --labels: without truth there is no mIoU")
        wanted.append(Requirement(name, path.format(protocol=protocol), how, value))
    return wanted + [requirement(text) for text in args.require]


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _absolute(path: object) -> str | None:
    return None if path is None else str(Path(str(path)).expanduser().resolve())
