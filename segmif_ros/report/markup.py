# SPDX-License-Identifier: Apache-2.0
"""Builds HTML and SVG out of Python values; whatever is not markup already is escaped.

A topic name, a file name or an error text of a bag can hold anything, so there is no way to put
text into a page that goes past `escape`.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

ABSENT = "–"
"""Stands for a number that was not measured."""

_VOID = frozenset({"br", "hr", "img", "input", "link", "meta"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


NOTHING = Markup("")


def escaped(value: object) -> Markup:
    """Return a value as HTML: markup as it is, anything else as text."""
    if isinstance(value, Markup):
        return value
    return Markup(html.escape(str(value)))


def joined(parts: Iterable[object]) -> Markup:
    """Return parts one after the other."""
    return Markup("".join(escaped(part) for part in parts))


def element(tag: str, *content: object, **attributes: object) -> Markup:
    """Return one element.

    Args:
        tag: its name.
        content: children; text is escaped.
        attributes: `class_` and `for_` lose the underscore, other underscores become hyphens; None
            leaves an attribute out, True writes it without a value.
    """
    words = []
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        plain = name.removesuffix("_").replace("_", "-")
        words.append(plain if value is True else f'{plain}="{html.escape(str(value))}"')
    opening = " ".join([tag, *words])
    if tag in _VOID:
        return Markup(f"<{opening}>")
    return Markup(f"<{opening}>{joined(content)}</{tag}>")


def table(
    columns: Sequence[object],
    rows: Iterable[Sequence[object]],
    *,
    caption: str = "",
) -> Markup:
    """Return a table whose first column names the rows, in a box that scrolls by itself."""
    head = element("tr", *(element("th", column, scope="col") for column in columns))
    body = joined(
        element(
            "tr",
            element("th", row[0], scope="row"),
            *(element("td", cell) for cell in row[1:]),
        )
        for row in rows
    )
    title = element("caption", caption) if caption else ""
    inside = element("table", title, element("thead", head), element("tbody", body))
    label = caption or "table"
    return element("div", inside, class_="scroll", tabindex="0", role="region", aria_label=label)


def facts(values: Mapping[str, Any], caption: str = "") -> Markup:
    """Return a mapping, nested or not, as rows of name and value."""
    inside = table(("name", "value"), list(_flat(values)), caption=caption)
    return element("div", inside, class_="facts")


def first_seen(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return all keys in the order of their first appearance."""
    return list(dict.fromkeys(str(key) for mapping in mappings for key in mapping))


def number(value: object, digits: int = 3) -> str:
    """Return a number for people; None is a number that was not measured."""
    if value is None:
        return ABSENT
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    return f"{value:.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share as percent."""
    return ABSENT if value is None else f"{100 * value:.{digits}f} %"


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        elif isinstance(value, list | tuple):
            yield name, ", ".join(_plain(entry) for entry in value) or ABSENT
        else:
            yield name, _plain(value)


def _plain(value: object) -> str:
    if value is None or value == "":
        return ABSENT
    return f"{value:.6g}" if isinstance(value, float) else str(value)
