# SPDX-License-Identifier: Apache-2.0
"""`segmif train`: run a recipe on the data sets it names."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segmif_ros.datasets.sample import Source
    from segmif_ros.training.loop import Options
    from segmif_ros.training.recipe import Recipe


def main(argv: Sequence[str]) -> int:
    """Train and return the exit code."""
    args = _parser().parse_args(argv)
    try:
        import torch
    except ImportError:
        sys.stderr.write("training needs PyTorch: pip install 'segmif_ros[train]'\n")
        return 1
    from segmif_ros.datasets.classes import load_classes
    from segmif_ros.training.loop import Options, TrainingError, train
    from segmif_ros.training.recipe import Recipe
    from segmif_ros.training.sources import open_sources, open_validation, require_labels

    if args.threads:
        torch.set_num_threads(args.threads)
    options = Options(device=args.device, precision=args.precision, workers=args.workers)
    cache = args.out / "rig-frames"
    try:
        _refuse_trained(args)
        recipe = Recipe.load(args.recipe)
        classes = len(load_classes(recipe.labels))
        sources = open_sources(recipe, args.data, cache)
        if args.fusion_only:
            print("labels are not asked for: without any, only fusion is trained")
        elif recipe.segmentation_weight > 0.0:
            require_labels(recipe, sources)
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
    except (OSError, ValueError, TrainingError) as err:
        sys.stderr.write(f"segmif train: {err}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"interrupted; {args.out / 'checkpoint.pt'} goes on with --resume\n")
        return 130
    _tell_next(args.out)
    return 0


def _refuse_trained(args: argparse.Namespace) -> None:
    """Refuse to begin anew where a run lies: its weights are hours of somebody's time.

    Raises:
        FileExistsError: with the file and what to do.
    """
    there = [name for name in ("checkpoint.pt", "best.pt") if (args.out / name).exists()]
    if there and not args.resume:
        raise FileExistsError(
            f"{args.out / there[0]} is of an earlier run; go on with --resume, or give another "
            "folder with --out"
        )


def _overfit(
    args: argparse.Namespace,
    recipe: Recipe,
    sources: dict[str, Source],
    classes: int,
    options: Options,
) -> int:
    """Learn a few pairs by heart and say how well that went."""
    from segmif_ros.training import checkpoint
    from segmif_ros.training.loop import train
    from segmif_ros.training.overfit import TARGET, in_turn, labelled_pairs, overfit_recipe

    pairs = labelled_pairs(sources, args.overfit)
    print("by heart:", ", ".join(pair.name for pair in pairs))
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
    return 0 if best["score"] >= TARGET else 1


def _tell_next(out: Path) -> None:
    best = out / "best.pt"
    weights = best if best.is_file() else out / "checkpoint.pt"
    print(f"weights: {weights}; next: segmif export --checkpoint {weights} --out models/NAME")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="segmif train",
        description=__doc__,
        epilog="several GPUs: torchrun --nproc-per-node N -m segmif_ros.cli.main train ...",
    )
    parser.add_argument("--recipe", type=Path, required=True, help="YAML under config/training")
    parser.add_argument(
        "--data", type=Path, default=Path(), help="folder that the recipe's paths are below"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and logs")
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--resume", action="store_true", help="continue OUT/checkpoint.pt")
    begin.add_argument(
        "--start", type=Path, help="checkpoint or bundle whose weights to begin with"
    )
    begin.add_argument(
        "--encoder", type=Path, help="MiT or SegFormer checkpoint whose encoder to begin with"
    )
    parser.add_argument(
        "--overfit", type=int, default=0, metavar="N", help="learn N pairs by heart, as a check"
    )
    parser.add_argument(
        "--fusion-only", action="store_true", help="train although no pair has a label"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--precision", choices=("auto", "fp32", "bf16", "fp16"), default="auto",
        help="of the forward pass; auto: the recipe's",
    )  # fmt: skip
    parser.add_argument("--workers", type=int, default=1, help="threads that draw batches ahead")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads, 0 = all cores")
    return parser
