# SPDX-License-Identifier: Apache-2.0
"""`segmif build-engine`: build, check and keep the TensorRT engine of a model bundle."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from segmif_ros.bundle import Bundle, BundleError
from segmif_ros.cli.console import say
from segmif_ros.cli.export import image_size
from segmif_ros.engines.base import EngineError
from segmif_ros.engines.tensorrt.build import (
    OPTIMIZATION_LEVEL,
    PRECISIONS,
    WORKSPACE_MIB,
    Limits,
)
from segmif_ros.engines.tensorrt.cache import default_folder
from segmif_ros.engines.tensorrt.open import Wanted, open_tensorrt

EPILOG = """\
The engine is tied to this GPU, driver and version of TensorRT; it is built again when one of them
changes. `engine: tensorrt` of the node builds it as well, with minutes of waiting at its start.
"""


def whole_number(text: str, lowest: int, highest: int) -> int:
    """Parse a whole number of a range.

    Raises:
        argparse.ArgumentTypeError: anything else.
    """
    number = int(text) if text.isdecimal() else -1
    if not lowest <= number <= highest:
        raise argparse.ArgumentTypeError(f"{text!r}, expected {lowest} to {highest}")
    return number


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="segmif build-engine",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("bundle", help="folder of a model bundle, or the name of a shipped one")
    made.add_argument(
        "--precision", choices=PRECISIONS, default="auto",
        help="auto: fp16 if it is accurate enough, else fp32",
    )  # fmt: skip
    made.add_argument(
        "--size", type=image_size,
        help="HEIGHTxWIDTH that the engine must have; the size is fixed by `segmif export`",
    )  # fmt: skip
    made.add_argument(
        "--workspace", type=lambda text: whole_number(text, 16, 65536), default=WORKSPACE_MIB,
        metavar="MIB", help="scratch memory of the GPU, default %(default)s",
    )  # fmt: skip
    made.add_argument(
        "--optimization-level", type=lambda text: whole_number(text, 0, 5), metavar="0-5",
        default=OPTIMIZATION_LEVEL, help="0 builds fastest, 5 longest, default %(default)s",
    )  # fmt: skip
    made.add_argument(
        "--cache",
        "--engine-cache",
        type=Path,
        help=f"folder of engines, default {default_folder()}",
    )
    made.add_argument("--rebuild", action="store_true", help="build even if there is one")
    return made


def main(argv: Sequence[str]) -> int:
    """Build and return the exit code."""
    args = parser().parse_args(argv)
    started = monotonic()
    try:
        bundle = Bundle.load(args.bundle)
        _check_size(bundle, args.size)
        wanted = Wanted(
            precision=args.precision,
            cache=args.cache,
            limits=Limits(args.workspace, args.optimization_level),
            rebuild=args.rebuild,
        )
        engine = open_tensorrt(bundle, wanted, warn=_warn, tell=say)
    except (BundleError, EngineError) as err:
        sys.stderr.write(f"segmif build-engine: {err}\n")
        return 1
    facts = engine.describe()
    engine.close()
    say(f"ready after {monotonic() - started:.0f} s")
    for name in ("engine_file", "runtime", "device", "precision", "graph", "gate"):
        say(f"{name}: {facts[name]}")
    return 0


def _check_size(bundle: Bundle, size: tuple[int, int] | None) -> None:
    if size is not None and size != bundle.manifest.size:
        has, asked = ("{}x{}".format(*each) for each in (bundle.manifest.size, size))
        raise BundleError(
            f"{bundle.path} is a model for {has}, --size asks for {asked}; the size is part of the "
            f"model: make one with `segmif export --size {asked}`"
        )


def _warn(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
