# SPDX-License-Identifier: Apache-2.0
"""The rooms of the package and the imports between them, read from the source; draws them as SVG.

    python scripts/rooms.py docs/images/rooms.svg

A test compares the committed drawing with the code, and enforces the order of the rooms.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "segmif_ros"

ORDER = (
    *(".", "images", "thermal", "registration", "calibration", "sync", "engines"),
    *("recordings", "objects", "rig", "metrics", "datasets", "network", "export"),
    *("training", "view", "evaluation", "report", "ros", "ros/node", "ros/diagnostics"),
    *("ros/tools", "doctor", "cli"),
)
"""Rooms from the ground up: each imports only rooms before it. "." holds the nouns."""

_BOX, _HEIGHT, _GAP, _ROW = 196, 46, 18, 96
_TEXT = 34


@dataclass(frozen=True)
class Import:
    """One import statement: full dotted name, line, and whether it runs when the file is loaded."""

    name: str
    line: int
    at_top: bool


def imports(tree: ast.Module, package: str = "segmif_ros") -> Iterator[Import]:
    """Every import of a file, wherever it stands; relative ones are resolved against `package`."""
    lazy = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        or (isinstance(outer, ast.If) and "TYPE_CHECKING" in ast.unparse(outer.test))
        for inner in ast.walk(outer)
    }
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) + 1 - node.level]
            base = ".".join([*(parents if node.level else []), *filter(None, [node.module])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            first = node.args[0] if node.args else None
            names = [first.value] if isinstance(first, ast.Constant) else []
        for name in names:
            yield Import(str(name), node.lineno, id(node) not in lazy)


def files() -> list[str]:
    """Every Python file of the package, relative to it, sorted."""
    return sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))


def arrows() -> dict[str, set[str]]:
    """Every module of the package, without its prefix, and the modules that it imports."""
    modules = {
        path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path
        for path in files()
        if path != "__init__.py"
    }
    found: dict[str, set[str]] = {}
    for module, path in modules.items():
        package = ".".join(["segmif_ros", *path.split("/")[:-1]])
        tree = ast.parse((PACKAGE / path).read_text(encoding="utf-8"))
        names = (each.name.removeprefix("segmif_ros.") for each in imports(tree, package))
        hits = ((name, name.rpartition(".")[0]) for name in names)
        found[module] = {a if a in modules else b for a, b in hits if {a, b} & set(modules)}
        found[module].discard(module)
    return found


def room_of(module: str) -> str:
    """The room of a dotted module name: "." for a file beside the rooms."""
    parts = module.split(".")
    if not (PACKAGE / parts[0]).is_dir():
        return "."
    nested = len(parts) > 1 and parts[0] == "ros" and (PACKAGE / "ros" / parts[1]).is_dir()
    return "/".join(parts[:2]) if nested else parts[0]


def rooms() -> dict[str, set[str]]:
    """Every room and the rooms that it needs, without those that another one of them brings."""
    found = arrows()
    needs: dict[str, set[str]] = {room_of(module): set() for module in found}
    for module, targets in found.items():
        own = room_of(module)
        needs[own] |= {
            room for room in map(room_of, targets) if ORDER.index(room) < ORDER.index(own)
        }

    reached: dict[str, set[str]] = {}
    for room in sorted(needs, key=ORDER.index):
        reached[room] = needs[room].union(*(reached[each] for each in needs[room]))
    return {
        room: targets - set().union(*(reached[each] for each in targets))
        for room, targets in needs.items()
    }


def _purpose(room: str) -> str:
    if room == ".":
        return "frames, bundle, pairing, perceiver, ..."
    tree = ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").partition("\n")[0].rstrip(".")


def _lines(text: str) -> list[str]:
    lines = [""]
    for word in text.replace("`", "").split():
        if len(lines[-1]) + len(word) + 1 > _TEXT and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines[:2]


def drawing() -> str:
    """Return the rooms as SVG: a room stands above everything that it imports."""
    graph = rooms()
    level: dict[str, int] = {}
    for room in sorted(graph, key=ORDER.index):
        level[room] = 1 + max((level[each] for each in graph[room]), default=-1)
    rows = [
        sorted((room for room in graph if level[room] == each), key=ORDER.index)
        for each in range(max(level.values()), -1, -1)
    ]
    width = max(len(row) for row in rows) * (_BOX + _GAP) + _GAP
    place = {}
    for y, row in enumerate(rows):
        left = (width - len(row) * (_BOX + _GAP) + _GAP) / 2
        for x, room in enumerate(row):
            place[room] = (left + x * (_BOX + _GAP), _GAP + y * _ROW)
    height = len(rows) * _ROW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" role="img">',
        "<title>Rooms of segmif_ros; a line goes down to what a room imports</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for room in sorted(graph, key=ORDER.index):
        x, y = place[room]
        for target in sorted(graph[room], key=ORDER.index):
            a, b = place[target]
            start, end = (x + _BOX / 2, y + _HEIGHT), (a + _BOX / 2, b)
            bend = (end[1] - start[1]) / 2
            parts.append(
                f'<path d="M{start[0]:g} {start[1]:g} C{start[0]:g} {start[1] + bend:g} '
                f'{end[0]:g} {end[1] - bend:g} {end[0]:g} {end[1]:g}" '
                'fill="none" stroke="#8a97a6"/>'
            )
    for room, (x, y) in place.items():
        name = "files beside the rooms" if room == "." else f"{room}/"
        parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{_BOX}" height="{_HEIGHT}" rx="6" fill="#eef3f8" '
            'stroke="#5b7490"/>'
            f'<text x="{x + _BOX / 2:g}" y="{y + 15:g}" font-size="12" font-weight="bold" '
            f'text-anchor="middle">{escape(name)}</text>'
        )
        parts += [
            f'<text x="{x + _BOX / 2:g}" y="{y + 28 + 11 * i:g}" font-size="9.5" fill="#333" '
            f'text-anchor="middle">{escape(line)}</text>'
            for i, line in enumerate(_lines(_purpose(room)))
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(drawing(), encoding="utf-8")
