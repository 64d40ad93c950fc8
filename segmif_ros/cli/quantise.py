# SPDX-License-Identifier: Apache-2.0
"""`segmif quantise`: put the same weights in fewer bits beside a bundle's float32 model."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from segmif_ros.cli.command_line import FINE, Parser, next_step, note, refuse_existing, shared
from segmif_ros.files import read_text
from segmif_ros.frames import Image8, ThermalImage
from segmif_ros.outputs import OutputError
from segmif_ros.recordings.clips import ClipError, FolderPairs
from segmif_ros.rig.draw.render import training_frame
from segmif_ros.thermal import ThermalNormaliser

if TYPE_CHECKING:
    from segmif_ros.bundle import Bundle

Pair = tuple[Image8, Image8]

_FIRST_SEED = 7000
"""Scenes that neither training nor the gate draws."""
_ALONE = 8
"""Every eighth pair comes once more with either camera blank, as the node runs one alone."""


def folder_pairs(
    folder: Path, size: tuple[int, int], count: int, names: Path | None = None
) -> list[Pair]:
    """Read up to `count` pairs of FOLDER/visible and FOLDER/infrared, evenly spaced.

    Args:
        folder: registered pictures of the same names.
        size: (height, width) to scale them to.
        count: pairs, before those with a blank camera.
        names: text file with the names to choose from, one a line; all if None.

    Raises:
        ClipError: no pairs, a name that is none, or a picture that cannot be read.
        OSError: `names` cannot be read.
    """
    source = FolderPairs(folder)
    wanted = list(range(len(source.names)))
    if names is not None:
        places = {name: i for i, name in enumerate(source.names)}
        listed = read_text(names).split()
        unknown = [name for name in listed if name not in places]
        if unknown or not listed:
            shown = ", ".join(unknown[:3]) or "nothing"
            raise ClipError(f"{names} lists {shown}, expected names of pairs in {folder}")
        wanted = [places[name] for name in listed]
    spread = np.linspace(0, len(wanted) - 1, min(count, len(wanted))).round().astype(int)
    return _with_blanks([_ready(*source.read(wanted[i]).arrays(), size) for i in spread])


def rig_pairs(size: tuple[int, int], count: int) -> list[Pair]:
    """Draw `count` pairs in all lightings."""
    frames = [training_frame(_FIRST_SEED + i) for i in range(count)]
    return _with_blanks([_ready(frame.rgb, frame.thermal, size) for frame in frames])


def _ready(rgb: Image8, thermal: ThermalImage, size: tuple[int, int]) -> Pair:
    return _fitted(rgb, size), _fitted(ThermalNormaliser().normalise(thermal), size)


def _fitted(image: Image8, size: tuple[int, int]) -> Image8:
    if image.shape[:2] != size:
        image = np.asarray(cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    return np.ascontiguousarray(image)


def _with_blanks(pairs: list[Pair]) -> list[Pair]:
    chosen = pairs[::_ALONE]
    without_rgb = [(np.zeros_like(rgb), thermal) for rgb, thermal in chosen]
    return [*pairs, *without_rgb, *((rgb, np.zeros_like(thermal)) for rgb, thermal in chosen)]


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
    """Add the options of int8: calibration data and runtime."""
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
    """Report whether TensorRT accepts the file, where that can be tested."""
    from segmif_ros.cli.command_line import say
    from segmif_ros.engines.tensorrt.ahead import compile_report

    line = compile_report(bundle, precision)
    if line:
        say(line)


def add_precision(bundle: Bundle, precision: str, args: argparse.Namespace) -> Bundle:
    """Make one precision from the options and print the gate's result.

    Raises:
        PrecisionError, BundleError, EngineError, ClipError, OSError: it cannot be made.
    """
    from segmif_ros.cli.command_line import progress_bar, say
    from segmif_ros.cli.quantise import folder_pairs, rig_pairs
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


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(
        "segmif quantise",
        "segmif quantise segmif-nano --write-precision fp16,int8 --out models/nano-small",
        work=_quantise,
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
