# SPDX-License-Identifier: Apache-2.0
"""Renders the templates as self-contained pages; all values are escaped.

Topic names, file names and error texts of a bag are untrusted: everything except markup of the
templates and of `svg_plots` is escaped. The pages have a content security policy with hashes of
their one script and their style, so no content of a bag can execute or load anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from segmif_ros.metrics.tally import ROWS
from segmif_ros.report.run_summary import STAGES as RUN_STAGES
from segmif_ros.report.svg_plots import bars, confusion_plot, line_plot, reliability_plot
from segmif_ros.view.page import asset, content_hash

ABSENT = "–"
"""Displayed for a number that was not measured."""

STAGES = {"read": "reading and converting", **RUN_STAGES}
"""Displayed names of the stages of a pair."""


def rendered(template: str, *, script: bool = False, **values: Any) -> Markup:
    """Return a template of this room filled in.

    Args:
        template: its name without suffix.
        script: include the viewer's script.
        values: for the template.
    """
    style = asset("viewer.css") + asset("report.css")
    code = asset("viewer.js") if script else ""
    policy = (
        f"default-src 'none'; img-src data:; style-src {content_hash(style)}; script-src "
        + (content_hash(code) if script else "'none'")
        + "; base-uri 'none'; form-action 'none'"
    )
    own = {"style": Markup(style), "script": Markup(code)}  # noqa: S704 - files of the package
    page = _environment().get_template(f"{template}.html")
    return Markup(page.render(values, **own, policy=policy))  # noqa: S704 - escaped there


def number(value: object, digits: int = 3) -> str:
    """Return a number as text; None was not measured."""
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


def first_seen(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return all keys in the order of first occurrence."""
    return list(dict.fromkeys(str(key) for mapping in mappings for key in mapping))


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("segmif_ros.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": number,
        "percent": percent,
        "ms": lambda value: ABSENT if value is None else f"{value:.1f} ms",
        "signed": lambda value: f"{value:+.4f}",
        "flat": lambda values: list(_flat(values)),
    }
    made.globals |= {
        "ABSENT": ABSENT,
        "ROWS": (ROWS[-1], *ROWS[:-1]),
        "STAGES": STAGES,
        "meanings": MEANINGS,
        "first_seen": first_seen,
        "bars": bars,
        "line_plot": line_plot,
        "confusion_plot": confusion_plot,
        "reliability_plot": reliability_plot,
    }
    return made


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield a mapping, nested or not, as rows of name and value."""
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


MEANINGS: dict[str, list[str]] = yaml.safe_load(
    files("segmif_ros.report").joinpath("templates", "meanings.yaml").read_text("utf-8")
)
