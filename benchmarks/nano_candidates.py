# SPDX-License-Identifier: Apache-2.0
"""Chooses the shape of `nano`: what each candidate costs, and what it learns in equal time.

    python benchmarks/nano_candidates.py cost  --out runs/candidates
    python benchmarks/nano_candidates.py train --data DATA --out runs/candidates
    python benchmarks/nano_candidates.py table --out runs/candidates

`cost` exports every candidate and times them in turns, so that a busy machine is unfair to none.
`train` runs config/training/candidates.yaml for each and scores it on the road pairs that the
recipe holds out. `table` prints both as Markdown. Results are kept in OUT/candidates.json, and a
step continues where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from segmif_ros.bundle import Bundle
from segmif_ros.datasets.classes import load_classes
from segmif_ros.datasets.dataset import held_out
from segmif_ros.datasets.msrs import msrs_pairs
from segmif_ros.datasets.sample import CAR, PERSON, Sample
from segmif_ros.engines import open_engine
from segmif_ros.engines.base import Engine
from segmif_ros.export.cost import graph_cost
from segmif_ros.export.export import write_bundle
from segmif_ros.metrics.fusion import fusion_scores
from segmif_ros.network.compact import CompactPlan, CompactSegMiF
from segmif_ros.network.mix_transformer import EncoderShape
from segmif_ros.network.variants import NANO, VARIANTS, Variant
from segmif_ros.training.loop import train
from segmif_ros.training.recipe import Recipe
from segmif_ros.training.sources import open_sources

RECIPE = Path(__file__).parents[1] / "config" / "training" / "candidates.yaml"
SIZE = (480, 640)
ROUNDS = 30

_REDUCTIONS = (1, 2, 1, 1)
_NARROW = EncoderShape(dims=(32, 64, 128, 160), heads=(0, 2, 4, 5), reductions=_REDUCTIONS)
_WIDE = EncoderShape(dims=(32, 64, 160, 256), heads=(0, 2, 5, 8), reductions=_REDUCTIONS)
CANDIDATES: dict[str, CompactPlan] = {
    "chosen": NANO,
    "wide encoder alone": CompactPlan(_WIDE),
    "full-size pixels alone": CompactPlan(_NARROW, pixels=True),
    "neither": CompactPlan(_NARROW),
    "one dense layer": CompactPlan(_WIDE, layers=1, pixels=True),
}
RUNTIMES = ("openvino", "onnxruntime")


def network(name: str) -> CompactSegMiF:
    """Build a candidate with the weights that its seed gives."""
    torch.manual_seed(0)
    return CompactSegMiF(CANDIDATES[name], len(load_classes("fmb15")))


def bundle_of(name: str, net: torch.nn.Module, out: Path) -> Bundle:
    """Export a candidate under `out`."""
    return write_bundle(
        net.eval(),
        out / name.replace(" ", "-"),
        name=name,
        variant="nano",
        size=SIZE,
        classes=load_classes("fmb15"),
        switches={"attention": "mean"},
        provenance={},
        licence="Apache-2.0",
    )


def cost(out: Path, others: Mapping[str, Path]) -> dict[str, dict[str, float]]:
    """Parameters, GFLOP and milliseconds of every candidate, untrained."""
    bundles = {name: bundle_of(name, network(name), out / "untrained") for name in CANDIDATES}
    bundles.update({name: Bundle.load(path) for name, path in others.items()})
    rows: dict[str, dict[str, float]] = {}
    runs: dict[tuple[str, str], Engine] = {}
    for name, bundle in bundles.items():
        total = graph_cost(bundle.model_path.read_bytes()).total
        rows[name] = {"parameters_m": total.parameters / 1e6, "gflop": total.gflop}
        for runtime in RUNTIMES:
            runs[name, runtime] = open_engine(runtime, bundle, threads=2)
    rgb, thermal = np.zeros((*SIZE, 3), np.uint8), np.zeros(SIZE, np.uint8)
    times: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    for _ in tqdm(range(ROUNDS), desc="timing"):
        for key, engine in runs.items():
            engine.infer(rgb, thermal)
            started = time.perf_counter()
            engine.infer(rgb, thermal)
            times[key].append((time.perf_counter() - started) * 1e3)
    for (name, runtime), values in times.items():
        rows[name][f"{runtime}_ms"] = float(np.median(values))
        rows[name][f"{runtime}_best_ms"] = min(values)
    return rows


def learn(name: str, recipe: Recipe, data: Path, out: Path) -> dict[str, float]:
    """Train one candidate and score it on the pairs held out."""
    VARIANTS[recipe.variant] = Variant(name, lambda _: network(name))
    sources = open_sources(recipe, data)
    net = train(recipe, sources, out / name.replace(" ", "-"), classes=15)
    pairs = msrs_pairs(data / "msrs", "train")
    kept = [pairs[i]() for i in held_out(len(pairs), recipe.hold_out_every)]
    engine = open_engine("onnxruntime", bundle_of(name, net, out / "trained"))
    return score(engine, kept)


def score(engine: Engine, samples: list[Sample]) -> dict[str, float]:
    """IoU against the labels of training, and fusion metrics, on whole pictures."""
    overlap = {PERSON: np.zeros(2), CAR: np.zeros(2)}
    right = known = 0
    fusion: dict[str, list[float]] = {"SSIM": [], "Qabf": [], "SCD": []}
    for sample in samples:
        result = engine.infer(sample.rgb, sample.thermal)
        assert sample.labels is not None
        labelled = sample.labels < len(load_classes("fmb15"))
        right += int((result.mask == sample.labels)[labelled].sum())
        known += int(labelled.sum())
        for label in overlap:
            truth, found = sample.labels == label, (result.mask == label) & (sample.labels != 255)
            overlap[label] += ((truth & found).sum(), (truth | found).sum())
        values = fusion_scores(sample.thermal, _luma(sample.rgb), _luma(result.fused))
        for key, kept in fusion.items():
            kept.append(values[key])
    return {
        "person_iou": float(np.divide(*overlap[PERSON])),
        "car_iou": float(np.divide(*overlap[CAR])),
        "pixel_accuracy": right / known,
        **{key: float(np.mean(values)) for key, values in fusion.items()},
    }


def _luma(rgb: np.ndarray) -> np.ndarray:
    return np.rint(rgb @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)


COLUMNS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("parameters_m", "parameters, M", "{:.2f}".format),
    ("gflop", "GFLOP", "{:.1f}".format),
    ("openvino_ms", "OpenVINO, ms", "{:.1f}".format),
    ("onnxruntime_ms", "ONNX Runtime fp32, ms", "{:.1f}".format),
    ("person_iou", "person IoU", "{:.3f}".format),
    ("car_iou", "car IoU", "{:.3f}".format),
    ("pixel_accuracy", "pixel accuracy", "{:.3f}".format),
    ("SSIM", "SSIM", "{:.3f}".format),
    ("Qabf", "Qabf", "{:.3f}".format),
    ("SCD", "SCD", "{:.3f}".format),
)


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown; a dash where nothing was measured."""
    lines = ["| candidate | " + " | ".join(title for _, title, _ in COLUMNS) + " |"]
    lines.append("|" + "---|" * (len(COLUMNS) + 1))
    for name, row in rows.items():
        cells = [show(row[key]) if key in row else "-" for key, _, show in COLUMNS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run one of the steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=("cost", "train", "table"))
    parser.add_argument("--out", type=Path, required=True, help="folder of results and weights")
    parser.add_argument("--data", type=Path, help="folder with msrs/, roadscene/, m3svd_frames/")
    parser.add_argument("--only", action="append", choices=sorted(CANDIDATES))
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the training")
    parser.add_argument(
        "--other", action="append", default=[], metavar="NAME=BUNDLE", help="also time this bundle"
    )
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "candidates.json"
    rows: dict[str, dict[str, float]] = json.loads(file.read_text()) if file.exists() else {}
    if args.step == "cost":
        others = dict(other.split("=", 1) for other in args.other)
        found = cost(args.out, {name: Path(path) for name, path in others.items()})
        for name, row in found.items():
            rows.setdefault(name, {}).update(row)
        file.write_text(json.dumps(rows, indent=1) + "\n")
    elif args.step == "train":
        if args.data is None:
            parser.error("train needs --data")
        torch.set_num_threads(args.threads)
        recipe = Recipe.load(RECIPE)
        for name in args.only or CANDIDATES:
            if "person_iou" not in rows.get(name, {}):
                found_scores = learn(name, recipe, args.data, args.out)
                rows.setdefault(name, {}).update(found_scores)
                file.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
