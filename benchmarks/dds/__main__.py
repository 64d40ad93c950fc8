# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.dds`: what a pair costs from the cameras' stamps to a listener, over DDS.

Cameras, segmif_node and a listener run as processes of their own on a private ROS domain. The
engine `null` returns at once, so that everything around the engine is measured. docs/benchmarks.md
says what each figure is.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.dds.comparison import compare, overload, sustainable_hz
from benchmarks.dds.machine import machine_facts
from benchmarks.dds.run import READY_S, BenchError, Run, Stage
from benchmarks.dds.scenario import OUTPUTS, PEERS, SEGMIF, Scenario
from benchmarks.dds.tables import comparison_table, overload_table, run_table
from segmif_ros.cli.command_line import say
from segmif_ros.cli.managed_process import private_domain, terminable

NANO = "segmif-nano"
UNLOADED_S = 30.0
"""Longest run at a light load before an overload."""
LARGEST_DOMAIN = 232
"""More has no port numbers left."""
CALM_SHARE = 0.7
"""Of the rate that the worker holds: more is no light load."""


def main(argv: Sequence[str]) -> int:
    """Measure, print tables, and return the exit code: 0 done, 1 failed, 2 wrong use."""
    args = _parser().parse_args(argv)
    try:
        _check_use(args)
        scenario = _scenario(args)
        peers = [replace(scenario, subject=peer) for peer in args.peer]
    except ValueError as err:
        sys.stderr.write(f"python -m benchmarks.dds: {err}\n")
        return 2
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    report: dict[str, Any] = {"created": created, "machine": machine_facts() | _software()}
    try:
        if args.out is not None:
            _check_writable(args.out)
        with terminable(), tempfile.TemporaryDirectory(prefix="segmif_bench_") as scratch:
            bench = _Bench(Stage(args.keep or Path(scratch)), args.domain)
            if args.warm_start:
                report |= bench.warm_starts(scenario, args.warm_start)
            elif args.overload:
                report |= bench.overloads(scenario, args.overload)
            else:
                report |= bench.compared([scenario, *peers] * args.rounds)
    except (BenchError, OSError) as err:
        sys.stderr.write(f"python -m benchmarks.dds: {err}\n")
        return 1
    if args.out is not None:
        args.out.write_text(
            json.dumps(rounded(report), separators=(",", ":")) + "\n", encoding="utf-8"
        )
        say(f"wrote {args.out}")
    return 0


