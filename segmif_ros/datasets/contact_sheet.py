# SPDX-License-Identifier: Apache-2.0
"""A few pairs of a data set as one picture: both cameras, their labels, and one on the other."""

from __future__ import annotations

import cv2
import numpy as np

from segmif_ros.datasets.check import spread
from segmif_ros.datasets.dataset import Dataset
from segmif_ros.datasets.sample import DatasetError, Sample
from segmif_ros.frames import Image8
from segmif_ros.render import Legend, SheetRow, contact_sheet, overlay, palette

COLUMNS = ("Visible", "Thermal", "Labels on visible", "Thermal edges on visible")
_EDGE = (255, 64, 32)
_CAPTION = 15


def draw_sheet(dataset: Dataset, *, pairs: int = 6, pane_width: int = 300) -> Image8:
    """Draw evenly spread pairs; such that cannot be read are left out.

    Args:
        dataset: any.
        pairs: at most so many.
        pane_width: pixels.

    Returns:
        HxWx3 uint8 RGB.

    Raises:
        DatasetError: none of these pairs can be read.
    """
    rows, present = [], set[int]()
    reason = ""
    table = palette(dataset.class_list.classes)
    for index in spread(min(len(dataset), 10_000), pairs):
        try:
            sample = dataset[index]()
        except DatasetError as err:
            reason = str(err)
            continue
        if sample.labels is not None:
            present.update(np.unique(sample.labels).tolist())
        rows.append(_row(sample, table))
    if not rows:
        raise DatasetError(f"no pair can be drawn: {reason or 'the data set is empty'}")
    part = f", {dataset.split}" if dataset.split else ""
    return contact_sheet(
        rows,
        Legend(dataset.class_list.classes, present),
        title=f"{dataset.root.name}{part}",
        subtitle=f"{dataset.kind}, {len(dataset)} pairs, labels {dataset.labels}",
        columns=COLUMNS,
        pane_width=pane_width,
    )


def _row(sample: Sample, table: Image8) -> SheetRow:
    grey = cv2.GaussianBlur(sample.thermal, (0, 0), 1.5)
    edges = cv2.Canny(np.asarray(grey, np.uint8), 20, 60)
    marked = sample.rgb // 2 + 40
    marked[cv2.dilate(edges, np.ones((2, 2), np.uint8)) > 0] = _EDGE
    labels = sample.rgb // 3
    if sample.labels is not None:
        ids = np.where(sample.labels < 254, sample.labels, np.uint8(255))
        labels = overlay(sample.rgb, np.asarray(ids, np.uint8), table, 0.65)
    name = sample.name
    lines = [name[at : at + _CAPTION] for at in range(0, min(len(name), 4 * _CAPTION), _CAPTION)]
    caption = (*lines, sample.when or "")
    return SheetRow((sample.rgb, sample.thermal, labels, marked), caption)
