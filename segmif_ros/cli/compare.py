# SPDX-License-Identifier: Apache-2.0
"""`segmif compare A B`: two reports of `segmif evaluate`, of drives or data sets, side by side.

A is what B is measured against, for example the model in use against a candidate. Differences are
taken pair by pair with intervals. With --max-regression it is a check for CI.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from segmif_ros.cli.command_line import (
    FINE,
    VERDICT,
    WRONG_USE,
    Parser,
    UsageError,
    next_step,
    note,
    refuse_existing,
    say,
    shared,
)
from segmif_ros.outputs import write_whole
from segmif_ros.report.compare import Comparison, compare
from segmif_ros.report.compare_page import compare_page, compare_text
from segmif_ros.report.files import load

_EXAMPLE = """
segmif compare eval_old eval_new --out compare.html
segmif compare eval_old eval_new --max-regression miou=0.01 \\
    --max-regression fusion.all.fused.SSIM=0.02 --max-regression timing.stages.inference.p95=5
"""


def _compare(args: argparse.Namespace) -> int:
    refuse_existing(args, "out")
    limits = dict(_limit(text) for text in args.max_regression)
    a, b = load(args.a), load(args.b)
    folders = [str(args.a), str(args.b)]
    found = compare(a, b)
    unknown = [name for name in limits if found.find(name) is None]
    worse = [] if unknown else _regressions(found, limits)
    if args.out:
        write_whole(args.out, compare_page(a, b, found, folders))
    if args.json:
        say(json.dumps({**found.to_json(), "regressions": worse}, indent=1, allow_nan=False))
    else:
        say(compare_text(a, b, found, folders))
    if args.out:
        note(f"wrote {args.out}")
    elif not args.json:
        next_step(f"segmif compare {args.a} {args.b} --out compare.html")
    if found.objections:
        note(f"segmif compare: not comparable: {'; '.join(found.objections)}")
        return WRONG_USE
    if unknown:
        names = ", ".join(difference.name for difference in found.differences)
        raise UsageError(f"{unknown[0]!r} is not in both reports; there are: {names}")
    for text in worse:
        note(f"segmif compare: {text}")
    return VERDICT if worse else FINE


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser("segmif compare", _EXAMPLE, work=_compare, description=__doc__)
    made.add_argument("a", type=Path, metavar="A", help="folder of a report, or its report.json")
    made.add_argument("b", type=Path, metavar="B", help="likewise")
    shared(made, "--json")
    shared(made, "--out", metavar="HTML", help="write a page as well")
    shared(made, "--force")
    made.add_argument(
        "--max-regression",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="fail if NAME is worse by more than VALUE; a number alone is for miou; repeatable",
    )
    return made


def _limit(text: str) -> tuple[str, float]:
    name, found, value = text.rpartition("=")
    try:
        limit = float(value)
    except ValueError as err:
        raise UsageError(f"--max-regression {text!r}: {value!r} is no number") from err
    if not limit >= 0:
        raise UsageError(f"--max-regression {text!r}: give 0 or more")
    if found and not name:
        raise UsageError(f"--max-regression {text!r}: no name in front of =")
    return name or "miou", limit


def _regressions(found: Comparison, limits: dict[str, float]) -> list[str]:
    worse = []
    for name, limit in limits.items():
        difference = found.find(name)
        assert difference is not None
        if not difference.better:
            raise UsageError(f"--max-regression {name}: neither direction of it is worse")
        if difference.worsening > limit:
            worse.append(
                f"{difference.name} went from {difference.a:.4g} to {difference.b:.4g}, worse by "
                f"{difference.worsening:.4g}; {limit:g} is allowed"
            )
    return worse
