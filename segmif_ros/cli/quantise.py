# SPDX-License-Identifier: Apache-2.0
"""`segmif quantise`: put the same weights in fewer bits beside a bundle's float32 model."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from segmif_ros.cli.command_line import FINE, Parser, refuse_existing, run, shared
from segmif_ros.cli.console import next_step, note
from segmif_ros.outputs import OutputError

if TYPE_CHECKING:
    from segmif_ros.bundle import Bundle


def precisions(text: str) -> tuple[str, ...]:
    """Parse "fp16,int8".

    Raises:
        argparse.ArgumentTypeError: an unknown precision, or one twice.
    """
    names = tuple(text.split(","))
    known = ("fp32", "fp16", "int8")
    if not all(name in known for name in names) or len(set(names)) != len(names):
        raise argparse.ArgumentTypeError(f"{text!r}, expected some of {', '.join(known)}")
    return names


def add_calibration_options(parser: Parser) -> None:
    """Add the options that say what int8 is calibrated on, and for which runtime."""
    group = parser.add_argument_group("int8")
    shared(
        group,
        "--pairs",
        help="calibrate on FOLDER/visible and FOLDER/infrared (default: pairs of the virtual rig)",
    )
    group.add_argument(
        "--names", type=Path, metavar="FILE",
        help="only the pairs whose names FILE lists, one a line",
    )  # fmt: skip
    shared(group, "--limit", default=32, help="pairs to calibrate on, evenly spaced")
    group.add_argument(
        "--for", choices=("tensorrt", "cpu"), default="tensorrt", dest="runtime",
        help="what the file is made for; any engine runs either but TensorRT",
    )  # fmt: skip


def say_compiled(bundle: Bundle, precision: str) -> None:
    """Say whether TensorRT takes what was written, where that can be found out."""
    from segmif_ros.cli.console import say
    from segmif_ros.engines.tensorrt.ahead import compile_report

    line = compile_report(bundle, precision)
    if line:
        say(line)


def add_precision(bundle: Bundle, precision: str, args: argparse.Namespace) -> Bundle:
    """Make one precision as the options say and print what the gate found.

    Raises:
        PrecisionError, BundleError, EngineError, ClipError, OSError: it cannot be made.
    """
    from segmif_ros.cli.calibration_pairs import folder_pairs, rig_pairs
    from segmif_ros.cli.console import progress_bar, say
    from segmif_ros.export.precision import add_fp16, add_int8

    if precision == "fp16":
        bundle, result = add_fp16(bundle)
    else:
        size = bundle.manifest.size
        if args.pairs is None:
            pairs, source = rig_pairs(size, args.limit), "virtual rig"
        else:
            pairs = folder_pairs(args.pairs, size, args.limit, args.names)
            source = args.pairs.resolve().name
        with progress_bar(total=len(pairs), unit="pair", desc="calibration") as bar:
            bundle, result = add_int8(
                bundle,
                pairs,
                source=source,
                runtime=args.runtime,
                progress=lambda done, _all: bar.update(max(0, done - bar.n)),
            )
    entry = bundle.manifest.files[precision]
    megabytes = (bundle.path / entry.file).stat().st_size / 1e6
    say(f"{bundle.path / entry.file}: {precision}, {megabytes:.1f} MB, gate {result.summary()}")
    if precision != "int8" or args.runtime == "tensorrt":
        say_compiled(bundle, precision)
    return bundle


def main(argv: Sequence[str]) -> int:
    """Write the files and return the exit code."""
    return run(parser(), _quantise, argv)


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(
        "segmif quantise",
        "segmif quantise segmif-nano --write-precision fp16,int8 --out models/nano-small",
        description=__doc__,
    )
    shared(made, "bundle")
    made.add_argument(
        "--write-precision", type=precisions, default="int8", metavar="fp16[,int8]",
        help="precisions to write",
    )  # fmt: skip
    shared(
        made,
        "--out",
        metavar="BUNDLE",
        help="write a new bundle there (default: add to the one given)",
    )
    shared(made, "--force")
    add_calibration_options(made)
    return made


def _quantise(args: argparse.Namespace) -> int:
    from segmif_ros.bundle import Bundle
    from segmif_ros.export.bundle_writer import place_bundle

    refuse_existing(args, "out")
    bundle = Bundle.load(args.bundle)
    wanted = [precision for precision in args.write_precision if precision != "fp32"]
    there = [precision for precision in wanted if precision in bundle.precisions[1:]]
    if args.out is None and there and not args.force:
        raise OutputError(
            f"{bundle.path} has a model in {there[0]} already; --force replaces it, --out writes a "
            "copy of the bundle"
        )
    existed, added = args.out is not None and args.out.exists(), list[str]()
    if args.out is not None:
        bundle = place_bundle(bundle, args.out)
    try:
        for precision in wanted:
            bundle = add_precision(bundle, precision, args)
            added.append(precision)
    except BaseException:
        if args.out is not None and not added and not existed:
            shutil.rmtree(args.out)  # the next try would find it in its way
        if added:
            note(f"{bundle.path} holds {', '.join(added)} now; the next one failed:")
        raise
    next_step(f"segmif check-engine {bundle.path} --precision {args.write_precision[-1]}")
    return FINE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
