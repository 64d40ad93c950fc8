# SPDX-License-Identifier: Apache-2.0
"""Pictures for people: class colours, overlays, contact sheets and the four panes of a video."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np

from segmif_ros.bundle import LabelClass
from segmif_ros.frames import UNLABELLED, Buffers, Image8

# People and vehicles are bright and far apart, ground and buildings muted. Any two of FMB's
# classes differ by at least 16 in CIE L*a*b*, also in a simulation of protanopia, deuteranopia
# and tritanopia (Machado et al. 2009, severity 1); FMB's own colours come as near as 3.
# test_display_colors checks.
Color = tuple[int, int, int]

PERSON: Color = (233, 88, 22)
OUTLINE: Color = (255, 255, 255)
"""Around people."""

DISPLAY: Mapping[str, Color] = {
    "road": (98, 95, 89),
    "sidewalk": (152, 159, 171),
    "building": (150, 130, 104),
    "traffic light": (225, 255, 150),
    "traffic sign": (255, 164, 160),
    "vegetation": (40, 75, 39),
    "sky": (188, 227, 221),
    "person": PERSON,
    "car": (0, 45, 252),
    "truck": (43, 166, 255),
    "bus": (100, 10, 170),
    "motorcycle": (150, 50, 142),
    "bicycle": (255, 228, 0),
    "pole": (52, 15, 20),
    # Other lists' names of the same things.
    "bike": (255, 228, 0),
    "survivor": PERSON,
}
"""By the class's name; other classes have the colour of their list."""


def display_color(label: LabelClass) -> Color:
    """Return the colour in which a class is shown."""
    return DISPLAY.get(label.name, label.color)


COLUMNS = ("Visible camera", "Thermal camera", "Fused", "Segmentation")
"""Column titles of a contact sheet and labels of the video panes."""

_PAPER: Color = (20, 22, 27)
_INK: Color = (232, 234, 238)
_FAINT: Color = (139, 145, 156)
_RULE: Color = (52, 56, 64)

_RING = np.ones((3, 3), np.uint8)

_MARGIN = 28
_GAP = 10
_CAPTION_WIDTH = 132


@dataclass(frozen=True, slots=True, eq=False)
class SheetRow:
    """One row of a contact sheet, or one frame of a video.

    Attributes:
        images: one image a column, HxW or HxWx3 uint8 RGB, of any size.
        caption: short lines written beside the row, the first one emphasised.
    """

    images: tuple[Image8, ...]
    caption: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Legend:
    """What the colours mean.

    Attributes:
        classes: all classes of the model.
        present: ids that occur in the pictures; the others are drawn faintly. None: all occur.
    """

    classes: tuple[LabelClass, ...] = ()
    present: Collection[int] | None = field(default=None)

    def occurs(self, label: LabelClass) -> bool:
        """Return whether a class is to be drawn as present."""
        return self.present is None or label.id in self.present


def palette(classes: Sequence[LabelClass]) -> Image8:
    """Return the 256x3 uint8 RGB table of a model's classes as people see them; others are black.

    Raises:
        ValueError: a class id outside 0 to 254 (255 means unlabelled and has no colour).
    """
    table = np.zeros((256, 3), np.uint8)
    for label in classes:
        if not 0 <= label.id < UNLABELLED:
            raise ValueError(
                f"class {label.name!r} has id {label.id}; expected 0 to {UNLABELLED - 1}"
            )
        table[label.id] = display_color(label)
    return table


def colorize(mask: Image8, table: Image8, out: Image8 | None = None) -> Image8:
    """Turn HxW class ids into HxWx3 RGB colours with a 256x3 table, in `out` if it is given."""
    return np.asarray(cv2.applyColorMap(mask, table.reshape(256, 1, 3), out), np.uint8)


def overlay(
    rgb: Image8,
    mask: Image8,
    table: Image8,
    alpha: float = 0.5,
    buffers: Buffers | None = None,
) -> Image8:
    """Lay class colours over a picture, with a line around people.

    Pixels with mask 255 keep the picture's own colour.

    Args:
        rgb: HxWx3 uint8.
        mask: HxW uint8 class ids.
        table: 256x3 uint8 from `palette`.
        alpha: weight of the colour, 0 (none) to 1 (colour only).
        buffers: where to draw, new arrays if None. The picture is then valid until the next call
            with the same buffers.

    Raises:
        ValueError: sizes differ or alpha is out of range.
    """
    if rgb.shape[:2] != mask.shape:
        raise ValueError(f"mask of shape {mask.shape} does not fit a picture of {rgb.shape[:2]}")
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha is {alpha}; expected 0 to 1")
    buffers = buffers or Buffers()
    out = colorize(mask, table, buffers.take("overlay", rgb.shape))
    for person in np.flatnonzero((table == PERSON).all(axis=1)):
        cv2.copyTo(*_outline(mask, int(person), buffers), out)
    cv2.addWeighted(rgb, 1.0 - alpha, out, alpha, 0.0, dst=out)
    unlabelled = buffers.take("unlabelled", mask.shape, np.bool_)
    np.equal(mask, UNLABELLED, out=unlabelled)
    cv2.copyTo(rgb, unlabelled.view(np.uint8), out)
    return out


