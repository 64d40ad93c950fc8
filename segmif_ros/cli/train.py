# SPDX-License-Identifier: Apache-2.0
"""`segmif train`: run a recipe on the data sets it names."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from segmif_ros.cli.command_line import FINE, INTERRUPTED, VERDICT, Parser, note, shared, whole
from segmif_ros.outputs import require_absent

if TYPE_CHECKING:
    from segmif_ros.datasets.sample import Source
    from segmif_ros.training.loop import Options
    from segmif_ros.training.recipe import Recipe


def _train(args: argparse.Namespace) -> int:
    import torch

    from segmif_ros.datasets.classes import load_classes
    from segmif_ros.training.loop import Options, train
    from segmif_ros.training.recipe import Recipe
    from segmif_ros.training.sources import open_sources, open_validation, require_labels

    if args.threads:
        torch.set_num_threads(args.threads)
    options = Options(device=args.device, precision=args.precision, workers=args.workers)
    cache = args.out / "rig-frames"
    try:
        recipe = Recipe.load(args.recipe)
        classes = len(load_classes(recipe.labels))
        sources = open_sources(recipe, args.data, cache)
        if args.fusion_only:
            print("labels are optional: without any, only fusion is trained")
        elif recipe.segmentation_weight > 0.0:
            require_labels(recipe, sources)
        _refuse_trained(args)
        if args.overfit:
            return _overfit(args, recipe, sources, classes, options)
        validation = open_validation(recipe, args.data, cache)
        if os.environ.get("RANK", "0") == "0":  # torchrun starts several of us
            for name, source in sources.items():
                print(f"{name}: {len(source)} pairs")
        train(
            recipe,
            sources,
            args.out,
            classes=classes,
            resume=args.resume,
            start=args.start,
            encoder=args.encoder,
            validation=validation,
            options=options,
        )
    except KeyboardInterrupt:
        note(f"interrupted; {args.out / 'checkpoint.pt'} continues with --resume")
        return INTERRUPTED
    _tell_next(args.out)
    return FINE


def _refuse_trained(args: argparse.Namespace) -> None:
    """Refuse to start again where a run lies, unless forced: its weights took hours of training."""
    for path in [args.out / name for name in ("checkpoint.pt", "best.pt", "log.jsonl")]:
        if args.force:
            path.unlink(missing_ok=True)
        elif not args.resume:
            require_absent(
                path,
                "it is of an earlier run; continue with --resume, replace it with --force, or give "
                "another folder with --out",
            )


def _overfit(
    args: argparse.Namespace,
    recipe: Recipe,
    sources: dict[str, Source],
    classes: int,
    options: Options,
) -> int:
    """Overfit a few pairs and report the result."""
    from segmif_ros.training import checkpoint
    from segmif_ros.training.loop import train
    from segmif_ros.training.overfit import TARGET, in_turn, labelled_pairs, overfit_recipe

    pairs = labelled_pairs(sources, args.overfit)
    print("overfit:", ", ".join(pair.name for pair in pairs))
    train(
        overfit_recipe(recipe, pairs, classes),
        {"overfit": in_turn(pairs)},
        args.out,
        classes=classes,
        start=args.start,
        encoder=args.encoder,
        validation=in_turn(pairs),
        options=options,
    )
    best = checkpoint.read(args.out / "best.pt")
    verdict = "reached" if best["score"] >= TARGET else "missed"
    print(f"mIoU {best['score']:.3f} after {best['step']} steps: {TARGET:.2f} {verdict}")
    return FINE if best["score"] >= TARGET else VERDICT


def _tell_next(out: Path) -> None:
    best = out / "best.pt"
    weights = best if best.is_file() else out / "checkpoint.pt"
    print(f"weights: {weights}; next: segmif export --checkpoint {weights} --out models/NAME")


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(
        "segmif train",
        "segmif train --recipe config/training/fmb-nano.yaml --data DATA --out runs/mine\n"
        "torchrun --nproc-per-node 4 -m segmif_ros.cli.main train ...    # several GPUs",
        work=_train,
        expected=(ValueError,),
        description=__doc__,
    )
    made.add_argument(
        "--recipe", type=Path, required=True, metavar="YAML", help="under config/training"
    )
    made.add_argument(
        "--data", type=Path, default=Path(), metavar="FOLDER",
        help="folder that the recipe's paths are below",
    )  # fmt: skip
    shared(made, "--out", required=True, metavar="FOLDER", help="folder for checkpoints and logs")
    shared(made, "--force")
    begin = made.add_mutually_exclusive_group()
    begin.add_argument("--resume", action="store_true", help="continue OUT/checkpoint.pt")
    begin.add_argument("--start", type=Path, metavar="CHECKPOINT|BUNDLE", help="initial weights")
    begin.add_argument(
        "--encoder", type=Path, metavar="PTH",
        help="MiT or SegFormer checkpoint with the initial encoder",
    )  # fmt: skip
    made.add_argument(
        "--fusion-only", action="store_true", help="train although no pair has a label"
    )
    made.add_argument(
        "--overfit", type=whole(0), default=0, metavar="N",
        help="overfit N pairs, as a check; 0: train",
    )  # fmt: skip
    made.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to compute"
    )
    shared(
        made,
        "--precision",
        choices=("auto", "fp32", "bf16", "fp16"),
        help="of the forward pass; auto: the recipe's",
    )
    made.add_argument(
        "--workers", type=whole(0), default=1, metavar="N", help="threads that draw batches ahead"
    )
    shared(made, "--threads")
    return made
