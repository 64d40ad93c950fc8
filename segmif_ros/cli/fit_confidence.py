# SPDX-License-Identifier: Apache-2.0
"""`segmif fit-confidence BUNDLE --dataset PATH`: makes a bundle's confidences true.

The temperatures are fitted on held-out blocks of training pairs, go into the bundle's graph and are
named in its manifest. Masks and fused pictures stay as they are. Definitions: docs/metrics.md.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from segmif_ros.bundle import Bundle
from segmif_ros.cli.command_line import (
    FINE,
    Parser,
    UsageError,
    next_step,
    progress_bar,
    refuse_existing,
    shared,
    whole,
)
from segmif_ros.datasets.classes import list_with
from segmif_ros.datasets.dataset import Dataset, held_out
from segmif_ros.datasets.opening import AUTO, KINDS, open_dataset
from segmif_ros.engines import open_engine
from segmif_ros.frames import Pair
from segmif_ros.metrics.calibration import CalibrationScores
from segmif_ros.perceiver import Perceiver

_BOXED = ("person", "car", "bicycle", "bike")
"""Classes that boxes cover."""


def _fit(args: argparse.Namespace) -> int:
    if args.split.startswith("test"):
        raise UsageError("test pairs are for scoring; name a training split")
    refuse_existing(args, "out")
    from segmif_ros.export.bundle_writer import place_bundle
    from segmif_ros.export.confidence import set_temperatures

    bundle = Bundle.load(args.bundle)
    known = list_with(bundle.manifest.classes)
    own = "fmb15" if known is None else known.name
    dataset = open_dataset(args.kind, args.dataset, args.split, labels=own, annotated=own)
    places = held_out(len(dataset), args.hold_out_every) or list(range(len(dataset)))
    with tempfile.TemporaryDirectory() as scratch:
        # Temperatures are of the network's own confidences, not of those that were changed.
        plain = Path(scratch) / "bundle"
        shutil.copytree(bundle.path, plain)
        scores = counted(set_temperatures(Bundle.load(plain), {}), dataset, places, args)
    names = {label.id: label.name for label in bundle.manifest.classes}
    temperatures = scores.temperatures(names)
    if args.out is not None:
        bundle = place_bundle(bundle, args.out)
    set_temperatures(bundle, temperatures)
    print(f"{len(places)} of {len(dataset)} pairs; {bundle.path}:")
    for name, figures in scores.summary(names)["all"].items():
        print(
            f"  {name:<14} temperature {temperatures.get(name, 1.0):<6g} error before "
            f"{figures['error']:.3f} (accuracy {figures['accuracy']:.2f}, confidence "
            f"{figures['confidence']:.2f}, {figures['pixels']} pixels)"
        )
    next_step(f"segmif evaluate --dataset PATH --model {bundle.path} --out scores")
    return FINE


def counted(
    bundle: Bundle, dataset: Dataset, places: Sequence[int], args: argparse.Namespace
) -> CalibrationScores:
    """Run the network on these pairs and count.

    Raises:
        DatasetError, EngineError: a pair cannot be read, or the engine does not open.
    """
    scores = CalibrationScores()
    known = list_with(bundle.manifest.classes)
    classes = [label.id for label in known.classes if label.id not in known.ignore] if known else []
    boxed = [label.id for label in bundle.manifest.classes if label.name in _BOXED]
    perceiver = Perceiver(open_engine(args.engine, bundle, threads=args.threads))
    try:
        with progress_bar(total=len(places), unit="pair") as bar:
            for place in places:
                sample = dataset[place]()
                seen = perceiver.perceive(Pair(sample.rgb, sample.thermal, 1, 1))
                scores.add(
                    seen.mask,
                    seen.confidence,
                    truth=sample.labels,
                    classes=classes,
                    boxes=sample.boxes,
                    boxed=boxed,
                    split=sample.when,
                )
                bar.update()
    finally:
        perceiver.close()
    return scores


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(
        "segmif fit-confidence",
        "segmif fit-confidence models/mine --dataset DATA/msrs --hold-out-every 10",
        work=_fit,
        expected=(ValueError,),
        description=__doc__,
    )
    shared(made, "bundle")
    made.add_argument("--dataset", type=Path, required=True, metavar="PATH", help="its folder")
    made.add_argument("--kind", choices=(AUTO, *KINDS), default=AUTO, help="layout")
    made.add_argument("--split", default="train", metavar="NAME", help="part of it")
    made.add_argument(
        "--hold-out-every",
        type=whole(0),
        default=0,
        metavar="N",
        help="only the blocks that a recipe with this hold_out_every kept from training; 0: all",
    )
    shared(made, "--engine", "--threads")
    shared(
        made, "--out", metavar="BUNDLE", help="write a copy (default: the bundle itself changes)"
    )
    shared(made, "--force")
    return made
