# SPDX-License-Identifier: Apache-2.0
"""`segmif build-engine`: build, check and keep the TensorRT engine of a model bundle."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from segmif_ros.bundle import PRECISIONS, Bundle, BundleError
from segmif_ros.cli.console import say
from segmif_ros.cli.export import image_size
from segmif_ros.engines.base import (
    OPTIMIZATION_LEVEL,
    WORKSPACE_MIB,
    EngineError,
    EngineOptions,
)
from segmif_ros.engines.cache import default_folder
from segmif_ros.engines.tensorrt.ahead import build_ahead
from segmif_ros.engines.tensorrt.build import TARGETS
from segmif_ros.engines.tensorrt.open import open_tensorrt

EPILOG = """\
The engine is tied to this GPU, driver and version of TensorRT; it is built again when one of them
changes. `engine: tensorrt` of the node builds it as well, with minutes of waiting at its start.

--ahead needs neither GPU nor driver, only TensorRT for RTX (pip install 'segmif_ros[rtx]'). It
writes BUNDLE/engines, where the node looks; there the engine is compared with the float32 model
at the first start on a GPU, and refused or kept. docs/tensorrt.md says which GPUs take it.
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
        "--precision", choices=("auto", *PRECISIONS), default="auto",
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
        help=f"folder of engines, default {default_folder()}, with --ahead BUNDLE/engines",
    )
    made.add_argument(
        "--ahead", action="store_true", help="build for GPUs that need not be in this machine"
    )
    made.add_argument(
        "--for", choices=tuple(TARGETS), default="ampere+", dest="target",
        help="GPUs that --ahead builds for, default %(default)s",
    )  # fmt: skip
    made.add_argument("--rebuild", action="store_true", help="build even if there is one")
    return made


def main(argv: Sequence[str]) -> int:
    """Build and return the exit code."""
    args = parser().parse_args(argv)
    started = monotonic()
    options = EngineOptions(
        precision=args.precision,
        cache=args.cache,
        workspace_mib=args.workspace,
        optimization_level=args.optimization_level,
        rebuild=args.rebuild,
    )
    try:
        bundle = Bundle.load(args.bundle)
        _check_size(bundle, args.size)
        if args.ahead:
            _ahead(bundle, options, args.target)
            return 0
        engine = open_tensorrt(bundle, options, warn=_warn, tell=say)
    except (BundleError, EngineError, OSError) as err:
        sys.stderr.write(f"segmif build-engine: {err}\n")
        return 1
    facts = engine.describe()
    engine.close()
    say(f"ready after {monotonic() - started:.0f} s")
    for name in ("engine_file", "runtime", "device", "precision", "graph", "gate"):
        say(f"{name}: {facts[name]}")
    return 0


def _ahead(bundle: Bundle, options: EngineOptions, target: str) -> None:
    """Build without a GPU, from a float16 file that is made first where there is none."""
    if options.precision == "fp16" and "fp16" not in bundle.precisions:
        from segmif_ros.export.precision import PrecisionError, add_fp16

        say(f"{bundle.path} has no fp16 file; making one from fp32")
        try:
            bundle, result = add_fp16(bundle)
        except PrecisionError as err:
            raise BundleError(str(err)) from err
        say(f"{bundle.path / bundle.manifest.files['fp16'].file}: gate {result.summary()}")
    path, built, recipe = build_ahead(bundle, options, target, tell=say)
    say(f"engine_file: {path}")
    say(f"built: {built.summary()}")
    say(f"from: {recipe.bundle.model_path.name}, sha256 {recipe.bundle.manifest.sha256}")
    numbers = ", ".join(f"{number // 10}.{number % 10}" for number in TARGETS[target])
    say(f"for: {target}" + (f" (compute capability {numbers})" if numbers else ""))
    say(f"precision: {recipe.label}")
    say("gate: runs at the first start on such a GPU")


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
