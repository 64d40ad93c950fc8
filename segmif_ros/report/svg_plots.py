# SPDX-License-Identifier: Apache-2.0
"""Small plots as inline SVG: lines over time, bars, and a confusion matrix."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from markupsafe import Markup, escape

Point = tuple[float, float | None]
Placing = Callable[[float, float], tuple[float, float]]

_WIDTH, _HEIGHT = 360, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 8, 8, 26
_TICKS = 4
_BAR = 18


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plot: legend, and points in order; y None is a gap."""

    name: str
    points: Sequence[Point]


def element(tag: str, *content: object, **attributes: object) -> Markup:
    """Return one element; content other than markup is escaped.

    Args:
        tag: its name.
        content: children.
        attributes: `class_` loses the underscore, other underscores become hyphens; None leaves an
            attribute out.
    """
    words = [
        Markup('{}="{}"').format(name.removesuffix("_").replace("_", "-"), value)
        for name, value in attributes.items()
        if value is not None
    ]
    opening = Markup(" ").join([escape(tag), *words])
    return Markup("<{}>{}</{}>").format(opening, joined(content), tag)


def joined(parts: Iterable[object]) -> Markup:
    """Concatenate parts."""
    return Markup("").join(escape(part) for part in parts)


def line_plot(title: str, unit: str, lines: Sequence[Line], x_unit: str = "s") -> Markup:
    """Draw up to four lines over a common x axis; empty if no line has a point.

    A line is interrupted where y is None and where x decreases (start of the next bag).
    """
    known = [(x, y) for line in lines for x, y in line.points if y is not None]
    if not known:
        return Markup("")
    x_low, x_high = _limits([x for x, _ in known])
    y_ticks = ticks(min(0.0, *(y for _, y in known)), max(y for _, y in known))
    y_low, y_high = y_ticks[0], y_ticks[-1]

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / (x_high - x_low) * (_WIDTH - _LEFT - _RIGHT)
        up = (y - y_low) / (y_high - y_low) * (_HEIGHT - _TOP - _BOTTOM)
        return _LEFT + across, _HEIGHT - _BOTTOM - up

    parts = [_grid(y_ticks, place, x_low, x_high)]
    shown_x = [tick for tick in ticks(x_low, x_high) if x_low <= tick <= x_high]
    parts += [_text(place(x, y_low)[0], _HEIGHT - 12, _short(x), "middle") for x in shown_x]
    parts.append(_text(_WIDTH - _RIGHT, _HEIGHT - 1, x_unit, "end"))
    for index, line in enumerate(lines):
        for piece in _pieces(line.points):
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in itertools.starmap(place, piece))
            if len(piece) == 1:
                x, y = place(*piece[0])
                parts.append(_shape("circle", index, cx=f"{x:.1f}", cy=f"{y:.1f}", r="1.5"))
            else:
                parts.append(_shape("polyline", index, points=path, fill="none"))
    return _figure(title, unit, parts, lines, _summary(lines))


def reliability_plot(classes: Mapping[str, Mapping[str, Any]]) -> Markup:
    """Draw accuracy over confidence for the three classes with the most pixels.

    Args:
        classes: class name -> figures of `CalibrationScores.summary`.
    """
    largest = sorted(classes, key=lambda name: (-classes[name]["pixels"], name))[:3]
    lines = [
        Line(name, [(float(sure), float(right)) for sure, right, _ in classes[name]["bins"]])
        for name in largest
    ]
    exact = Line("exact", [(0.0, 0.0), (1.0, 1.0)])
    return line_plot("Accuracy over confidence", "0 to 1", [*lines, exact], "confidence")


def bars(title: str, counts: Mapping[str, float], unit: str) -> Markup:
    """Draw horizontal bars, the largest first; empty without a count above 0."""
    shown = sorted(((v, k) for k, v in counts.items() if v > 0), reverse=True)
    if not shown:
        return Markup("")
    largest = shown[0][0]
    parts = []
    for index, (value, name) in enumerate(shown):
        y = index * 2 * _BAR
        width = max(1.0, (_WIDTH - 80) * value / largest)
        parts.append(_text(0, y + 12, name, "start"))
        parts.append(
            _shape("rect", 0, x="0", y=str(y + 16), width=f"{width:.1f}", height=str(_BAR - 8))
        )
        parts.append(_text(width + 6, y + 25, _short(value), "start"))
    svg = element(
        "svg",
        *parts,
        viewBox=f"0 0 {_WIDTH} {len(shown) * 2 * _BAR}",
        role="img",
        aria_label=f"{title}: " + ", ".join(f"{k} {_short(v)}" for v, k in shown),
    )
    return element("figure", element("figcaption", f"{title} ({unit})"), svg, class_="plot bars")


