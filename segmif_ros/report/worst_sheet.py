# SPDX-License-Identifier: Apache-2.0
"""A contact sheet of the pairs that a network did worst on."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from segmif_ros.bundle import LabelClass
from segmif_ros.evaluation.dataset_scores import Shown
from segmif_ros.frames import Image8
from segmif_ros.render import COLUMNS, Legend, SheetRow, contact_sheet, overlay, palette

_PANE_WIDTH = 320
_CAPTION_LETTERS = 16


def worst_sheet(shown: Sequence[Shown], classes: Sequence[LabelClass], title: str = "") -> Image8:
    """Draw one row a pair: both inputs, fused image, segmentation with boxes, and labels if any.

    Args:
        shown: at least one pair, in the order of the rows.
        classes: ids, names and colours of masks and labels.
        title: headline.

    Returns:
        HxWx3 uint8 RGB.

    Raises:
        ValueError: no pair.
    """
    table = palette(classes)
    labelled = any(pair.truth is not None for pair in shown)
    rows, present = [], set()
    for pair in shown:
        segmented = _framed(overlay(pair.rgb, pair.mask, table), pair, table)
        present |= set(np.unique(pair.mask).tolist())
        images = [pair.rgb, pair.thermal, pair.fused, segmented]
        if labelled:
            truth = np.full_like(pair.mask, 255) if pair.truth is None else pair.truth
            known = np.where(np.isin(truth, [label.id for label in classes]), truth, 255)
            images.append(overlay(pair.rgb, known.astype(np.uint8), table))
            present |= set(np.unique(known).tolist())
        name = pair.name.rsplit("/", 1)[-1][-_CAPTION_LETTERS:]
        rows.append(SheetRow(tuple(images), (name, f"{pair.why} {pair.score:.3f}")))
    return contact_sheet(
        rows,
        Legend(tuple(classes), present),
        title=title,
        columns=(*COLUMNS, "Labels") if labelled else COLUMNS,
        pane_width=_PANE_WIDTH,
    )


def _framed(image: Image8, pair: Shown, table: Image8) -> Image8:
    """Draw the boxes in the colours of their classes on a white line, so that they show on any."""
    for box in pair.boxes:
        corners = (box.left, box.top), (box.right - 1, box.bottom - 1)
        cv2.rectangle(image, *corners, (255, 255, 255), 3)
        cv2.rectangle(image, *corners, tuple(table[box.label].tolist()), 1)
    return image
