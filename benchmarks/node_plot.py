# SPDX-License-Identifier: Apache-2.0
"""The plot of docs/benchmarks.md, as SVG text: where the time of a pair goes.

Drawn by hand because it is a dozen bars: no plotting library is needed to make or to check it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_STAGES = (
    ("transport", "transport in", "#8da0cb"),
    ("wait", "wait for the partner", "#d9d9d9"),
    ("queue", "wait for the worker", "#bdbdbd"),
    ("conversion", "conversion", "#ffd92f"),
    ("thermal", "thermal", "#fc8d62"),
    ("registration", "registration", "#e78ac3"),
    ("inference", "inference", "#a6d854"),
    ("publish", "publishing", "#66c2a5"),
)
_ARRIVING = ("arriving", "on the way to the listener", "#5a6fa8")
_ROWS = (
    ("vga", "640x480, engine null"),
    ("sxga", "1280x1024, engine null"),
    ("nano_15hz", "640x480, segmif-nano"),
)
_LEFT, _WIDTH, _BAR, _STEP, _TOP = 190, 560, 26, 62, 44


def plot(reports: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the SVG: one bar of medians for each of three runs, each on its own scale."""
    parts = [_text(10, 22, "Where the time of a pair goes, medians, ms", size=15, weight="bold")]
    for row, (name, title) in enumerate(_ROWS):
        if name not in reports:
            parts.append(_text(10, _TOP + row * _STEP + 18, f"{title}: not measured yet", size=13))
            continue
        run = next(r for r in reports[name]["runs"] if r["scenario"]["subject"] == "segmif")
        parts += _bar(_TOP + row * _STEP, title, run)
    parts += _legend(_TOP + len(_ROWS) * _STEP + 6)
    height = _TOP + len(_ROWS) * _STEP + 76
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 {height}" '
        'font-family="sans-serif" fill="#222">\n'
        f'<rect width="800" height="{height}" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _bar(top: int, title: str, run: Mapping[str, Any]) -> list[str]:
    stages = run["stages_ms"]
    segments = [(colour, stages[key]["p50"]) for key, _, colour in _STAGES if key in stages]
    known = sum(length for _, length in segments)
    age = run["age_ms"]["all"]["p50"]
    segments.append((_ARRIVING[2], max(age - known, 0.0)))
    total = sum(length for _, length in segments)
    parts = [_text(10, top + 18, title, size=13)]
    x = float(_LEFT)
    for colour, length in segments:
        width = _WIDTH * length / total
        parts.append(
            f'<rect x="{x:.1f}" y="{top}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>'
        )
        if width > 30:
            parts.append(_text(x + width / 2, top + 17, f"{length:.1f}", anchor="middle"))
        x += width
    note = f"age {age:.1f} ms, p99 {run['age_ms']['all']['p99']:.1f} ms"
    parts.append(_text(_LEFT, top + _BAR + 15, note))
    return parts


def _legend(top: int) -> list[str]:
    parts: list[str] = []
    entries: Sequence[tuple[str, str, str]] = (*_STAGES, _ARRIVING)
    for number, (_, label, colour) in enumerate(entries):
        x, y = 10 + 260 * (number % 3), top + 20 * (number // 3)
        parts.append(f'<rect x="{x}" y="{y}" width="14" height="14" fill="{colour}"/>')
        parts.append(_text(x + 20, y + 12, label))
    return parts


def _text(
    x: float, y: float, text: str, *, size: int = 12, anchor: str = "start", weight: str = "normal"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{text}</text>'
    )