def confusion_plot(names: Sequence[str], matrix: Sequence[Sequence[float]]) -> Markup:
    """Draw a confusion matrix, shaded by the share of each true class, without empty rows.

    Args:
        names: class names, rows and columns alike.
        matrix: counts, rows true, columns predicted.
    """
    cell, left, top = 26, 92, 92
    rows = [i for i, row in enumerate(matrix) if sum(row) > 0]
    columns = [j for j in range(len(names)) if any(matrix[i][j] > 0 for i in rows) or j in rows]
    if not rows:
        return Markup("")
    parts = []
    for at, j in enumerate(columns):
        x, y = left + at * cell + 16, top - 6
        text = element("text", names[j], x=x, y=y, transform=f"rotate(-55 {x} {y})")
        parts.append(text)
    for at, i in enumerate(rows):
        total = sum(matrix[i])
        y = top + at * cell
        parts.append(_text(left - 6, y + 17, names[i], "end"))
        for place, j in enumerate(columns):
            share = matrix[i][j] / total
            where = {"x": left + place * cell, "y": y, "width": cell - 1, "height": cell - 1}
            tip = element("title", f"{names[i]} classified as {names[j]}: {100 * share:.1f} %")
            kind = "hit" if i == j else "miss"
            parts.append(
                element("rect", tip, class_=kind, fill_opacity=f"{math.sqrt(share):.3f}", **where)
            )
            if share >= 0.005:
                strong = "strong" if share > 0.4 else None
                middle = left + (place + 0.5) * cell - 0.5
                value = f"{100 * share:.0f}"
                parts.append(
                    element("text", value, x=middle, y=y + 17, text_anchor="middle", class_=strong)
                )
    width, height = left + len(columns) * cell + 40, top + len(rows) * cell
    svg = element(
        "svg",
        *parts,
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        aria_label="confusion matrix, percent of the pixels of each true class",
    )
    return element("div", svg, class_="scroll confusion", tabindex="0", role="region")


def ticks(low: float, high: float) -> list[float]:
    """Return round numbers that span [low, high], about `_TICKS` steps of 1, 2 or 5 x 10^n."""
    span = high - low
    if span <= 1e-9 * max(abs(low), abs(high)):  # equal, or so close that steps would vanish
        span = max(abs(high), 1.0)
    raw = span / _TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, max(last, first + 1) + 1)]


def _limits(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _pieces(points: Sequence[Point]) -> Iterator[list[tuple[float, float]]]:
    piece: list[tuple[float, float]] = []
    for x, y in points:
        if piece and (y is None or x <= piece[-1][0]):
            yield piece
            piece = []
        if y is not None:
            piece.append((x, y))
    if piece:
        yield piece


def _grid(y_ticks: Sequence[float], place: Placing, x_low: float, x_high: float) -> Markup:
    parts = []
    for tick in y_ticks:
        left, y = place(x_low, tick)
        right, _ = place(x_high, tick)
        parts.append(
            element(
                "line", x1=f"{left:.1f}", x2=f"{right:.1f}", y1=f"{y:.1f}", y2=f"{y:.1f}",
                class_="grid",
            )
        )  # fmt: skip
        parts.append(_text(_LEFT - 5, y + 4, _short(tick), "end"))
    return joined(parts)


def _figure(
    title: str, unit: str, parts: Sequence[Markup], lines: Sequence[Line], summary: str
) -> Markup:
    svg = element(
        "svg",
        *parts,
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_label=f"{title}, {unit}. {summary}",
    )
    keys = [
        element("span", element("i", class_=f"key line{index}"), line.name)
        for index, line in enumerate(lines)
    ]
    legend = element("span", *keys, class_="legend") if len(lines) > 1 else ""
    caption = element("figcaption", f"{title} ({unit}) ", legend)
    return element("figure", caption, svg, element("p", summary, class_="note"), class_="plot")


def _summary(lines: Sequence[Line]) -> str:
    told = []
    for line in lines:
        values = [y for _, y in line.points if y is not None]
        if values:
            prefix = f"{line.name}: " if len(lines) > 1 else ""
            told.append(
                f"{prefix}smallest {_short(min(values))}, median {_short(median(values))}, "
                f"largest {_short(max(values))}"
            )
    return "; ".join(told)


def _shape(tag: str, index: int, **attributes: object) -> Markup:
    return element(tag, class_=f"line{index}", **attributes)


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return element("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)


def _short(value: float) -> str:
    if value and abs(value) < 0.001:
        return f"{value:.1e}"
    return (
        f"{value:.3g}"
        if abs(value) < 1e3
        else f"{value:.4g}"
        if abs(value) < 1e4
        else f"{value:,.0f}".replace(",", " ")
    )
