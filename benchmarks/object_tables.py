# SPDX-License-Identifier: Apache-2.0
"""The tables of docs/objects.md: what the cut of groups gains, and how good objects are.

    python benchmarks/object_tables.py MSRS MSRS_VAL [--model segmif-nano]

MSRS is the folder of road pairs with boxes that people drew; of it only the train list is read, for
the first table. MSRS_VAL holds the pairs that no training saw; they are scored as they are, and
nothing is chosen on them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from unittest.mock import patch

import numpy as np

from segmif_ros.bundle import Bundle
from segmif_ros.datasets.opening import open_dataset
from segmif_ros.datasets.sample import Sample
from segmif_ros.engines import open_engine
from segmif_ros.frames import Pair
from segmif_ros.metrics.objects import ObjectScores
from segmif_ros.objects import regions
from segmif_ros.perceiver import Perceiver
from segmif_ros.share import resolve_model

CLASSES = {"persons": 8, "cars": 9, "bicycles": 13}
WAYS = {
    "AP without the cut": (frozenset[str](), False),
    "AP with the cut by outline": (regions.UPRIGHT, False),
    "AP with the cut by heat": (regions.UPRIGHT, True),
}
"""Row of the first table -> classes that are cut, and whether heat has a say."""


def cuts(samples: Iterable[Sample], perceiver: Perceiver, bundle: Bundle) -> None:
    """Print the first table: AP of both cameras with and without cuts."""
    scores = {way: ObjectScores() for way in WAYS}
    for sample in samples:
        seen = perceiver.perceive(Pair(sample.rgb, sample.thermal, 1, 1))
        heat = np.asarray(sample.thermal, np.float32)
        for way, (cut, by_heat) in WAYS.items():
            with patch.object(regions, "UPRIGHT", cut):
                mask, sure = seen.mask, seen.confidence
                found = regions.find_objects(
                    mask, sure, bundle.manifest.classes, heat if by_heat else None
                )
            scores[way].add(sample.boxes or (), found, split=sample.when)
    heads = [(when, name) for name in ("persons", "cars") for when in ("night", "day")]
    print("| | " + " | ".join(" ".join(head) for head in heads) + " |")
    print("|---|" + "---|" * len(heads))
    for way, each in scores.items():
        table = each.summary()["fused"]
        cells = [_short(table[w][CLASSES[name]]["average_precision"]) for w, name in heads]
        print(f"| {way} | " + " | ".join(cells) + " |")


def quality(samples: Iterable[Sample], perceiver: Perceiver, bundle: Bundle) -> None:
    """Print the second table: AP, recall / precision by light and by cameras."""
    scores = ObjectScores()
    for sample in samples:
        masks, size = {}, (sample.rgb.shape[0], sample.rgb.shape[1])
        for row, pair in (
            ("fused", Pair(sample.rgb, sample.thermal, 1, 1)),
            ("visible", Pair(sample.rgb, None, 1, 1)),
            ("thermal", Pair(None, sample.thermal, 1, 1, rgb_size=size)),
        ):
            seen = perceiver.perceive(pair)
            masks[row] = seen.mask.copy(), seen.confidence.copy()
        heat = np.asarray(sample.thermal, np.float32)
        classes = bundle.manifest.classes
        scores.add_masks(sample.boxes or (), masks, classes, heat, sample.when)
    print("\n| | " + " | ".join(CLASSES) + " |\n|---|" + "---|" * len(CLASSES))
    rows = {"fused": "both cameras", "visible": "visible alone", "thermal": "thermal alone"}
    for when in ("night", "day"):
        for row, words in rows.items():
            table = scores.summary()[row][when]
            cells = []
            for label in CLASSES.values():
                f = table[label]
                shares = (f["average_precision"], f["object_recall"], f["object_precision"])
                ap, recall, precision = map(_short, shares)
                cells.append(f"{ap}, {recall}/{precision}")
            print(f"| {when}, {words} | " + " | ".join(cells) + " |")


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}".removeprefix("0")


def main() -> None:
    """Score and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("msrs", type=Path, metavar="MSRS")
    parser.add_argument("val", type=Path, metavar="MSRS_VAL")
    parser.add_argument("--model", default="segmif-nano")
    parser.add_argument("--engine", default="auto")
    args = parser.parse_args()
    bundle = Bundle.load(resolve_model(args.model))
    perceiver = Perceiver(open_engine(args.engine, bundle, threads=1))
    try:
        train = open_dataset("msrs", args.msrs, "train").entries
        cuts((entry() for entry in train), perceiver, bundle)
        quality((entry() for entry in open_dataset("auto", args.val).entries), perceiver, bundle)
    finally:
        perceiver.close()


if __name__ == "__main__":
    main()
