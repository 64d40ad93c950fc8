# SPDX-License-Identifier: Apache-2.0
"""Opens the data sets of a recipe for training and validation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from segmif_ros.datasets.classes import load_class_list
from segmif_ros.datasets.dataset import Dataset, held_out
from segmif_ros.datasets.folders import folder_pairs
from segmif_ros.datasets.labels import LabelReading
from segmif_ros.datasets.msrs import msrs_pairs
from segmif_ros.datasets.opening import open_dataset
from segmif_ros.datasets.rig import SEEDS, RigScenes, rig_pairs
from segmif_ros.datasets.sample import VAGUE, DatasetError, Sample, Source, cached
from segmif_ros.training.recipe import DataEntry, Recipe

OWN_LABELS = "fmb15"
"""Class list of the rig and of the development layout of MSRS."""
ROADSCENE_TRAIN = 130
"""Of the sorted names the others are kept to be scored on."""
_LOOKED_AT = 16
"""Number of pairs that are read to check for labels."""
_MOST_IN_MEMORY = 2000
"""Number of decoded pairs in memory per data set: 3 GB at 640x480."""


def open_sources(recipe: Recipe, data: Path, cache: Path | None = None) -> dict[str, Source]:
    """Open every data set that `recipe.mix` names, without what the recipe holds out.

    Args:
        recipe: names, and where they lie if they are no short names.
        data: folder that paths are relative to.
        cache: folder that keeps rendered rig frames.

    Raises:
        DatasetError: an unknown name or a missing folder.
    """
    sources: dict[str, Source] = {}
    for name in recipe.mix:
        pairs = _open(recipe, name, data, cache)
        kept = set(_held_out(recipe, name, pairs))
        trained = [pair for i, pair in enumerate(pairs) if i not in kept]
        sources[name] = cached(trained) if len(trained) <= _MOST_IN_MEMORY else trained
    return sources


def require_labels(recipe: Recipe, sources: dict[str, Source]) -> None:
    """Refuse recordings without a class; reads a few pairs of each.

    Labels of rig scenes do not count, because they are not of a real camera.

    Raises:
        DatasetError: no pair has a label or a box.
    """
    rigs = {name for name, entry in recipe.data.items() if entry.kind == "rig"} | {"rig"}
    recorded = {name: source for name, source in sources.items() if name not in rigs}
    if recorded and not any(_teaches_classes(source) for source in recorded.values()):
        raise DatasetError(
            f"no pair of {', '.join(recorded)} has a label or a box: only fusion is trained on "
            "them. Put label pictures beside the pairs (docs/adapt.md), or request it with "
            "--fusion-only"
        )


def _teaches_classes(source: Source) -> bool:
    # A cached loader hides the entry that says whether it is labelled.
    entries = [getattr(load, "__wrapped__", load) for load in source]
    looked = [load for load in entries if getattr(load, "labelled", True)]
    step = max(1, len(looked) // _LOOKED_AT)
    for load in looked[::step]:
        sample = load()
        if sample.boxes or (sample.labels is not None and (sample.labels < VAGUE).any()):
            return True
    return False


def open_validation(
    recipe: Recipe, data: Path, cache: Path | None = None
) -> list[Callable[[], Sample]]:
    """Open the validation pairs: a separate split, or those that the recipe holds out.

    Raises:
        DatasetError: the recipe validates and there is nothing to score on.
    """
    if not recipe.validation.every:
        return []
    entry = recipe.validation.data
    if entry is not None and entry.kind == "rig":
        return list(_rig(_rig_seeds(entry.split)[: recipe.validation.pairs], recipe, cache))
    if entry is not None:
        return list(_without_test(_open_entry(entry, entry.kind, recipe, data)))
    kept: list[Callable[[], Sample]] = []
    for name in recipe.mix:
        pairs = _open(recipe, name, data, cache)
        kept += [pairs[i] for i in _held_out(recipe, name, pairs)]
    if not kept:
        nth = recipe.hold_out_every
        remedy = (
            f"hold_out_every {nth} keeps each {nth}th block of 8 neighbouring pairs, and no data "
            "set has so many blocks; take a lower one"
            if nth
            else "set hold_out_every"
        )
        raise DatasetError(
            f"the recipe validates every {recipe.validation.every} steps and has nothing to score "
            f"on: {remedy}, or name validation.data"
        )
    return kept


def _open(recipe: Recipe, name: str, data: Path, cache: Path | None) -> Source:
    """Open all pairs of one name."""
    entry = recipe.data.get(name)
    if name == "rig" or (entry is not None and entry.kind == "rig"):
        first = _rig_seeds("train" if entry is None else entry.split).start + recipe.seed * 10_000
        return _rig(range(first, first + recipe.rig_scenes), recipe, cache)
    if entry is not None:
        return _open_entry(entry, name, recipe, data)
    if name == "msrs":
        if recipe.labels != OWN_LABELS:
            return open_dataset("msrs", data / "msrs", "train", labels=recipe.labels)
        return msrs_pairs(data / "msrs", "train")
    if name == "roadscene":
        return folder_pairs(data / "roadscene")[:ROADSCENE_TRAIN]
    if name == "m3svd":
        return folder_pairs(data / "m3svd_frames")
    raise DatasetError(
        f"data set {name!r} of the recipe is unknown, expected msrs, roadscene, m3svd or rig, or "
        f"an entry that says where it lies: {name}: {{kind: fmb, path: FMB, share: 1.0}}"
    )


def _without_test(found: Dataset) -> Dataset:
    """Return a data set to validate on if none of it is a test split, whichever way it is named."""
    undivided = found.split is None and any(name.startswith("test") for name in found.splits)
    if undivided or found.root.name.lower() in ("test", "testing"):
        raise DatasetError(
            f"validation.data takes test pairs of {found.root}: weights chosen on them cannot be "
            "scored on them any more; name a validation split, or leave data out and set "
            "hold_out_every"
        )
    return found


def _open_entry(entry: DataEntry, name: str, recipe: Recipe, data: Path) -> Dataset:
    return open_dataset(
        entry.kind,
        data / (entry.path or name),
        entry.split or None,
        labels=recipe.labels,
        annotated=entry.annotated,
        ignore=load_class_list(recipe.labels).ignore if entry.ignore is None else entry.ignore,
    )


def _rig(seeds: range, recipe: Recipe, cache: Path | None) -> Source:
    if recipe.labels == OWN_LABELS:
        return rig_pairs(seeds, cache)
    return RigScenes(seeds, LabelReading.of(OWN_LABELS, recipe.labels), cache=cache)


def _rig_seeds(split: str) -> range:
    if split not in SEEDS:
        raise DatasetError(f"the rig has no split {split!r}, expected one of {sorted(SEEDS)}")
    return SEEDS[split]


def _held_out(recipe: Recipe, name: str, pairs: Source) -> list[int]:
    """Places kept from training; scenes of the rig have a split for that."""
    entry = recipe.data.get(name)
    drive = name == "msrs" if entry is None else entry.kind != "rig"
    return held_out(len(pairs), recipe.hold_out_every) if drive else []
