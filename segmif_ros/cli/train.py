# SPDX-License-Identifier: Apache-2.0
"""`segmif train`: run a recipe on the data sets it names."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str]) -> int:
    """Train and return the exit code."""
    parser = argparse.ArgumentParser(prog="segmif train", description=__doc__)
    parser.add_argument("--recipe", type=Path, required=True, help="YAML under config/training")
    parser.add_argument("--data", type=Path, required=True, help="folder with msrs/, roadscene/...")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoint and log")
    parser.add_argument("--resume", action="store_true", help="continue OUT/checkpoint.pt")
    parser.add_argument("--start", type=Path, help="checkpoint whose weights to begin with")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads, 0 = all cores")
    args = parser.parse_args(argv)
    try:
        import torch
    except ImportError:
        sys.stderr.write("training needs PyTorch: pip install 'segmif_ros[train]'\n")
        return 1
    from segmif_ros.datasets.classes import load_classes
    from segmif_ros.datasets.sample import DatasetError
    from segmif_ros.training.loop import train
    from segmif_ros.training.recipe import Recipe, RecipeError
    from segmif_ros.training.sources import open_sources

    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        recipe = Recipe.load(args.recipe)
        sources = open_sources(recipe, args.data, args.out.parent / "rig-frames")
    except (RecipeError, DatasetError) as err:
        sys.stderr.write(f"{err}\n")
        return 1
    for name, source in sources.items():
        print(f"{name}: {len(source)} pairs")
    train(
        recipe,
        sources,
        args.out,
        classes=len(load_classes(recipe.labels)),
        resume=args.resume,
        start=args.start,
    )
    print(f"weights: {args.out / 'checkpoint.pt'}; next: segmif export --checkpoint ...")
    return 0
