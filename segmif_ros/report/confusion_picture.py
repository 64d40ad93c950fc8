# SPDX-License-Identifier: Apache-2.0
"""A confusion matrix as a picture: predicted classes of each true class, in percent."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.bundle import LabelClass
from segmif_ros.frames import Image8
from segmif_ros.render import display_color

_PAPER, _INK, _FAINT = (20, 22, 27), (232, 234, 238), (139, 145, 156)
_FULL = np.array([61, 132, 196], np.float64)
_CELL, _LINE, _MARGIN, _SWATCH = 46, 16, 20, 12
_MANY_CLASSES = 40


def confusion_picture(
    matrix: NDArray[np.int64], classes: Sequence[LabelClass], title: str = "", subtitle: str = ""
) -> Image8:
    """Draw one row for every class that occurs in the truth, normalised to 100 percent.

    Args:
        matrix: counts by class id, true ids down, predicted ids across.
        classes: ids, names and colours.
        title: headline.
        subtitle: one smaller line below it.

    Returns:
        HxWx3 uint8 RGB.

    Raises:
        ValueError: nothing was counted, or more than 40 classes.
    """
    if len(classes) > _MANY_CLASSES:
        raise ValueError(f"{len(classes)} classes; a picture that can be read has {_MANY_CLASSES}")
    rows = [label for label in classes if matrix[label.id].any()]
    columns = [label for label in classes if matrix[:, label.id].any() or label in rows]
    if not rows:
        raise ValueError("the confusion matrix is empty; no pixel with a known class was counted")
    left = _MARGIN + max(_width(label.name) for label in rows) + _SWATCH + 14
    head = _MARGIN + (30 if title else 0) + (24 if subtitle else 0)
    top = head + max(_width(label.name) for label in columns) + _SWATCH + 22
    width = max(left + _CELL * len(columns), _MARGIN + _width(title, 0.7), 360) + _MARGIN
    height = top + _CELL * len(rows) + _MARGIN + 2 * _LINE
    sheet = np.full((height, width, 3), _PAPER, np.uint8)
    if title:
        _write(sheet, title, (_MARGIN, _MARGIN + 16), 0.7, _INK)
    if subtitle:
        _write(sheet, subtitle, (_MARGIN, head - 8), 0.45, _FAINT)
    for index, label in enumerate(columns):
        _column_name(sheet, label, left + index * _CELL, (head, top))
    for index, label in enumerate(rows):
        y = top + index * _CELL
        _row_name(sheet, label, left, y)
        share = matrix[label.id] / matrix[label.id].sum()
        for place, other in enumerate(columns):
            at = (left + place * _CELL, y)
            _square(sheet, at, float(share[other.id]), diagonal=other.id == label.id)
    text = "down: true class; across: predicted class; percent of the row"
    _write(sheet, text, (_MARGIN, height - _MARGIN), 0.4, _FAINT)
    return sheet


def _square(sheet: Image8, at: tuple[int, int], share: float, *, diagonal: bool) -> None:
    x, y = at
    # The square root makes small shares visible.
    color = np.array(_PAPER) + (_FULL - np.array(_PAPER)) * np.sqrt(share)
    sheet[y + 1 : y + _CELL, x + 1 : x + _CELL] = color.round().astype(np.uint8)
    if diagonal:
        cv2.rectangle(sheet, (x, y), (x + _CELL, y + _CELL), _INK, 1)
    if share >= 0.005:
        text = f"{100 * share:.0f}"
        place = (x + (_CELL - _width(text)) // 2, y + _CELL // 2 + 5)
        _write(sheet, text, place, 0.42, _INK)


def _row_name(sheet: Image8, label: LabelClass, left: int, y: int) -> None:
    swatch = (left - _SWATCH - 6, y + (_CELL - _SWATCH) // 2)
    _fill(sheet, swatch, label)
    at = (swatch[0] - 6 - _width(label.name), y + _CELL // 2 + 5)
    _write(sheet, label.name, at, 0.42, _INK)


def _column_name(sheet: Image8, label: LabelClass, x: int, rows: tuple[int, int]) -> None:
    """Write a name upwards, between two rows of the sheet."""
    head, top = rows
    _fill(sheet, (x + (_CELL - _SWATCH) // 2, top - _SWATCH - 6), label)
    strip = np.full((_LINE, _width(label.name) + 2, 3), _PAPER, np.uint8)
    _write(strip, label.name, (0, 12), 0.42, _INK)
    turned = np.rot90(strip)
    bottom, column = top - _SWATCH - 12, x + (_CELL - _LINE) // 2
    height = min(turned.shape[0], bottom - head)
    sheet[bottom - height : bottom, column : column + _LINE] = turned[turned.shape[0] - height :]


def _fill(sheet: Image8, at: tuple[int, int], label: LabelClass) -> None:
    cv2.rectangle(sheet, at, (at[0] + _SWATCH, at[1] + _SWATCH), display_color(label), cv2.FILLED)
    cv2.rectangle(sheet, at, (at[0] + _SWATCH, at[1] + _SWATCH), _FAINT, 1)


def _write(
    sheet: Image8, text: str, at: tuple[int, int], size: float, color: tuple[int, int, int]
) -> None:
    cv2.putText(sheet, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, color, 1, cv2.LINE_AA)


def _width(text: str, size: float = 0.42) -> int:
    return int(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)[0][0])
