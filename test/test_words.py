# SPDX-License-Identifier: Apache-2.0
"""Documents, messages and docstrings are plain technical English: words that they do not use."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

AVOIDED = {
    # word or phrase -> what to write instead
    r"foresaw": "unexpected",
    r"takes? \w+ for (?:lost|broken|frozen)": "counts as",
    r"told(?!:)": "reported, passed, configured",
    r"tells?": "return, report, identify, show",
    r"mend(?:s|ed|ing)?": "correct, repair, fix",
    r"whoever|somebody|anybody|everybody|nobody": "name the user, the process or the subscriber",
    r"hears?|heard(?!:)": "receive, subscribe",
    r"speaks?": "use, report",
    r"insists?": "repeats",
    r"unrest": "flicker",
    r"left to itself": "abandoned",
    r"com(?:es?|ing) to nothing|came to nothing": "without a result",
    r"r(?:ides?|idden) out": "bridges",
    r"falls? asleep": "unsubscribes",
    r"rest(?:ing|s) (?:while|until|:)": "idle",
    r"knows? (?:nothing|no|only)": "does not use, has no",
    r"in (?:its|the node's) own words": "with its message",
    r"by heart": "overfits",
    r"anew": "again",
    r"takes? its word back": "the state ends",
    r"is deaf|goes blind": "receives nothing",
    r"belie(?:ve[sd]?|ving)": "takes, uses",
    r"dies?|died": "ends, crashes",
    r"forg(?:ets?|ot|ive[sn]?)": "reset, clear, leave out",
    r"remember(?:s|ed)?": "keep, record",
    r"at hand": "in progress, current, available",
    r"asks? for|asked (?:for|of|to)": "request, need, require",
    r"(?:network|segmentation|encoder|OpenVINO|PyTorch) sees": "gets, takes, finds",
    r"hand(?:s|ed|ing)? (?:over|on)": "pass, output",
    r"gets? its name|takes? its (?:own )?name": "renamed when complete",
    r"strangers?": "untrusted input",
    r"shall": "must",
    r"wants": "needs, takes",
    r"all the same": "anyway",
    r"teach(?:es)?|taught(?!:)": "train, label",
    r"guess(?:es)? (?:people|cars?)": "predict",
    r"of (?:no )?use (?:alone|for|here)": "usable, unusable",
    r"stands? still|stood still": "does not change, was blocked",
    r"goes on where|go(?:es)? on (?:with|from|alone|as)": "continue",
    r"what (?:a person|a reader|people) should know": "remarks",
    r"came to be|com(?:es?|ing) about|goes about": "origin, results from, exists",
    r"without a past|listens? no more": "empty, unsubscribe, close",
    r"puts? out|ran away": "publish, output, diverge",
    r"what (?:it|they|one \w+) came to|people look for": "result, main figures",
    r"says about itself|says? nothing": "diagnostics; is no evidence",
}
"""Proverbs, machines with feelings, and words of this project alone."""

_PATTERN = re.compile("|".join(rf"\b(?:{words})\b" for words in AVOIDED), re.I)

PAGES = sorted(
    path for pattern in ("*.md", "docs/**/*.md", "models/*/*.md") for path in ROOT.glob(pattern)
)
SOURCES = sorted(
    path
    for folder in ("segmif_ros", "launch", "benchmarks", "scripts", "fuzz", "test")
    for path in (ROOT / folder).rglob("*.py")
    if path != Path(__file__).resolve()
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


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield messages, docstrings, comments and names of tests, with their line."""
    text = path.read_text()
    if not _PATTERN.search(text.replace("_", " ")):
        return  # the quick way past most files
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.lineno, node.name.replace("_", " ")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def test_messages_docstrings_comments_and_names_of_tests_are_in_plain_words() -> None:
    bad = [
        f"{path.relative_to(ROOT)}:{text}"
        for path in SOURCES
        for line, words in prose(path)
        for text in found(words, line)
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
