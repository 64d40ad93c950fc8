# SPDX-License-Identifier: Apache-2.0
"""`segmif compare A B`: two reports of `segmif evaluate` side by side.

A is what B is measured against, for example the model in use against a candidate. Differences are
taken pair by pair with intervals. With --max-regression it is a check for CI.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from segmif_ros.cli.console import say
from segmif_ros.outputs import write_whole
from segmif_ros.report.compare import Comparison, compare
from segmif_ros.report.compare_page import compare_page, compare_text
from segmif_ros.report.files import load
from segmif_ros.report.schema import ReportError

REGRESSED = 3

EXAMPLES = """
exit codes: 0 done, 1 a report cannot be read, 2 wrong use or not comparable, 3 worse than allowed

segmif compare eval_old eval_new --out compare.html
segmif compare eval_old eval_new --max-regression miou=0.01 \\
    --max-regression fusion.all.fused.SSIM=0.02 --max-regression timing.stages.inference.p95=5
"""


class LimitError(ValueError):
    """A value of --max-regression cannot be used."""


def main(argv: Sequence[str]) -> int:
    """Run `segmif compare`; see `EXAMPLES` for the exit codes."""
    args = _parser().parse_args(argv)
    try:
        limits = dict(_limit(text) for text in args.max_regression)
        a, b = load(args.a), load(args.b)
        found = compare(a, b)
        unknown = [name for name in limits if found.find(name) is None]
        worse = [] if unknown else _regressions(found, limits)
        if args.out:
            write_whole(args.out, compare_page(a, b, found))
    except (ReportError, OSError) as err:
        sys.stderr.write(f"segmif compare: {err}\n")
        return 1
    except LimitError as err:
        sys.stderr.write(f"segmif compare: {err}\n")
        return 2
    if args.json:
        say(json.dumps({**found.to_json(), "regressions": worse}, indent=1, allow_nan=False))
    else:
        say(compare_text(found))
    if found.objections:
        sys.stderr.write(f"segmif compare: not comparable: {'; '.join(found.objections)}\n")
        return 2
    if unknown:
        names = ", ".join(difference.name for difference in found.differences)
        sys.stderr.write(
            f"segmif compare: {unknown[0]!r} is not in both reports; there are: {names}\n"
        )
        return 2
    for text in worse:
        sys.stderr.write(f"segmif compare: {text}\n")
    return REGRESSED if worse else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="segmif compare",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("a", type=Path, metavar="A", help="folder of a report, or its report.json")
    parser.add_argument("b", type=Path, metavar="B", help="likewise")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--out", type=Path, metavar="HTML", help="write a page as well")
    parser.add_argument(
        "--max-regression",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="fail if NAME is worse by more than VALUE; a number alone is for miou; repeatable",
    )
    return parser


def _limit(text: str) -> tuple[str, float]:
    name, found, value = text.rpartition("=")
    try:
        limit = float(value)
    except ValueError as err:
        raise LimitError(f"--max-regression {text!r}: {value!r} is no number") from err
    if not limit >= 0:
        raise LimitError(f"--max-regression {text!r}: give 0 or more")
    if found and not name:
        raise LimitError(f"--max-regression {text!r}: no name in front of =")
    return name or "miou", limit


def _regressions(found: Comparison, limits: dict[str, float]) -> list[str]:
    worse = []
    for name, limit in limits.items():
        difference = found.find(name)
        assert difference is not None
        if not difference.better:
            raise LimitError(f"--max-regression {name}: neither direction of it is worse")
        if difference.worsening > limit:
            worse.append(
                f"{difference.name} went from {difference.a:.4g} to {difference.b:.4g}, worse by "
                f"{difference.worsening:.4g}; {limit:g} is allowed"
            )
    return worse
