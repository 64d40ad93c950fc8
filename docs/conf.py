# SPDX-License-Identifier: Apache-2.0
"""Settings of Sphinx for `make docs`; the source folder is the repository."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

project = "segmif_ros"
author = "segmif_ros maintainers"
project_copyright = author  # pages carry no year, so that two builds of one commit are equal
extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["*.md", "CHANGELOG.rst", "docs/**", "models/*/*.md"]
exclude_patterns = [".*", "segmif_ros", "test", "build", "install", "log", "runs", "demo_out"]

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 4
# Pages name ten formats that Pygments has no lexer for.
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "furo"
html_title = "segmif_ros"
html_copy_source = False
html_show_sphinx = False
html_extra_path = ["site"]
html_css_files = ["../wide.css"]


def _pages(index: str) -> list[str]:
    """Return the pages that the index links to, in its order and without their suffix."""
    links = dict.fromkeys(re.findall(r"\]\(([^):#]+)\.(?:md|rst)[)#]", index))
    return [f"/{(ROOT / 'docs' / link).resolve().relative_to(ROOT)}" for link in links]


def _navigate(_app: object, page: str, source: list[str]) -> None:
    """Put the index's pages into the navigation; GitHub would show a toctree as text."""
    if page == root_doc:
        pages = "\n".join(_pages(source[0]))
        source[0] += f"\n```{{toctree}}\n:hidden:\n\n{pages}\n```\n"


def setup(app: Any) -> None:
    """Connect what Sphinx has no setting for."""
    app.connect("source-read", _navigate)
