# SPDX-License-Identifier: Apache-2.0
"""`segmif export`: turn trained weights into a model bundle (ONNX + manifest)."""

from __future__ import annotations

import argparse
import hashlib
import math
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from segmif_ros.cli.command_line import (
    FINE,
    Parser,
    next_step,
    refuse_existing,
    require_landscape,
    shared,
)
from segmif_ros.cli.quantise import (
    add_calibration_options,
    add_precision,
    precisions,
    say_compiled,
)


def class_bias(text: str) -> tuple[str, float]:
    """Parse CLASS=LOGIT, for example person=0.8.

    Raises:
        argparse.ArgumentTypeError: anything else.
    """
    name, _, value = text.partition("=")
    try:
        logit = float(value)
    except ValueError:
        logit = math.nan
    if not name or not math.isfinite(logit):
        raise argparse.ArgumentTypeError(f"{text!r}, expected CLASS=LOGIT such as person=0.8")
    return name, logit


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(
        "segmif export",
        "segmif export --checkpoint runs/mine/best.pt --size 640x480 --out models/mine",
        work=_export,
        expected=(KeyError, RuntimeError, ValueError),
        description=__doc__,
    )
    weights = made.add_mutually_exclusive_group(required=True)
    weights.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="checkpoint.pt of `segmif train`"
    )
    weights.add_argument(
        "--random", type=int, metavar="SEED", help="random weights: right shapes, wrong pictures"
    )
    made.add_argument(
        "--recipe", type=Path, action="append", metavar="YAML", help="recipes of the weights"
    )
    made.add_argument(
        "--variant", metavar="NAME", help="network (default: the recipe's or checkpoint's)"
    )
    shared(made, "--classes", help="class list under config/labels (default: likewise)")
    shared(made, "--size", default="640x480")
    shared(made, "--portrait")
    made.add_argument("--name", metavar="NAME", help="model name (default: the folder's)")
    made.add_argument(
        "--class-bias", type=class_bias, action="append", default=[], metavar="CLASS=LOGIT",
        help="add to the score of a class: more of it is found, and more wrongly",
    )  # fmt: skip
    made.add_argument(
        "--write-precision", type=precisions, default="fp32", metavar="fp32[,fp16][,int8]",
        help="write the weights in these as well; what the accuracy gate refuses is not written",
    )  # fmt: skip
    add_calibration_options(made)
    made.add_argument(
        "--half-weights", action="store_true",
        help="store large weights as float16, half the file; the graph still computes in float32",
    )  # fmt: skip
    made.add_argument(
        "--licence", default="", metavar="TEXT", help="licence of weights and training data"
    )
    shared(made, "--out", required=True, metavar="BUNDLE", help="bundle folder to write")
    shared(made, "--force")
    return made


def _export(args: argparse.Namespace) -> int:
    require_landscape(args.size, confirmed=args.portrait)
    refuse_existing(args, "out")
    import torch

    from segmif_ros.datasets.classes import load_classes
    from segmif_ros.export.export import write_bundle
    from segmif_ros.network.segmif import Switches
    from segmif_ros.network.variants import build
    from segmif_ros.training.checkpoint import read
    from segmif_ros.training.recipe import Recipe

    recipes = [Recipe.load(path) for path in args.recipe or []]
    stored = {} if args.checkpoint is None else read(args.checkpoint)
    told = recipes[-1] if recipes else None
    variant = args.variant or (told.variant if told else str(stored.get("variant", "")))
    labels = args.classes or (told.labels if told else str(stored.get("labels", "fmb15")))
    classes = load_classes(labels)
    torch.manual_seed(args.random or 0)
    network = build(variant, len(classes))
    if args.checkpoint is not None:
        _load_weights(network, stored["average"], args.checkpoint, variant)
    _add_bias(network, [label.name for label in classes], dict(args.class_bias))
    bundle = write_bundle(
        network,
        args.out,
        name=args.name or args.out.name,
        variant=variant,
        size=args.size,
        classes=classes,
        switches={**Switches().to_manifest(), "attention": network.attention},
        provenance=_provenance(args, torch.__version__, stored),
        licence=args.licence,
        half_weights=args.half_weights,
    )
    size = bundle.model_path.stat().st_size
    print(f"{bundle.path}: {bundle.manifest.name}, {size / 1e6:.1f} MB, {bundle.manifest.sha256}")
    say_compiled(bundle, "fp32")
    for precision in args.write_precision:
        if precision != "fp32":
            bundle = add_precision(bundle, precision, args)
    next_step(f"segmif evaluate --dataset PATH --model {bundle.path} --out scores")
    return FINE


def _load_weights(network: Any, weights: Any, path: Path, variant: str) -> None:
    """Put the averaged weights of a training checkpoint into a network."""
    from segmif_ros.export.export import ExportError

    try:
        network.load_state_dict(weights)
    except (RuntimeError, AttributeError, TypeError) as err:
        raise ExportError(
            f"checkpoint {str(path)!r} does not fit variant {variant!r} with the classes of "
            "--classes; give the --variant or --recipe that it was trained with"
        ) from err


def _add_bias(network: Any, names: list[str], biases: Mapping[str, float]) -> None:
    """Add to the bias of the layer that scores the classes."""
    import torch

    for name, logit in biases.items():
        if name not in names:
            raise ValueError(
                f"--class-bias {name!r} is no class of --classes, expected one of {names}"
            )
        head = network.predict if hasattr(network, "predict") else network.head.predict
        with torch.no_grad():
            head.bias[names.index(name)] += logit


def _provenance(
    args: argparse.Namespace, torch_version: str, stored: Mapping[str, Any]
) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "exported": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "torch": torch_version,
    }
    if args.checkpoint is None:
        facts["weights"] = f"random, seed {args.random}; for tests of the chain only"
    else:
        facts["weights"] = "trained"
        facts["recipes"] = [path.name for path in args.recipe or []]
        # `segmif train --start BUNDLE` finds the weights again by these.
        digest = hashlib.sha256(args.checkpoint.read_bytes()).hexdigest()
        facts["checkpoint"] = {"path": str(args.checkpoint), "sha256": digest}
        facts.update({key: stored[key] for key in ("step", "score") if key in stored})
    if args.class_bias:
        facts["class_bias"] = dict(args.class_bias)
    return facts
