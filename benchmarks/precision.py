# SPDX-License-Identifier: Apache-2.0
"""How far each precision is from float32 in each CPU runtime, and what it costs and saves.

    python -m benchmarks.precision models/segmif-nano DATA/msrs --write docs/precision.md

Makes the fp16 and int8 files in a temporary folder, calibrated on pairs of train.txt, and compares
them with ONNX Runtime in fp32: by the accuracy gate, and on the pairs of val.txt, which nothing was
chosen by. --write puts the table between the marks of a document.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.dds.machine import machine_facts
from segmif_ros.bundle import Bundle
from segmif_ros.cli.quantise import folder_pairs
from segmif_ros.datasets.opening import open_dataset
from segmif_ros.engines.base import Engine, Inference
from segmif_ros.engines.gate import GateThresholds, psnr_db, run_gate
from segmif_ros.engines.onnxruntime import OnnxRuntimeEngine
from segmif_ros.engines.openvino import OpenVinoEngine
from segmif_ros.engines.reference import reference_pairs
from segmif_ros.export.precision import PrecisionError, add_fp16, add_int8
from segmif_ros.metrics.boxes import BoxScores

BEGIN, END = "<!-- precision -->", "<!-- /precision -->"
BOXED = {"person": 8, "car": 9, "bicycle": 13}
HEADER = (
    "file", "runtime, computes in", "MB", "CPU time", "gate", "fused dB, worst (mean)",
    "mask, worst (mean)", *(f"{name} boxes" for name in BOXED),
)  # fmt: skip


@dataclass
class Row:
    """One file in one runtime and what it did on the validation pairs."""

    file: str
    engine: Engine
    megabytes: float
    gate: str = "-"
    psnr: list[float] = field(default_factory=list)
    mask: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    boxes: BoxScores = field(default_factory=BoxScores)

    def hits(self) -> dict[str, float]:
        """Share of the boxes hit by class."""
        found = self.boxes.summary()["fused"]
        total = next(iter(found.values()))
        return {name: float(total[label]["box_recall"] or 0.0) for name, label in BOXED.items()}


def bundles(source: Bundle, data: Path, count: int, scratch: Path) -> dict[str, Bundle]:
    """Make every file; what the gate refuses is left out and said."""
    copy = scratch / "plain"
    shutil.copytree(source.path, copy)
    plain = Bundle.load(copy).select("fp32")
    made = {"fp32": plain}
    pairs = folder_pairs(data, source.manifest.size, count, data / "train.txt")
    jobs: dict[str, Callable[[Bundle], Bundle]] = {
        "fp16": lambda b: add_fp16(b)[0],
        "int8": lambda b: add_int8(b, pairs, source="train")[0],
        "int8 for cpu": lambda b: add_int8(b, pairs, source="train", runtime="cpu")[0],
    }
    for name, make in jobs.items():
        folder = scratch / name.replace(" ", "-")
        shutil.copytree(copy, folder)
        precision = name.partition(" ")[0]
        try:
            bundle = make(Bundle.load(folder))
        except PrecisionError as err:
            print(f"{name} is left out: {err}")
            continue
        kept = str(bundle.manifest.files[precision].made.get("float32", "")).rpartition(", ")[2]
        label = f"{name}, {kept} in fp32" if kept in {"fusion", "encoder"} else name
        made[label] = bundle.select(precision)
    return made


def rows_of(made: dict[str, Bundle]) -> list[Row]:
    """Open every file in every runtime; the first row is the reference."""
    rows = []
    for name, bundle in made.items():
        megabytes = bundle.model_path.stat().st_size / 1e6
        rows.append(Row(name, OnnxRuntimeEngine(bundle, threads=1), megabytes))
        rows.append(Row(name, OpenVinoEngine(bundle, threads=1), megabytes))
        if name != "fp16":
            exact = OpenVinoEngine(bundle, threads=1, precision="fp32")
            rows.append(Row(name, exact, megabytes))
    return rows


def measure(rows: list[Row], made: dict[str, Bundle], data: Path, limit: int) -> int:
    """Run the gate and the validation pairs, engines in turn; returns how many pairs ran."""
    pairs = reference_pairs(made["fp32"])
    names = [label.name for label in made["fp32"].manifest.classes]
    thresholds = GateThresholds.of(made["fp32"].manifest.gate)
    for row in rows[1:]:
        result = run_gate(row.engine, rows[0].engine, pairs, thresholds, class_names=names)
        row.gate = "passed" if result.passed else "refused"
    samples = open_dataset("msrs", data, "val")
    count = min(limit, len(samples))
    for index in np.linspace(0, len(samples) - 1, count).round().astype(int):
        sample = samples[int(index)].read()
        expected: Inference | None = None
        for row in rows:
            began = time.process_time()
            got = row.engine.infer(sample.rgb, sample.thermal)
            row.cpu_ms.append(1e3 * (time.process_time() - began))
            expected = expected or Inference(*map(np.copy, got))
            row.psnr.append(psnr_db(got.fused, expected.fused))
            row.mask.append(float((got.mask == expected.mask).mean()))
            row.boxes.add(sample.boxes or (), got.mask, list(BOXED.values()))
    return count


def table(rows: list[Row]) -> list[str]:
    """Return the Markdown lines."""
    base = statistics.median(rows[0].cpu_ms)
    lines = [f"| {' | '.join(HEADER)} |", "|" + "---|" * len(HEADER)]
    for row in rows:
        facts = row.engine.describe()
        runtime = (
            f"{row.engine.name}, {facts['precision'].rpartition(' ')[2].replace('f32', 'fp32')}"
        )
        same = min(row.psnr) >= 120.0
        fused = "same" if same else f"{min(row.psnr):.1f} ({statistics.mean(row.psnr):.1f})"
        cells = [
            row.file,
            runtime,
            f"{row.megabytes:.1f}",
            f"{statistics.median(row.cpu_ms) / base:.2f}",
            row.gate,
            fused,
            f"{min(row.mask):.2%} ({statistics.mean(row.mask):.2%})",
            *(f"{hit:.1%}" for hit in row.hits().values()),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Measure, print the table and, if asked, write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("data", type=Path, help="folder of the MSRS pairs")
    parser.add_argument("--count", type=int, default=32, help="pairs to calibrate on (32)")
    parser.add_argument("--limit", type=int, default=60, help="validation pairs (60)")
    parser.add_argument("--write", type=Path, help="document with the marks")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    source = Bundle.load(args.bundle)
    with tempfile.TemporaryDirectory() as scratch:
        made = bundles(source, args.data, args.count, Path(scratch))
        rows = rows_of(made)
        count = measure(rows, made, args.data, args.limit)
    machine = machine_facts()
    runtimes = " and ".join(
        dict.fromkeys(r.engine.describe()["runtime"].split("-")[0] for r in rows)
    )
    height, width = source.manifest.size
    text = "\n".join(
        [
            *table(rows),
            "",
            f"{source.manifest.name} {source.manifest.sha256[:12]} at {height}x{width}, {count} "
            f"pairs of val.txt, {runtimes}, {machine['cpu']} ({machine['instructions']}). "
            "CPU time: of one thread, median of all pairs, ONNX Runtime in fp32 is 1. Boxes: share "
            "that is hit.",
        ]
    )
    print(text)
    if args.write:
        document = args.write.read_text(encoding="utf-8")
        block = re.compile(f"{BEGIN}.*?{END}", re.DOTALL)
        if not block.search(document):
            parser.error(f"{args.write} has no {BEGIN} ... {END}")
        args.write.write_text(block.sub(lambda _: f"{BEGIN}\n{text}\n{END}", document), "utf-8")
    if args.json:
        found = [
            {
                "file": row.file,
                **row.engine.describe(),
                "gate": row.gate,
                "fused_psnr_db": row.psnr,
                "mask_agreement": row.mask,
                "cpu_ms": row.cpu_ms,
                "boxes": row.hits(),
            }
            for row in rows
        ]
        args.json.write_text(json.dumps({"machine": machine, "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