def _outline(mask: Image8, label: int, buffers: Buffers) -> tuple[Image8, Image8]:
    """Return a plain picture in the colour of the line, and where the line runs."""
    inside = buffers.take("inside", mask.shape)
    around = buffers.take("around", mask.shape)
    cv2.compare(mask, label, cv2.CMP_EQ, dst=inside)
    cv2.dilate(inside, _RING, dst=around)
    cv2.bitwise_xor(around, inside, dst=around)
    line = buffers.take("line", (*mask.shape, 3))
    line[:] = OUTLINE
    return line, around


class Mark(NamedTuple):
    """An object to draw; the box is left, top, right, bottom in pixels, the last two exclusive."""

    box: tuple[float, float, float, float]
    label: int
    name: str
    id: int


def draw_marks(image: Image8, marks: Iterable[Mark], table: Image8, scale: float = 1.0) -> None:
    """Draw boxes with class names and ids into a picture.

    Args:
        image: HxWx3 uint8, drawn into.
        marks: boxes in pixels of a picture that is `scale` times smaller.
        table: 256x3 uint8 from `palette`.
        scale: image size over the size that the boxes are for.
    """
    line = max(1, round(image.shape[0] / 320))
    size = max(0.36, image.shape[0] / 960)
    for mark in sorted(marks, key=lambda each: each.box[3]):
        left, top, right, bottom = (round(scale * value) for value in mark.box)
        color = _mix(table[mark.label].tolist(), (255, 255, 255), 0.55)
        # Beside the object's own pixels, not over them.
        corners = (left - line - 1, top - line - 1), (right + line, bottom + line)
        cv2.rectangle(image, *corners, _PAPER, line + 2)
        cv2.rectangle(image, *corners, color, line)
        words = (f"{mark.name} {mark.id}", str(mark.id))
        fits = right - left
        text = next((w for w in words if _text_width(w, size, bold=True) <= fits), words[-1])
        width, height = _text_width(text, size, bold=True) + 4, round(28 * size) + 2
        x = min(max(left, 0), max(image.shape[1] - width, 0))
        y = max(top - line - height, 0)
        cv2.rectangle(image, (x, y), (x + width, y + height), _PAPER, cv2.FILLED)
        _write(image, text, (x + 2, y + height - round(8 * size) - 1), size, color, bold=True)


def contact_sheet(
    rows: Sequence[SheetRow],
    legend: Legend,
    *,
    title: str = "",
    subtitle: str = "",
    columns: Sequence[str] = COLUMNS,
    pane_width: int = 420,
) -> Image8:
    """Draw rows of pictures with column titles, captions and a legend.

    Args:
        rows: at least one; each with one image for each column. Panes take the first row's shape.
        legend: class swatches below the pictures.
        title: headline, left out if empty.
        subtitle: one smaller line below it.
        columns: column titles.
        pane_width: width of one picture in pixels.

    Returns:
        HxWx3 uint8 RGB.

    Raises:
        ValueError: no rows, or a row with another number of images than there are columns.
    """
    if not rows:
        raise ValueError("a contact sheet needs at least one row")
    for row in rows:
        if len(row.images) != len(columns):
            raise ValueError(f"a row has {len(row.images)} images, expected {len(columns)}")
    height, width = rows[0].images[0].shape[:2]
    pane = (round(pane_width * height / width), pane_width)
    left = _MARGIN + (_CAPTION_WIDTH if any(row.caption for row in rows) else 0)
    total = left + len(columns) * (pane_width + _GAP) - _GAP + _MARGIN
    top = _MARGIN + (34 if title else 0) + (26 if subtitle else 0) + (12 if title else 0)
    entries = _flow(legend, total - 2 * _MARGIN)
    legend_height = 24 + 26 * (entries[-1][2] + 1) if entries else 0
    body = 30 + len(rows) * (pane[0] + _GAP) - _GAP
    sheet = np.full((top + body + legend_height + _MARGIN, total, 3), _PAPER, np.uint8)

    if title:
        _write(sheet, title, (_MARGIN, _MARGIN + 24), 0.9, _INK, bold=True)
    if subtitle:
        _write(sheet, subtitle, (_MARGIN, _MARGIN + 52), 0.5, _FAINT)
    for index, name in enumerate(columns):
        _write(sheet, name, (left + index * (pane_width + _GAP), top + 16), 0.52, _INK, bold=True)
    for number, row in enumerate(rows):
        y = top + 30 + number * (pane[0] + _GAP)
        for line, text in enumerate(row.caption):
            color = _INK if line == 0 else _FAINT
            _write(sheet, text, (_MARGIN, y + 17 + 22 * line), 0.5, color, bold=line == 0)
        for index, image in enumerate(row.images):
            x = left + index * (pane_width + _GAP)
            sheet[y : y + pane[0], x : x + pane_width] = fit(image, pane)
    _draw_legend(sheet, legend, entries, (_MARGIN, top + body + 24))
    return sheet


