# SPDX-License-Identifier: Apache-2.0
"""Documents, messages and docstrings are plain technical English: words that they do not use."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

AVOIDED = {
    # word or phrase -> what to write instead
    r"nobody foresaw|foresaw": "unexpected",
    r"takes? \w+ for (?:lost|broken|frozen)": "counts as",
    r"told (?:by|from|apart|of|in|once|every|that|when|why|what|to)": "reported, called with",
    r"(?:is|are|be|not|was) told": "reported, identified",
    r"mend(?:s|ed|ing)?": "correct, repair",
    r"whoever": "name the user or the process",
    r"somebody": "name the user, the process or the subscriber",
    r"insists?": "repeats",
    r"unrest": "flicker",
    r"left to itself": "abandoned",
    r"com(?:es?|ing) to nothing|came to nothing": "without a result",
    r"r(?:ides?|idden) out": "bridges",
    r"falls? asleep|wakes? up when": "unsubscribes, subscribes",
    r"knows nothing": "does not use",
    r"in (?:its|the node's) own words": "with its message",
    r"by heart": "overfits",
    r"begins? anew|began anew": "starts again",
    r"takes? its word back": "the state ends",
    r"is deaf|goes blind": "receives nothing",
    r"nothing to tell": "not reported",
    r"believes?|believed": "takes, uses",
    r"dies|died": "ends, crashes",
}
"""Proverbs, machines with feelings, and words of this project alone."""

_PATTERN = re.compile("|".join(rf"\b(?:{words})\b" for words in AVOIDED), re.I)

PAGES = sorted(
    path for pattern in ("*.md", "docs/**/*.md", "models/*/*.md") for path in ROOT.glob(pattern)
)
SOURCES = sorted(
    path for folder in ("segmif_ros", "launch") for path in (ROOT / folder).rglob("*.py")
)


def found(text: str, first_line: int = 1) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), first_line):
        for match in _PATTERN.finditer(line):
            yield f"{number}: {match[0]!r} in {line.strip()[:80]!r}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_are_in_plain_words(page: Path) -> None:
    text = re.sub(
        r"^```.*?^```$",
        lambda code: "\n" * code[0].count("\n"),
        page.read_text(),
        flags=re.M | re.S,
    )
    assert list(found(text)) == []


def test_messages_and_docstrings_are_in_plain_words() -> None:
    bad = [
        f"{path.relative_to(ROOT)}:{text}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for text in found(node.value, node.lineno)
    ]
    assert bad == []


@pytest.mark.parametrize(
    "text",
    [
        "Whatever nobody foresaw",
        "the cameras are told by name",
        "it is left to itself",
        "Mend the driver",
    ],
)
def test_the_search_finds_what_it_looks_for(text: str) -> None:
    assert list(found(text))


def test_names_and_ordinary_words_are_no_findings() -> None:
    assert list(found("`told_s_ago`, a recommended amendment, the foresail")) == []
