# SPDX-License-Identifier: Apache-2.0
"""`segmif evaluate --dataset PATH`: scores a bundle on pairs with labels or boxes.

The network runs three times on every pair: with both cameras, and with either one lost, blanked as
the node blanks it. Fusion metrics have a row for each input as well, and for other methods whose
fused images are given. What every number means: docs/metrics.md.

Exit codes: 0 passed, or no threshold given; 1 could not run; 2 wrong use; 3 a threshold was missed;
130 interrupted (what was scored until then is written).
"""

from __future__ import annotations

import argparse
import itertools
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from segmif_ros.bundle import Bundle, BundleError
from segmif_ros.cli.console import progress_bar, say
from segmif_ros.datasets.classes import list_with
from segmif_ros.datasets.dataset import Dataset
from segmif_ros.datasets.opening import AUTO, KINDS, open_dataset
from segmif_ros.datasets.protocol import Protocol, list_of, load_protocol, protocols_of
from segmif_ros.datasets.sample import DatasetError
from segmif_ros.engines import ENGINES, open_engine
from segmif_ros.engines.base import EngineError
from segmif_ros.evaluation.dataset_scores import DatasetScores, WorstPairs, score_pairs
from segmif_ros.evaluation.other_methods import fused_images
from segmif_ros.evaluation.verdict import (
    Requirement,
    RequirementError,
    requirement,
    verdict,
)
from segmif_ros.interrupts import STOP_SIGNALS
from segmif_ros.metrics.tally import ROWS
from segmif_ros.outputs import OutputError, own_folder
from segmif_ros.perceiver import FAR_PASSES, Perceiver
from segmif_ros.report.dataset_report import FILES, SCORES_FILE, dataset_report, to_text, write
from segmif_ros.share import resolve_model

DONE, FAILED, USAGE, MISSED, STOPPED = 0, 1, 2, 3, 130
"""Exit codes."""

RIG_SCENES = 60
"""Scenes of the virtual rig that are scored unless --limit says otherwise; it never ends."""

_HELD_BACK = ("test", "testing", "val", "validation", "valid")
"""Splits that are scored if none is named, the first that is there."""


def main(argv: Sequence[str]) -> int:
    """Score, print tables, write files if asked, and return the exit code."""
    args = _parser().parse_args(argv)
    if args.out is None:
        return _scored(args)
    others = (folder.rpartition("=")[2] for folder in args.fused)
    inputs = (args.dataset, args.boxes, args.model, *others)
    try:
        with own_folder(args.out, FILES, inputs):
            return _scored(args)
    except (OutputError, OSError) as err:
        sys.stderr.write(f"segmif evaluate: --out: {err}\n")
        return USAGE


