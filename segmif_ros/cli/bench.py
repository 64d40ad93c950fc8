# SPDX-License-Identifier: Apache-2.0
"""`segmif bench BUNDLE`: times a bundle on every engine of this machine, bytes in to bytes out.

The engines take turns, so that a noisy machine hits all alike. Differences are against the first
one. What the node costs around the engine is measured by `python -m benchmarks.dds` in a checkout.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from segmif_ros.bundle import PRECISIONS, Bundle, BundleError
from segmif_ros.cli.console import progress_bar
from segmif_ros.engines import ENGINES, open_engine
from segmif_ros.engines.base import Engine, EngineError, EngineOptions, Inference
from segmif_ros.engines.gate import GateError, ReferencePair
from segmif_ros.engines.reference import reference_pairs
from segmif_ros.outputs import write_whole

_MOVED = {"node": "benchmarks.dds", "network": "benchmarks.network"}
_USUAL = ("onnxruntime", "openvino", "tensorrt")
_UNTIMED = 5
"""Rounds before times count: caches and clocks settle."""


def main(argv: Sequence[str]) -> int:
    """Measure, print a table, and return the exit code: 0 done, 1 no engine opened, 2 wrong use."""
    if argv and argv[0] in _MOVED:
        sys.stderr.write(
            f"segmif bench {argv[0]} is no part of the package any more; in a checkout run "
            f"python -m {_MOVED[argv[0]]}\n"
        )
        return 2
    args = _parser().parse_args(argv)
    try:
        bundle = Bundle.load(args.bundle)
        pairs = reference_pairs(bundle)
    except (BundleError, GateError, OSError) as err:
        sys.stderr.write(f"segmif bench: {str(err).splitlines()[0]}\n")
        return 2
    options = EngineOptions(threads=args.threads, precision=args.precision)
    with ExitStack() as stack:
        engines: dict[str, Engine] = {}
        for name in args.engine or _USUAL:
            try:
                engines[name] = open_engine(name, bundle, options=options)
                stack.callback(engines[name].close)
            except (BundleError, EngineError) as err:
                print(f"{name} is left out: {str(err).splitlines()[0]}")
        if not engines:
            sys.stderr.write("segmif bench: no engine opened; see docs/engines.md\n")
            return 1
        try:
            rows = measured(engines, pairs, args.rounds)
        except EngineError as err:
            sys.stderr.write(f"segmif bench: {str(err).splitlines()[0]}\n")
            return 1
    height, width = bundle.manifest.size
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    about = f"{bundle.manifest.name}, {height}x{width}, {machine}, {args.rounds} runs each"
    print(about)
    print(table(rows))
    if args.json is not None:
        write_whole(args.json, json.dumps({"about": about, "engines": rows}, indent=1) + "\n")
    return 0


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="segmif bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", help="bundle folder, or the name of one that ships")
    parser.add_argument(
        "--engine",
        action="append",
        choices=[name for name in ENGINES if name != "auto"],
        help=f"only this one; may be repeated ({', '.join(_USUAL)})",
    )
    parser.add_argument("--precision", choices=("auto", *PRECISIONS), default="auto")
    parser.add_argument("--threads", type=_count, default=0, metavar="N", help="CPU threads (all)")
    parser.add_argument("--rounds", type=_count, default=60, metavar="N", help="timed runs (60)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as well")
    return parser


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number of at least 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
