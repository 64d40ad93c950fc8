# SPDX-License-Identifier: Apache-2.0
"""`segmif bench node`: what a pair costs from the cameras' stamps to a listener, over DDS.

Cameras, segmif_node and a listener run as processes of their own on a private ROS domain. The
engine `null` returns at once, so that everything around the engine is measured. docs/benchmarks.md
says what each figure is.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from segmif_ros.bench.machine import machine_facts
from segmif_ros.bench.scenario import SEGMIF, Scenario
from segmif_ros.bench.tables import run_table
from segmif_ros.cli.bench_run import BenchError, Run, Stage
from segmif_ros.cli.children import private_domain
from segmif_ros.cli.console import say

NANO = "segmif-nano"
OUTPUTS = ("fused", "mask", "confidence", "overlay")


def main(argv: Sequence[str]) -> int:
    """Measure, print tables, and return the exit code: 0 done, 1 failed, 2 wrong use."""
    args = _parser().parse_args(argv)
    try:
        scenarios = _scenarios(args)
    except ValueError as err:
        sys.stderr.write(f"segmif bench node: {err}\n")
        return 2
    results: list[dict[str, Any]] = []
    try:
        with tempfile.TemporaryDirectory(prefix="segmif_bench_") as scratch:
            stage = Stage(args.keep or Path(scratch))
            for number, scenario in enumerate(scenarios):
                say(f"{number + 1} of {len(scenarios)}: {scenario.title}, {scenario.seconds:g} s")
                result = Run(scenario, stage, domain=args.domain, number=number).measure()
                results.append(result)
                say(run_table(result))
    except (BenchError, OSError) as err:
        sys.stderr.write(f"segmif bench node: {err}\n")
        return 1
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(_report(results), indent=1) + "\n", encoding="utf-8")
        say(f"wrote {args.out}")
    return 0


def _report(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": machine_facts(),
        "python": platform.python_version(),
        "runs": list(runs),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="segmif bench node",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    cameras = parser.add_argument_group("cameras")
    cameras.add_argument("--rgb-size", type=_size, default=(640, 480), metavar="WxH")
    cameras.add_argument("--thermal-size", type=_size, default=(640, 512), metavar="WxH")
    cameras.add_argument("--rate", type=float, default=30.0, metavar="HZ", help="pairs a second")
    cameras.add_argument("--rigs", type=int, default=1, help="pairs of cameras, a node for each")
    node = parser.add_argument_group("node")
    node.add_argument(
        "--engine", default="null", metavar="null|nano|FOLDER", help="model to run (default null)"
    )
    node.add_argument("--runtime", default="auto", help="of nano or FOLDER (default auto)")
    node.add_argument("--engine-threads", type=int, default=0, help="0 = all cores")
    node.add_argument(
        "--delay-ms", type=float, default=0.0, help="what null waits for at each inference"
    )
    node.add_argument(
        "--subscribe", type=_outputs, default=("fused", "mask"), metavar="NAMES",
        help=f"outputs the listener wants, with commas: {', '.join(OUTPUTS)}; or all, or none",
    )  # fmt: skip
    run = parser.add_argument_group("run")
    run.add_argument("--seconds", type=float, default=10.0, help="measured time (default 10)")
    run.add_argument("--domain", type=int, default=private_domain(), help="ROS_DOMAIN_ID")
    run.add_argument("--out", type=Path, metavar="JSON", help="write all figures here")
    run.add_argument("--keep", type=Path, metavar="FOLDER", help="leave logs and files here")
    return parser


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r}, expected WIDTHxHEIGHT, for example 640x480")
    return int(width), int(height)


def _outputs(text: str) -> tuple[str, ...]:
    if text in ("all", "none"):
        return OUTPUTS if text == "all" else ()
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in OUTPUTS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"{unknown[0]!r}, expected {', '.join(OUTPUTS)}, or all, or none"
        )
    return names


def _scenarios(args: argparse.Namespace) -> list[Scenario]:
    base = Scenario(
        subject=SEGMIF,
        threads=args.engine_threads,
        rgb_size=args.rgb_size,
        thermal_size=args.thermal_size,
        rate_hz=args.rate,
        seconds=args.seconds,
        outputs=args.subscribe,
        rigs=args.rigs,
    )
    if args.engine == "null":
        return [replace(base, delay_ms=args.delay_ms)]
    if args.delay_ms:
        raise ValueError("--delay-ms is for --engine null; leave it out")
    model = NANO if args.engine == "nano" else args.engine
    return [replace(base, model=model, runtime=args.runtime)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
