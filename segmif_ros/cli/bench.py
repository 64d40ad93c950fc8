# SPDX-License-Identifier: Apache-2.0
"""`segmif bench BUNDLE`: times a bundle on every engine of this machine, bytes in to bytes out.

The engines alternate, so that a noisy machine affects all alike. Differences are against the first
one. What the node costs around the engine is measured by `python -m benchmarks.dds` in a checkout.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from time import perf_counter
from typing import Any

import numpy as np

from segmif_ros.bundle import Bundle, BundleError
from segmif_ros.cli.command_line import (
    FINE,
    Parser,
    as_size,
    next_step,
    note,
    progress_bar,
    refuse_existing,
    shared,
    whole,
)
from segmif_ros.engines import ENGINES, open_engine
from segmif_ros.engines.base import Engine, EngineError, EngineOptions, Inference
from segmif_ros.engines.gate import ReferencePair
from segmif_ros.engines.reference import reference_pairs
from segmif_ros.outputs import write_whole

_USUAL = ("onnxruntime", "openvino", "tensorrt")
_UNTIMED = 5
"""Rounds before times count: caches and clocks settle."""


def _measure(args: argparse.Namespace) -> int:
    refuse_existing(args, "out")
    bundle = Bundle.load(args.bundle)
    pairs = reference_pairs(bundle)
    options = EngineOptions(threads=args.threads, precision=args.precision)
    with ExitStack() as stack:
        engines: dict[str, Engine] = {}
        for name in args.engine or _USUAL:
            try:
                engines[name] = open_engine(name, bundle, options=options)
                stack.callback(engines[name].close)
            except (BundleError, EngineError) as err:
                note(f"{name} is left out: {str(err).splitlines()[0]}")
        if not engines:
            raise EngineError("no engine opened; see docs/engines.md")
        rows = measured(engines, pairs, args.rounds)
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    size = as_size(bundle.manifest.size)
    about = f"{bundle.manifest.name}, {size}, {machine}, {args.rounds} runs each"
    figures = json.dumps({"about": about, "engines": rows}, indent=1)
    print(figures if args.json else f"{about}\n{table(rows)}")
    if args.out is not None:
        write_whole(args.out, figures + "\n")
    real = [row for row in rows if row["engine"] != "null"]
    if real and not args.json:
        fastest = min(real, key=lambda row: float(row["p50_ms"]))["engine"]
        next_step(f"segmif_node --ros-args -p model:={args.bundle} -p engine:={fastest}")
    return FINE


def measured(
    engines: Mapping[str, Engine], pairs: Sequence[ReferencePair], rounds: int
) -> list[dict[str, Any]]:
    """Time the engines in turn on the same pairs.

    Returns:
        For each engine: its name, runtime and precision, percentiles of milliseconds, and against
        the first engine the largest difference of a fused grey level and the share of equal mask
        pixels on the last pair.
    """
    times: dict[str, list[float]] = {name: [] for name in engines}
    results: dict[str, Inference] = {}
    with progress_bar(total=rounds + _UNTIMED, unit="round") as bar:
        for turn in range(rounds + _UNTIMED):
            pair = pairs[turn % len(pairs)]
            for name, engine in engines.items():
                began = perf_counter()
                result = engine.infer(pair.rgb, pair.thermal)
                if turn >= _UNTIMED:
                    times[name].append(1e3 * (perf_counter() - began))
                results[name] = Inference(*(np.copy(part) for part in result))
            bar.update()
    first = results[next(iter(results))]
    return [
        {
            "engine": name,
            **{key: engines[name].describe().get(key, "") for key in ("runtime", "precision")},
            **{f"p{p}_ms": round(float(np.percentile(times[name], p)), 2) for p in (5, 50, 95)},
            "fused_difference": int(np.abs(np.subtract(found.fused, first.fused, dtype=int)).max()),
            "mask_agreement": round(float((found.mask == first.mask).mean()), 5),
        }
        for name, found in results.items()
    ]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the figures as a Markdown table."""
    lines = [
        "| engine | p5 ms | p50 ms | p95 ms | largest difference of fused, grey levels | "
        "equal mask |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['engine']}, {row['runtime']}, {row['precision']} | {row['p5_ms']:.1f} | "
        f"{row['p50_ms']:.1f} | {row['p95_ms']:.1f} | {row['fused_difference']} | "
        f"{row['mask_agreement']:.2%} |"
        for row in rows
    ]
    return "\n".join(lines)


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(
        "segmif bench",
        "segmif bench segmif-nano --engine openvino --engine onnxruntime --threads 2",
        work=_measure,
        description=__doc__,
    )
    shared(made, "bundle")
    shared(
        made,
        "--engine",
        action="append",
        default=None,
        choices=[name for name in ENGINES if name != "auto"],
        help=f"only this one; may be repeated (default: {', '.join(_USUAL)})",
    )
    shared(made, "--precision", "--threads")
    made.add_argument("--rounds", type=whole(1), default=60, metavar="N", help="timed runs")
    shared(made, "--json")
    shared(made, "--out", metavar="JSON", help="write the figures as JSON as well")
    shared(made, "--force")
    return made
