# SPDX-License-Identifier: Apache-2.0
"""Scenes of the virtual rig as a data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from segmif_ros.datasets.sample import Sample
from segmif_ros.frames import Image8, ThermalImage
from segmif_ros.thermal import ThermalNormaliser, ThermalSettings


def rig_pairs(seeds: Sequence[int], cache: Path | None = None) -> list[Callable[[], Sample]]:
    """Scenes of the virtual rig with true labels, one per seed, thermal through the node's code.

    Args:
        seeds: scene numbers.
        cache: folder that keeps what was rendered (0.2 s a new scene); None renders
            again in every run.
    """
    from segmif_ros.rig.sampling import training_frame

    def frame(seed: int) -> tuple[Image8, ThermalImage, Image8]:
        kept = None if cache is None else cache / f"{seed}.npz"
        if kept is not None and kept.is_file():
            with np.load(kept) as stored:
                return stored["rgb"], stored["thermal"], stored["labels"]
        fresh = training_frame(seed)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            part = kept.with_suffix(".part.npz")
            np.savez_compressed(part, rgb=fresh.rgb, thermal=fresh.thermal, labels=fresh.labels)
            part.replace(kept)
        return fresh.rgb, fresh.thermal, fresh.labels

    def loader(seed: int) -> Callable[[], Sample]:
        def load() -> Sample:
            rgb, counts, labels = frame(seed)
            thermal = ThermalNormaliser(ThermalSettings()).normalise(counts)
            return Sample(rgb, thermal, labels, f"rig-{seed}")

        return load

    return [loader(seed) for seed in seeds]