def _scored(args: argparse.Namespace) -> int:
    try:
        wanted = _requirements(args)
        bundle = Bundle.load(resolve_model(args.model))
        dataset, protocols = _open(args, bundle)
        translation = protocols[0].prediction_table(bundle.manifest.classes)
        others = {name: fused_images(folder) for name, folder in map(_named, args.fused)}
    except (RequirementError, BundleError, DatasetError, OSError, ValueError) as err:
        sys.stderr.write(f"segmif evaluate: {err}\n")
        return USAGE
    scores, worst = DatasetScores(protocols, args.metrics_every), WorstPairs(args.worst)
    entries = dataset.entries[: _limit(args, dataset)]
    try:
        engine = open_engine(args.engine, bundle, threads=args.engine_threads)
        facts, perceiver = engine.describe(), Perceiver(engine, far_pass=args.far_pass)
        try:
            with (
                stopping() as stop,
                progress_bar(total=len(entries), unit="pair") as bar,
            ):
                score_pairs(
                    itertools.takewhile(lambda _: not stop.is_set(), entries),
                    perceiver,
                    scores,
                    translation,
                    others=others,
                    worst=worst,
                    progress=bar.update,
                )
        finally:
            perceiver.close()
        partial = f"stopped after {len(scores.pairs)} of {len(entries)}" if stop.is_set() else None
        report = dataset_report(scores, dataset, bundle.manifest, facts, list(others))
        report |= {"partial": partial, "verdict": verdict(report, wanted(protocols))}
        say(to_text(report))
        if args.out is not None:
            say("wrote " + ", ".join(map(str, write(args.out, report, scores, worst))))
    except (DatasetError, EngineError, ValueError, OSError) as err:
        sys.stderr.write(f"segmif evaluate: {err}\n")
        return FAILED
    if partial:
        return STOPPED
    return MISSED if report["verdict"]["passed"] is False else DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="segmif evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    data = parser.add_argument_group("data set")
    data.add_argument(
        "--dataset",
        type=Path,
        required=True,
        metavar="PATH",
        help="its folder; rig: the virtual rig",
    )
    data.add_argument("--kind", choices=(AUTO, *KINDS), default=AUTO, help="layout (auto)")
    data.add_argument("--split", help="part of it (test, else val, else all)")
    data.add_argument(
        "--annotated", metavar="LIST", help="class list of a plain folder's or a bag's labels"
    )
    data.add_argument(
        "--boxes", type=Path, metavar="DIR", help="box files named after the pairs (its boxes/)"
    )
    data.add_argument(
        "--box-classes",
        metavar="NAMES",
        help="class names in the order of the ids in box files, with commas, '-' for boxes to "
        "leave out (classes.txt beside them, else person,bicycle,car)",
    )
    data.add_argument("--limit", type=_count, metavar="N", help="the first N pairs only")
    model = parser.add_argument_group("model")
    model.add_argument("--model", default="segmif-nano", help="shipped name or bundle folder")
    model.add_argument("--engine", choices=ENGINES, default="auto", help="runtime (auto)")
    model.add_argument("--engine-threads", type=int, default=0, metavar="N", help="(all)")
    model.add_argument(
        "--far-pass", choices=FAR_PASSES, default="off", help="run it on the middle at 2x as well"
    )
    score = parser.add_argument_group("scores")
    score.add_argument(
        "--protocol", metavar="NAMES", help="scoring protocols, with commas (the data set's own)"
    )
    score.add_argument(
        "--fused",
        action="append",
        default=[],
        metavar="[NAME=]FOLDER",
        help="fused images of another method, scored as well; may be repeated",
    )
    score.add_argument(
        "--metrics-every", type=_count, default=1, metavar="N", help="fusion on every Nth pair (1)"
    )
    limits = parser.add_argument_group("thresholds (exit code 3 if one is missed)")
    limits.add_argument("--min-miou", type=float, metavar="X", help="by the first protocol, 0 to 1")
    limits.add_argument("--min-ssim", type=float, metavar="X", help="of the fused images")
    limits.add_argument(
        "--require",
        action="append",
        default=[],
        metavar="LIMIT",
        help=f"any number of {SCORES_FILE}: 'boxes.fused.night.person.hit>=0.7'; may be repeated",
    )
    out = parser.add_argument_group("output")
    out.add_argument(
        "--out", type=Path, metavar="DIR", help=f"folder for {SCORES_FILE} and pictures"
    )
    out.add_argument("--worst", type=int, default=8, metavar="N", help="rows of the sheet (8)")
    return parser


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """Set an event at Ctrl-C or SIGTERM, so that the pair at hand is still counted whole."""
    event = threading.Event()
    numbers = STOP_SIGNALS
    before = {number: signal.signal(number, lambda *_: event.set()) for number in numbers}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _open(args: argparse.Namespace, bundle: Bundle) -> tuple[Dataset, tuple[Protocol, ...]]:
    """Open the data set with labels in the class list of the protocols."""
    known = list_with(bundle.manifest.classes)
    annotated = args.annotated or (known.name if known else "fmb15")
    if args.protocol:
        names = [name.strip() for name in args.protocol.split(",")]
        protocols = tuple(load_protocol(name) for name in names)
        lists = sorted({list_of(name) for name in names})
        if len(lists) > 1:
            raise ValueError(
                f"protocols of {' and '.join(lists)} count other classes; score by one at a time"
            )
        return _part(args, annotated=args.annotated or lists[0], labels=lists[0]), protocols
    dataset = _part(args, annotated=annotated)
    return dataset, protocols_of(dataset.class_list)


def _part(args: argparse.Namespace, *, annotated: str, labels: str | None = None) -> Dataset:
    """Open the split that was named, else the one that is there to be scored on."""
    split = args.split
    names = None if args.box_classes is None else args.box_classes.split(",")

    def part(split: str | None) -> Dataset:
        return open_dataset(
            args.kind,
            args.dataset,
            split,
            labels=labels,
            annotated=annotated,
            boxes=args.boxes,
            box_classes=None if names is None else [name.strip() for name in names],
        )

    whole = part(split)
    if split is None:
        split = next((part for part in _HELD_BACK if part in whole.splits), None)
    return whole if split == whole.split else part(split)


def _limit(args: argparse.Namespace, dataset: Dataset) -> int | None:
    default = RIG_SCENES if dataset.kind == "rig" else None
    return default if args.limit is None else int(args.limit)


def _named(given: str) -> tuple[str, Path]:
    name, equals, folder = given.partition("=")
    path = Path(folder if equals else given)
    row = name if equals else path.resolve().name
    if row in ROWS:
        raise ValueError(f"--fused {given}: {row!r} is a row of every table; write NAME={path}")
    return row, path


def _requirements(
    args: argparse.Namespace,
) -> Callable[[Sequence[Protocol]], list[Requirement]]:
    """Read the thresholds now, and name the protocol when it is known."""
    others = [requirement(text) for text in args.require]
    if args.min_ssim is not None:
        others.insert(0, Requirement("SSIM", "fusion.all.fused.SSIM", ">=", args.min_ssim))

    def made(protocols: Sequence[Protocol]) -> list[Requirement]:
        if args.min_miou is None:
            return others
        path = f"segmentation.rows.fused.all.protocols.{protocols[0].name}"
        return [Requirement("miou", path, ">=", args.min_miou), *others]

    return made


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected 1 or more")
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
