# SPDX-License-Identifier: Apache-2.0
"""`segmif info`: what a model bundle is and what one frame costs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from segmif_ros.cli.command_line import FINE, Parser, as_size, shared

if TYPE_CHECKING:
    from segmif_ros.bundle import Bundle

HEADER = ("part", "parameters", "GFLOP", "weights MB", "written MB")


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(
        "segmif info",
        "segmif info segmif-nano",
        work=_show,
        expected=(ValueError,),
        description=__doc__,
    )
    shared(made, "bundle", "--json")
    return made


def _show(args: argparse.Namespace) -> int:
    from segmif_ros.bundle import Bundle
    from segmif_ros.export.cost import graph_cost

    bundle = Bundle.load(args.bundle)
    cost = graph_cost(bundle.model_path.read_bytes())
    manifest = bundle.manifest
    facts = [
        ("name", manifest.name),
        ("variant", manifest.variant or "not stated"),
        ("precision", manifest.precision),
        *((f"also in {name}", _other(bundle, name)) for name in bundle.precisions[1:]),
        ("size", f"{as_size(manifest.size)} (width x height)"),
        ("sha256", manifest.sha256),
        ("licence", manifest.licence or "not stated"),
        *((f"gate {key}", str(value)) for key, value in manifest.gate.items()),
        ("classes", ", ".join(f"{c.id} {c.name}" for c in manifest.classes)),
        *((f"switch {key}", str(value)) for key, value in manifest.switches.items()),
        *((f"provenance {key}", str(value)) for key, value in manifest.provenance.items()),
    ]
    if args.json:
        parts = [asdict(part) for part in (*cost.parts, cost.total)]
        print(json.dumps({**dict(facts), "parts": parts, "peak_mb": cost.peak_mb}, indent=1))
        return FINE
    print("\n".join(f"{key}: {value}" for key, value in facts))
    print()
    rows = [
        (
            *(part.part, f"{part.parameters:,}", f"{part.gflop:.2f}"),
            *(f"{part.weight_mb:.1f}", f"{part.written_mb:.1f}"),
        )
        for part in (*cost.parts, cost.total)
    ]
    print(_table([HEADER, *rows]))
    print(
        "\nGFLOP: convolutions and matrix products, 2 per multiply-add. Live tensors reach "
        f"{cost.peak_mb:.0f} MB, weights not counted."
    )
    return FINE


def _other(bundle: Bundle, precision: str) -> str:
    """List the models in other precisions, and how they were made."""
    from segmif_ros.bundle import BundleError

    entry = bundle.manifest.files[precision]
    try:
        size = bundle.select(precision).model_path.stat().st_size
    except BundleError as err:
        return f"cannot be used: {err}"
    made = ", ".join(f"{key} {value}" for key, value in entry.made.items())
    return f"{entry.file}, {size / 1e6:.1f} MB" + (f"; {made}" if made else "")


def _table(lines: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    texts = []
    for first, *numbers in lines:
        cells = [v.rjust(width) for v, width in zip(numbers, widths[1:], strict=True)]
        texts.append("  ".join([first.ljust(widths[0]), *cells]))
    return "\n".join(texts)
