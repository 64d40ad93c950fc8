# SPDX-License-Identifier: Apache-2.0
"""From the names in a recipe to data sets on disk."""

from __future__ import annotations

from pathlib import Path

from segmif_ros.datasets.folders import folder_pairs
from segmif_ros.datasets.held_out import held_out
from segmif_ros.datasets.msrs import msrs_pairs
from segmif_ros.datasets.rig import rig_pairs
from segmif_ros.datasets.sample import DatasetError, Source, cached
from segmif_ros.training.recipe import Recipe

_RIG_TRAINING_SEEDS = 100_000
"""Training scenes are counted from here; lower seeds stay unseen for tests and scores."""


def open_sources(recipe: Recipe, data: Path, cache: Path | None = None) -> dict[str, Source]:
    """Open every data set that `recipe.mix` names; `cache` keeps rendered rig frames.

    Raises:
        DatasetError: an unknown name or a missing folder.
    """
    sources: dict[str, Source] = {}
    for name in recipe.mix:
        if name == "msrs":
            pairs = msrs_pairs(data / "msrs", "train")
            kept = set(held_out(len(pairs), recipe.hold_out_every))
            sources[name] = cached([pair for i, pair in enumerate(pairs) if i not in kept])
        elif name == "roadscene":
            sources[name] = cached(folder_pairs(data / "roadscene"))
        elif name == "m3svd":
            sources[name] = cached(folder_pairs(data / "m3svd_frames"))
        elif name == "rig":
            first = recipe.seed * 10_000 + _RIG_TRAINING_SEEDS
            sources[name] = cached(rig_pairs(range(first, first + recipe.rig_scenes), cache))
        else:
            raise DatasetError(
                f"data set {name!r} of the recipe is unknown, "
                "expected msrs, roadscene, m3svd or rig"
            )
    return sources