def four_panes(
    row: SheetRow,
    *,
    legend: Legend | None = None,
    columns: Sequence[str] = COLUMNS,
    pane: tuple[int, int] = (300, 400),
) -> Image8:
    """Draw one video frame: four labelled panes, a line with the row's caption, and a legend.

    Args:
        row: four images and a caption.
        legend: swatches below the caption; its classes decide the height of the frame.
        columns: four labels.
        pane: (height, width) of one pane.

    Returns:
        HxWx3 uint8 RGB with even height and width, as video codecs want it.

    Raises:
        ValueError: not four images.
    """
    if len(row.images) != 4:
        raise ValueError(f"a video frame has {len(row.images)} images, expected 4")
    height, width = pane
    gap = 4
    entries = _flow(legend or Legend(), 2 * width + gap - 20)
    strip = 26 * (entries[-1][2] + 1) if entries else 0
    frame = np.full((2 * height + gap + 28 + strip, 2 * width + gap, 3), _PAPER, np.uint8)
    for index, (image, name) in enumerate(zip(row.images, columns, strict=True)):
        y, x = (height + gap) * (index // 2), (width + gap) * (index % 2)
        tile = fit(image, pane)
        _label(tile, name)
        frame[y : y + height, x : x + width] = tile
    _write(frame, "   ".join(row.caption), (10, 2 * height + gap + 19), 0.45, _INK)
    if legend is not None:
        _draw_legend(frame, legend, entries, (10, 2 * height + gap + 30))
    return frame[: frame.shape[0] & ~1, : frame.shape[1] & ~1]


def fit(image: Image8, size: tuple[int, int]) -> Image8:
    """Scale HxW or HxWx3 uint8 into (height, width) RGB, keeping its shape on dark bars."""
    height, width = size
    scale = min(height / image.shape[0], width / image.shape[1])
    inner = (max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale)))
    scaled = image
    if inner != image.shape[:2]:
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        scaled = np.asarray(cv2.resize(image, inner[::-1], interpolation=how), np.uint8)
    if scaled.ndim == 2:
        scaled = np.asarray(cv2.cvtColor(scaled, cv2.COLOR_GRAY2RGB), np.uint8)
    canvas = np.full((height, width, 3), _RULE, np.uint8)
    y, x = (height - inner[0]) // 2, (width - inner[1]) // 2
    canvas[y : y + inner[0], x : x + inner[1]] = scaled
    return canvas


def _label(tile: Image8, text: str) -> None:
    width = _text_width(text, 0.42, bold=True) + 16
    chip = tile[8:28, 8 : 8 + width]
    chip[:] = (chip * 0.35).astype(np.uint8)
    _write(tile, text, (16, 23), 0.42, _INK, bold=True)


def _flow(legend: Legend, width: int) -> list[tuple[LabelClass, int, int]]:
    """Place the legend's entries: class, x offset and line number, wrapping at `width`."""
    placed: list[tuple[LabelClass, int, int]] = []
    x = line = 0
    for label in legend.classes:
        step = 26 + _text_width(label.name, 0.48, bold=False) + 26
        if x and x + step > width:
            x, line = 0, line + 1
        placed.append((label, x, line))
        x += step
    return placed


def _draw_legend(
    sheet: Image8,
    legend: Legend,
    entries: Sequence[tuple[LabelClass, int, int]],
    origin: tuple[int, int],
) -> None:
    for label, dx, line in entries:
        x, y = origin[0] + dx, origin[1] + 26 * line
        present = legend.occurs(label)
        color = display_color(label)
        color = color if present else _mix(color, _PAPER, 0.25)
        cv2.rectangle(sheet, (x, y), (x + 16, y + 16), color, cv2.FILLED)
        cv2.rectangle(sheet, (x, y), (x + 16, y + 16), _RULE, 1)
        ink = _INK if present else _mix(_FAINT, _PAPER, 0.6)
        _write(sheet, label.name, (x + 24, y + 13), 0.48, ink)


def _mix(color: Color, other: Color, weight: float) -> Color:
    red, green, blue = (
        round(weight * a + (1 - weight) * b) for a, b in zip(color, other, strict=True)
    )
    return red, green, blue


def _write(
    image: Image8, text: str, at: tuple[int, int], size: float, color: Color, *, bold: bool = False
) -> None:
    # OpenCV 5 draws these two as a proportional sans in two weights, OpenCV 4 as stroke fonts.
    font = cv2.FONT_HERSHEY_DUPLEX if bold else cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(image, text, at, font, size, color, 1, cv2.LINE_AA)


def _text_width(text: str, size: float, *, bold: bool) -> int:
    font = cv2.FONT_HERSHEY_DUPLEX if bold else cv2.FONT_HERSHEY_SIMPLEX
    (width, _), _ = cv2.getTextSize(text, font, size, 1)
    return int(width)