def _check_writable(path: Path) -> None:
    """Fail before the measuring and not after it.

    Raises:
        OSError: nothing can be written there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; --out takes a file")
    with tempfile.TemporaryFile(dir=path.parent):
        pass


def _software() -> dict[str, str]:
    """Return what the processes run on; ROS may be of wheels or of a distribution."""
    try:
        ros = f"rclpy {version('ros-jazzy-rclpy')} (Jazzy wheels)"
    except PackageNotFoundError:
        ros = f"ROS 2 {os.environ.get('ROS_DISTRO', 'of unknown distribution')}"
    return {"ros": ros, "python": platform.python_version()}


def rounded(value: Any) -> Any:
    """Return JSON values with floats cut to microseconds, kilobytes and the like."""
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(part) for part in value]
    return value


class _Bench:
    """Makes runs one after the other and says their figures."""

    def __init__(self, stage: Stage, domain: int) -> None:
        self._stage, self._domain = stage, domain
        self._made = 0

    def compared(self, scenarios: Sequence[Scenario]) -> dict[str, Any]:
        """Measure each scenario, and compare the subjects if there are several."""
        runs = [self._measured(scenario) for scenario in scenarios]
        comparison = {}
        if any(scenario.subject != SEGMIF for scenario in scenarios):
            comparison = compare([_heard(run) for run in runs])
            say(comparison_table(comparison))
        return {"runs": runs, "comparison": comparison}

    def overloads(self, scenario: Scenario, factors: Sequence[float]) -> dict[str, Any]:
        """Measure at the scenario's rate, then at multiples of the rate that the worker can hold.

        Raises:
            BenchError: the scenario's rate is more than it can hold.
        """
        calm_s = min(scenario.seconds, UNLOADED_S)
        unloaded = self._measured(replace(scenario, seconds=calm_s))
        rate_hz = sustainable_hz(unloaded)
        if unloaded["scenario"]["rate_hz"] > CALM_SHARE * rate_hz:
            raise BenchError(
                f"--rate {scenario.rate_hz:g} is no light load: the worker holds {rate_hz:.1f} Hz; "
                f"give at most {CALM_SHARE * rate_hz:.1f}"
            )
        say(f"the worker holds {rate_hz:.2f} Hz")
        runs, verdicts = [_heard(unloaded)], []
        for factor in factors:
            runs.append(self._measured(replace(scenario, rate_hz=factor * rate_hz)))
            verdicts.append(overload(unloaded, _heard(runs[-1]), rate_hz))
            say(overload_table(verdicts[-1:]))
        return {"runs": runs, "overload": verdicts}

    def warm_starts(self, scenario: Scenario, times: int) -> dict[str, Any]:
        """Start fresh processes again and again; measure from `configure` to the first output."""
        # The cameras stay in their warm-up: they are ended when the output is there.
        scenario = replace(scenario, warm_up_s=READY_S)
        starts: list[dict[str, float]] = []
        for _ in range(times):
            say(f"start {len(starts) + 1} of {times}: {scenario.title}")
            starts.append(self._next(scenario).warm_start())
            say("  ".join(f"{name} {value:.0f} ms" for name, value in starts[-1].items()))
        return {"scenario": scenario.to_json(), "title": scenario.title, "starts_ms": starts}

    def _measured(self, scenario: Scenario) -> dict[str, Any]:
        say(f"{scenario.title}, {scenario.seconds:g} s")
        result = self._next(scenario).measure()
        say(run_table(result))
        return result

    def _next(self, scenario: Scenario) -> Run:
        self._made += 1
        return Run(scenario, self._stage, domain=self._domain, number=self._made)


def _heard(run: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of a run that can be compared.

    Raises:
        BenchError: its listener received nothing.
    """
    if run["age_ms"]["all"] is None:
        raise BenchError(
            f"nothing came from {run['title']}, so there is nothing to compare; the machine is "
            "too busy, or --seconds too short"
        )
    return run


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.dds",
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
        help=f"outputs to subscribe to, with commas: {', '.join(OUTPUTS)}; or all, or none",
    )  # fmt: skip
    node.add_argument("--lazy", action="store_true", help="set the node's parameter lazy")
    run = parser.add_argument_group("run")
    run.add_argument("--seconds", type=float, default=10.0, help="measured time (default 10)")
    run.add_argument(
        "--peer", action="append", default=[], choices=PEERS,
        help="measure this ordinary node as well, in turns with ours (repeatable)",
    )  # fmt: skip
    run.add_argument(
        "--overload", type=_factors, metavar="FACTORS",
        help="then at these multiples of what the worker holds, for example 2,5",
    )  # fmt: skip
    run.add_argument(
        "--warm-start", type=int, default=0, metavar="N",
        help="N times from `configure` of a fresh process to its first output, nothing else",
    )  # fmt: skip
    run.add_argument("--rounds", type=int, default=1, help="of all runs, one after the other")
    run.add_argument("--warm-up", type=float, default=1.0, help="seconds before that (default 1)")
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
    names = tuple(dict.fromkeys(text.split(",")))
    unknown = [name for name in names if name not in OUTPUTS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"{unknown[0]!r}, expected {', '.join(OUTPUTS)}, or all, or none"
        )
    return names


def _factors(text: str) -> tuple[float, ...]:
    try:
        factors = tuple(float(part) for part in text.split(","))
    except ValueError:
        factors = ()
    if not factors or not all(1.0 < factor <= 20.0 for factor in factors):
        raise argparse.ArgumentTypeError(f"{text!r}, expected numbers above 1, for example 2,5")
    return factors


def _check_use(args: argparse.Namespace) -> None:
    """Refuse options that would be ignored, or fail only after the measuring.

    Raises:
        ValueError: naming them.
    """
    ways = {"--peer": args.peer, "--overload": args.overload, "--warm-start": args.warm_start}
    given = [name for name, value in ways.items() if value]
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} are runs of their own; give one of them")
    if given and not args.subscribe:
        raise ValueError(f"{given[0]} needs a listener; leave out --subscribe none")
    if args.warm_start and args.rigs > 1:
        raise ValueError("--warm-start starts one node; leave out --rigs")
    for name, value, least in (
        ("--rounds", args.rounds, 1),
        ("--warm-start", args.warm_start, 0),
    ):
        if value < least:
            raise ValueError(f"{name} is {value}, expected {least} or more")
    if not 0 <= args.domain <= LARGEST_DOMAIN:
        raise ValueError(f"--domain is {args.domain}, expected 0 to {LARGEST_DOMAIN}")


def _scenario(args: argparse.Namespace) -> Scenario:
    base = Scenario(
        subject=SEGMIF,
        threads=args.engine_threads,
        rgb_size=args.rgb_size,
        thermal_size=args.thermal_size,
        rate_hz=args.rate,
        seconds=args.seconds,
        warm_up_s=args.warm_up,
        outputs=args.subscribe,
        rigs=args.rigs,
        lazy=args.lazy,
    )
    if args.engine == "null":
        return replace(base, delay_ms=args.delay_ms)
    if args.delay_ms:
        raise ValueError("--delay-ms is for --engine null; leave it out")
    model = NANO if args.engine == "nano" else args.engine
    return replace(base, model=model, runtime=args.runtime)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
