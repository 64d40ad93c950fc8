# SPDX-License-Identifier: Apache-2.0
"""Frames of a source as picture files or as one video with four panes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2

from segmif_ros.frames import Image8
from segmif_ros.recordings.video import write_video
from segmif_ros.render import SheetRow, four_panes, overlay, palette
from segmif_ros.view.frames import ImageSource, ViewError, ViewImages, encoded

MOST_VIDEO_FRAMES = 600
"""Frames of a video are kept in memory until they are encoded: 600 of 644x512 are 0.6 GB."""
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
    table, count = palette(source.classes), 0
    for index in indices:
        images = source.images(index)
        for name, picture in encoded(images).pictures.items():
            (folder / f"{index:06d}_{name}.{picture.kind}").write_bytes(picture.data)
        panes = cv2.cvtColor(_panes(images, table, images.mask.shape[:2]), cv2.COLOR_RGB2BGR)
        _, coded = cv2.imencode(".jpg", panes)
        (folder / f"{index:06d}_panes.jpg").write_bytes(coded.tobytes())
        count += 1
        progress(1)
    return count


def export_video(
    source: ImageSource,
    indices: Iterable[int],
    path: Path,
    progress: Callable[[int], Any] = lambda _: None,
) -> int:
    """Write the four panes as a VP9 mp4 at the rate of the frames' times.

    Args:
        source: where frames come from.
        indices: which ones, rising; at most `MOST_VIDEO_FRAMES`.
        path: file ending in .mp4.
        progress: called with 1 after each frame.

    Returns:
        Number of frames written.

    Raises:
        ViewError: a frame cannot be shown, too many or too few frames.
        VideoError: the video cannot be encoded.
    """
    chosen = list(indices)
    if not 2 <= len(chosen) <= MOST_VIDEO_FRAMES:
        raise ViewError(
            f"{len(chosen)} frames for a video; choose 2 to {MOST_VIDEO_FRAMES} with --every, "
            "--first and --count"
        )
    table = palette(source.classes)
    frames, times = [], []
    for index in chosen:
        images = source.images(index)
        frames.append(_panes(images, table, PANE))
        times.append(images.time_s)
        progress(1)
    span_s = times[-1] - times[0]
    if span_s <= 0:
        raise ViewError("the frames have no rising times, so the video has no rate")
    write_video(path, frames, (len(frames) - 1) / span_s)
    return len(frames)


def _panes(images: ViewImages, table: Image8, pane: tuple[int, ...]) -> Image8:
    labelled = overlay(images.fused, images.mask, table, _ALPHA)
    row = SheetRow((images.visible, images.thermal, images.fused, labelled), (images.caption,))
    return four_panes(row, pane=(pane[0], pane[1]))
