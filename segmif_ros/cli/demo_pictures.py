# SPDX-License-Identifier: Apache-2.0
"""Draws the demo's contact sheet and video from what was recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segmif_ros.bundle import LabelClass
from segmif_ros.cli.command_line import progress_bar
from segmif_ros.images.pictures import encode_picture
from segmif_ros.outputs import write_whole
from segmif_ros.recordings.recording import FrameSet
from segmif_ros.recordings.video import write_video
from segmif_ros.render import (
    Legend,
    Mark,
    SheetRow,
    contact_sheet,
    draw_marks,
    four_panes,
    overlay,
    palette,
)
from segmif_ros.thermal import ThermalNormaliser

PANE = (240, 320)
"""(height, width) of one of the four panes of a video frame."""

_ALPHA = 0.5


class Marks(NamedTuple):
    """Boxes of objects by the stamp of their picture, and the height of these pictures."""

    by_stamp: Mapping[int, Sequence[Mark]]
    height: int


def draw_sheet(
    path: Path,
    sets: Sequence[FrameSet],
    classes: Sequence[LabelClass],
    *,
    start_ns: int,
    caption: Callable[[float], str],
    title: str,
    subtitle: str,
    marks: Marks | None = None,
) -> None:
    """Write a contact sheet with one row for each set.

    Args:
        path: PNG file.
        sets: at least one.
        classes: of the model, for colours and legend.
        start_ns: stamp that counts as 0 s.
        caption: seconds since the start -> what is special then, empty for nothing.
        title: headline.
        subtitle: line below it.
        marks: boxes to draw, None for none.
    """
    present = {int(label) for frame in sets for label in np.unique(frame.mask)}
    # Rows lie seconds apart, so each thermal image has limits of its own.
    rows = [next(rows_of([frame], classes, start_ns, caption, marks)) for frame in sets]
    sheet = contact_sheet(rows, Legend(tuple(classes), present), title=title, subtitle=subtitle)
    write_whole(path, encode_picture(sheet, ".png"))


def draw_video(
    path: Path,
    sets: Sequence[FrameSet],
    classes: Sequence[LabelClass],
    *,
    start_ns: int,
    caption: Callable[[float], str],
    marks: Marks | None = None,
) -> None:
    """Write a video of the sets, each for as long as its stamp says; needs two of them.

    Args:
        path: mp4 file.
        sets: in the order of their stamps.
        classes: of the model.
        start_ns: stamp that counts as 0 s.
        caption: as in `draw_sheet`.
        marks: likewise.

    Raises:
        VideoError: it cannot be encoded.
        OSError: it cannot be written.
    """
    rows = rows_of(sets, classes, start_ns, caption, marks)
    frames = (
        (
            (each.stamp_ns - start_ns) / 1e9,
            four_panes(row, legend=Legend(tuple(classes), set(np.unique(each.mask))), pane=PANE),
        )
        for each, row in zip(sets, rows, strict=True)
    )
    with progress_bar(total=len(sets), unit="frame", desc="video") as bar:
        write_video(path, frames, bar.update)


def rows_of(
    sets: Sequence[FrameSet],
    classes: Sequence[LabelClass],
    start_ns: int,
    caption: Callable[[float], str],
    marks: Marks | None = None,
) -> Iterator[SheetRow]:
    """Yield the four pictures and the caption of each set; thermal limits follow the sequence."""
    normaliser, table = ThermalNormaliser(), palette(classes)
    for frame in sets:
        time_s = (frame.stamp_ns - start_ns) / 1e9
        lines = (f"{time_s:.1f} s", caption(time_s))
        thermal = normaliser.normalise(frame.thermal)
        labelled = overlay(frame.fused, frame.mask, table, _ALPHA)
        if marks is not None:
            scale = frame.mask.shape[0] / marks.height
            draw_marks(labelled, marks.by_stamp.get(frame.stamp_ns, ()), table, scale)
        images = (frame.rgb, thermal, frame.fused, labelled)
        yield SheetRow(images, tuple(line for line in lines if line))
