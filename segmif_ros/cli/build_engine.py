# SPDX-License-Identifier: Apache-2.0
"""`segmif build-engine`: build, check and keep the TensorRT engine of a model bundle."""

from __future__ import annotations

import argparse
from time import monotonic

from segmif_ros.bundle import Bundle, BundleError
from segmif_ros.cli.command_line import (
    FINE,
    Parser,
    as_size,
    next_step,
    note,
    say,
    shared,
    whole,
)
from segmif_ros.engines.base import (
    OPTIMIZATION_LEVEL,
    WORKSPACE_MIB,
    EngineOptions,
)
from segmif_ros.engines.cache import default_folder
from segmif_ros.engines.tensorrt.ahead import build_ahead
from segmif_ros.engines.tensorrt.build import TARGETS
from segmif_ros.engines.tensorrt.open import open_tensorrt

EPILOG = """\
The engine is tied to this GPU, driver and version of TensorRT; it is built again when one of them
changes. `engine: tensorrt` of the node builds it as well, with minutes of waiting at its start.

--ahead needs neither GPU nor driver, only TensorRT for RTX (pip install -e '.[rtx]'). It
writes BUNDLE/engines, where the node looks; there the engine is compared with the float32 model
at the first start on a GPU, and refused or kept. docs/tensorrt.md says which GPUs take it.
"""


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(
        "segmif build-engine",
        "segmif build-engine segmif-nano --ahead --precision fp16",
        work=_build,
        description=__doc__,
        epilog=f"\n{EPILOG}",
    )
    shared(made, "bundle")
    shared(made, "--precision", help="auto: fp16 if it is accurate enough, else fp32")
    shared(
        made,
        "--size",
        help="size that the engine must have (default: the model's, fixed by `segmif export`)",
    )
    made.add_argument(
        "--workspace", type=whole(16, 65536), default=WORKSPACE_MIB, metavar="MIB",
        help="scratch memory of the GPU",
    )  # fmt: skip
    made.add_argument(
        "--optimization-level", type=whole(0, 5), metavar="0-5",
        default=OPTIMIZATION_LEVEL, help="0 builds fastest, 5 longest",
    )  # fmt: skip
    shared(
        made,
        "--engine-cache",
        help=f"folder of engines (default: {default_folder()}, with --ahead BUNDLE/engines)",
    )
    made.add_argument(
        "--ahead", action="store_true", help="build for GPUs that need not be in this machine"
    )
    made.add_argument(
        "--for", choices=tuple(TARGETS), default="ampere+", dest="target",
        help="GPUs that --ahead builds for",
    )  # fmt: skip
    made.add_argument("--rebuild", action="store_true", help="build even if there is one")
    return made


def _build(args: argparse.Namespace) -> int:
    started = monotonic()
    options = EngineOptions(
        precision=args.precision,
        cache=args.engine_cache,
        workspace_mib=args.workspace,
        optimization_level=args.optimization_level,
        rebuild=args.rebuild,
    )
    bundle = Bundle.load(args.bundle)
    _check_size(bundle, args.size)
    if args.ahead:
        _ahead(bundle, options, args.target)
        return FINE
    engine = open_tensorrt(bundle, options, on_warning=note, on_progress=say)
    facts = engine.describe()
    engine.close()
    say(f"ready after {monotonic() - started:.0f} s")
    for name in ("engine_file", "runtime", "device", "precision", "graph", "gate"):
        say(f"{name}: {facts[name]}")
    next_step(f"segmif_node --ros-args -p model:={args.bundle} -p engine:=tensorrt")
    return FINE


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
    path, built, recipe = build_ahead(bundle, options, target, on_progress=say)
    say(f"engine_file: {path}")
    say(f"built: {built.summary()}")
    say(f"from: {recipe.bundle.model_path.name}, sha256 {recipe.bundle.manifest.sha256}")
    numbers = ", ".join(f"{number // 10}.{number % 10}" for number in TARGETS[target])
    say(f"for: {target}" + (f" (compute capability {numbers})" if numbers else ""))
    say(f"precision: {recipe.label}")
    say("gate: runs at the first start on such a GPU")


def _check_size(bundle: Bundle, size: tuple[int, int] | None) -> None:
    if size is not None and size != bundle.manifest.size:
        has, asked = map(as_size, (bundle.manifest.size, size))
        raise BundleError(
            f"{bundle.path} is a model for {has}, --size is {asked}; the size is part of the "
            f"model: make one with `segmif export --size {asked}`"
        )
