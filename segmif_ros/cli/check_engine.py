# SPDX-License-Identifier: Apache-2.0
"""`segmif check-engine`: does an engine give the pictures of the bundle's float32 model?"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from segmif_ros.cli.command_line import FINE, VERDICT, Parser, next_step, note, progress_bar, shared

if TYPE_CHECKING:
    from segmif_ros.engines.gate import GateResult


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(
        "segmif check-engine",
        "segmif check-engine segmif-nano --engine openvino --precision int8",
        work=_check,
        description=__doc__,
    )
    shared(made, "bundle", "--engine", "--precision", "--threads")
    made.add_argument(
        "--device", default="CPU", metavar="DEVICE", help="of OpenVINO: CPU, GPU, NPU or AUTO"
    )
    shared(made, "--json")
    return made


def _check(args: argparse.Namespace) -> int:
    from segmif_ros.bundle import Bundle
    from segmif_ros.engines import open_engine
    from segmif_ros.engines.base import EngineOptions
    from segmif_ros.engines.reference import check_engine

    bundle = Bundle.load(args.bundle)
    options = EngineOptions(args.threads, args.precision, args.device)
    engine = open_engine(args.engine, bundle, options=options, on_warning=note, on_progress=note)
    try:
        with progress_bar(unit="pair", desc=engine.name) as bar:

            def show(done: int, pairs: int) -> None:
                bar.total = pairs
                bar.update(done - bar.n)

            result = check_engine(engine, bundle, threads=args.threads, progress=show)
    finally:
        engine.close()
    print(result.to_json().rstrip() if args.json else report(result))
    if result.passed and not args.json:
        next_step(f"segmif bench {args.bundle}")
    return FINE if result.passed else VERDICT


def report(result: GateResult) -> str:
    """Return the result as lines for people."""
    from segmif_ros.engines.gate import SAME_DB

    lines = [
        f"engine: {_facts(result.candidate)}",
        f"reference: {_facts(result.reference)}",
        "",
        f"{'pair':<28}{'fused dB':>9}{'mask':>10}{'confidence':>12}{'saturated':>11}",
    ]
    for row in result.pairs:
        fused = "same" if row.fused_psnr_db >= SAME_DB else f"{row.fused_psnr_db:.1f}"
        lines.append(
            f"{row.name:<28}{fused:>9}{row.mask_agreement:>10.2%}"
            f"{row.confidence_error:>12.4f}{row.saturation:>11.2%}"
        )
    asked = result.thresholds
    lines += [
        f"{'asked':<28}{asked.fused_psnr_db:>9.1f}{asked.mask_agreement:>10.2%}"
        f"{asked.confidence_error:>12.4f}{asked.saturation:>11.2%}",
        "",
    ]
    if result.class_agreement:
        classes = ", ".join(f"{k} {v:.1%}" for k, v in result.class_agreement.items())
        lines.append(f"classes (at least {asked.class_agreement:.0%} required): {classes}")
    lines += [f"reason: {reason}" for reason in result.reasons]
    lines.append("passed" if result.passed else "failed")
    return "\n".join(lines)


def _facts(facts: Mapping[str, str]) -> str:
    words = ("runtime", "device", "precision")
    return ", ".join(facts[word] for word in words if facts.get(word))
