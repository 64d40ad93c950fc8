# SPDX-License-Identifier: Apache-2.0
"""A plain folder of pairs: `visible/` and `infrared/` with equal names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from segmif_ros.datasets.pictures import images, read_grey, read_rgb
from segmif_ros.datasets.sample import DatasetError, Sample


def folder_pairs(root: Path) -> list[Callable[[], Sample]]:
    """Unlabelled pairs under `root/visible` and `root/infrared`, matched by relative stem.

    Raises:
        DatasetError: a folder is missing or nothing matches.
    """
    visible = images(root / "visible")
    infrared = images(root / "infrared")
    common = sorted(visible.keys() & infrared.keys())
    if not common:
        raise DatasetError(f"{root}: no pair; expected equal names under visible/ and infrared/")
    return [_loader(visible[stem], infrared[stem], None) for stem in common]


def _loader(visible: Path, infrared: Path, labels: Path | None) -> Callable[[], Sample]:
    def load() -> Sample:
        rgb, thermal = read_rgb(visible), read_grey(infrared)
        if rgb.shape[:2] != thermal.shape:
            raise DatasetError(
                f"{visible} is {rgb.shape[:2]} and {infrared} is {thermal.shape}; "
                "registered pairs have equal size"
            )
        return Sample(rgb, thermal, None if labels is None else read_grey(labels), visible.stem)

    return load
