# SPDX-License-Identifier: Apache-2.0
"""Frames of a source as picture files or as one video with four panes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from segmif_ros.bundle import LabelClass
from segmif_ros.frames import Image8
from segmif_ros.images.pictures import encode_picture
from segmif_ros.outputs import written_aside
from segmif_ros.recordings.video import write_video
from segmif_ros.render import Legend, SheetRow, four_panes, overlay, palette
from segmif_ros.view.frames import ImageSource, ViewImages, encoded

PANE = (240, 320)
_ALPHA = 0.5


def export_pictures(
    source: ImageSource,
    indices: Iterable[int],
    folder: Path,
    progress: Callable[[int], Any] = lambda _: None,
) -> int:
    """Write every frame as six files: the five of the viewer and the four panes in one.

    Args:
        source: where frames come from.
        indices: which ones.
        folder: made if missing; 000012_fused.jpg and so on.
        progress: called with 1 after each frame.

    Returns:
        Number of frames written.

    Raises:
        ViewError: a frame cannot be shown.
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for index in indices:
        images = source.images(index)
        files = {
            f"{name}.{each.kind}": each.data
            for name, each in encoded(replace(images, raw=None, heat=None)).pictures.items()
        }
        panes = _panes(images, source.classes, images.mask.shape[:2])
        files["panes.jpg"] = encode_picture(panes, ".jpg")
        for name, content in files.items():
            with written_aside(folder / f"{index:06d}_{name}") as part:
                part.write_bytes(content)
        count += 1
        progress(1)
    return count


def export_video(
    source: ImageSource,
    indices: Iterable[int],
    path: Path,
    progress: Callable[[int], Any] = lambda _: None,
) -> int:
    """Write the four panes as an H.264 mp4, each frame for as long as the source says.

    Args:
        source: where frames come from.
        indices: which ones, rising.
        path: file ending in .mp4.
        progress: called with 1 after each frame.

    Returns:
        Number of frames written.

    Raises:
        ViewError: a frame cannot be shown.
        VideoError: the video cannot be encoded, for example of frames whose times do not rise.
        OSError: the file cannot be written.
    """

    def frames() -> Iterator[tuple[float, Image8]]:
        for index in indices:
            images = source.images(index)
            yield images.time_s, _panes(images, source.classes, PANE)

    return write_video(path, frames(), progress)


def _panes(images: ViewImages, classes: Sequence[LabelClass], pane: tuple[int, ...]) -> Image8:
    labelled = overlay(images.fused, images.mask, palette(classes), _ALPHA)
    row = SheetRow((images.visible, images.thermal, images.fused, labelled), (images.caption,))
    legend = Legend(tuple(classes), np.unique(images.mask).tolist())
    return four_panes(row, legend=legend, pane=(pane[0], pane[1]))
