# SPDX-License-Identifier: Apache-2.0
"""`segmif evaluate --dataset PATH`: scores a bundle on pairs with labels or boxes."""

from __future__ import annotations

import argparse
import itertools
import threading
import time
from pathlib import Path

from segmif_ros.bundle import Bundle
from segmif_ros.cli.command_line import (
    FINE,
    INTERRUPTED,
    VERDICT,
    UsageError,
    next_step,
    progress_bar,
    say,
)
from segmif_ros.cli.evaluate_arguments import SHIPPED, refusal, requirements
from segmif_ros.datasets.classes import list_with
from segmif_ros.datasets.dataset import Dataset
from segmif_ros.datasets.opening import open_dataset
from segmif_ros.datasets.protocol import Protocol, list_of, load_protocol, protocols_of
from segmif_ros.engines import open_engine
from segmif_ros.evaluation.dataset_scores import (
    DatasetScores,
    WorstPairs,
    fused_images,
    score_pairs,
)
from segmif_ros.interrupts import stopping
from segmif_ros.metrics.tally import ROWS
from segmif_ros.outputs import own_folder
from segmif_ros.perceiver import Perceiver
from segmif_ros.report.dataset_report import FILES, dataset_report, to_text, write

RIG_SCENES = 60
"""Scenes of the virtual rig that are scored unless --limit says otherwise; it never ends."""

_HELD_BACK = ("test", "testing", "val", "validation", "valid")
"""Splits that are scored if none is named, the first that is there."""


def evaluate_dataset(args: argparse.Namespace) -> int:
    """Score, print tables, write files if requested, and return the exit code.

    Args:
        args: that `evaluate_arguments.check` passed.
    """
    if args.out is None:
        return _scored(args)
    others = (folder.rpartition("=")[2] for folder in args.fused)
    inputs = (args.dataset, args.boxes, args.model or SHIPPED, *others)
    with own_folder(args.out, FILES, inputs, **refusal(args, FILES)):
        return _scored(args)


def _scored(args: argparse.Namespace) -> int:
    bundle = Bundle.load(args.model or SHIPPED)
    dataset, protocols = _open(args, bundle)
    translation = protocols[0].prediction_table(bundle.manifest.classes)
    wanted = requirements(args, protocols[0].name)
    others = {name: fused_images(folder) for name, folder in map(_named, args.fused)}
    scores, worst = DatasetScores(protocols, args.metrics_every or 1), WorstPairs(args.worst)
    entries = dataset.entries[: _limit(args, dataset)]
    started = time.perf_counter()
    engine = open_engine(args.engine or "auto", bundle, threads=args.threads or 0)
    facts = {"name": engine.name, **engine.describe()}
    perceiver = Perceiver(engine)
    try:
        with (
            stopping(threading.Event()) as stop,  # the current pair is still counted
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
    report = dataset_report(
        scores,
        dataset,
        bundle.manifest,
        facts,
        list(others),
        wall_s=time.perf_counter() - started,
        partial=partial,
        requirements=wanted,
    )
    say(to_text(report))
    if args.out is not None:
        say("wrote " + ", ".join(map(str, write(args.out, report, scores, worst))))
        next_step(f"segmif view {args.out}")
    if partial:
        return INTERRUPTED
    return VERDICT if report["verdict"]["passed"] is False else FINE


def _open(args: argparse.Namespace, bundle: Bundle) -> tuple[Dataset, tuple[Protocol, ...]]:
    """Open the data set with labels in the class list of the protocols."""
    known = list_with(bundle.manifest.classes)
    annotated = args.classes or (known.name if known else "fmb15")
    if args.protocol:
        names = [name.strip() for name in args.protocol.split(",")]
        protocols = tuple(load_protocol(name) for name in names)
        lists = sorted({list_of(name) for name in names})
        if len(lists) > 1:
            raise UsageError(
                f"protocols of {' and '.join(lists)} count other classes; score by one at a time"
            )
        return _part(args, annotated=args.classes or lists[0], labels=lists[0]), protocols
    dataset = _part(args, annotated=annotated)
    return dataset, protocols_of(dataset.class_list)


def _part(args: argparse.Namespace, *, annotated: str, labels: str | None = None) -> Dataset:
    """Open the split that was named, else the one that is there to be scored on."""
    split = args.split
    names = args.box_classes.split(",") if args.box_classes else None

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
        raise UsageError(f"--fused {given}: {row!r} is a row of every table; write NAME={path}")
    return row, path
