# SPDX-License-Identifier: Apache-2.0
"""Reports that were edited or damaged: a page, or one declared error."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_report import write_made_report

from segmif_ros.cli.main import main
from segmif_ros.report.html import write_html
from segmif_ros.report.pictures import ReportPictures
from segmif_ros.report.schema import ReportError
from segmif_ros.view.frames import ViewError

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2**31, 2**63, 2**64, 10**400, 1.5, 1e308, -1e308, 5e-324),
    *(float("nan"), float("inf"), "", "x", "../../etc/passwd", "/etc/passwd", "a\0b", "\ud800"),
    *("x" * 5000, [], {}, [[]], [None], {"a": 1}, [1, 2, 3], ["a"], "nan", "pictures"),
    *("</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "javascript:x"),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document; of long lists the first few."""
    inside: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inside = list(value.items())
    elif isinstance(value, list):
        inside = list(enumerate(value))[:3]
    return [path, *(each for key, entry in inside for each in places(entry, (*path, key)))]


def damaged(document: Any, chance: random.Random) -> Any:
    """A copy with one to three values replaced, removed or added."""
    document = copy.deepcopy(document)
    for _ in range(chance.choice((1, 1, 2, 3))):
        path = chance.choice(places(document)[1:])
        parent = document
        for key in path[:-1]:
            parent = parent[key]
        if chance.random() < 0.2:
            del parent[path[-1]]
        elif isinstance(parent, list) and chance.random() < 0.2:
            parent.append(chance.choice(ODD))
        else:
            parent[path[-1]] = copy.deepcopy(chance.choice(ODD))
    return document


def page_of(folder: Path) -> str:
    return write_html(folder).read_text(encoding="utf-8")


def pictures_of(folder: Path) -> list[Any]:
    source = ReportPictures(folder)
    return [source.frame(index) for index in range(len(source))]


@pytest.mark.parametrize("file", ["report.json", "run.json"])
def test_a_damaged_report_is_shown_or_refused_with_a_declared_error(
    tmp_path: Path, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = write_made_report(tmp_path / "whole", 1)
    folder = write_made_report(tmp_path / "damaged", 1)
    document = json.loads((folder / file).read_text())
    readers: tuple[Callable[[Path], Any], ...] = (page_of, pictures_of)
    chance, shown = random.Random(3), 0
    for _ in range(120):
        text = json.dumps(damaged(document, chance))
        (folder / file).write_text(text, encoding="utf-8")
        for read in readers:
            try:
                made = read(folder)
            except (ReportError, ViewError):
                continue
            else:
                shown += 1
                assert "<script>alert" not in str(made)
                assert "<img src=x" not in str(made)
        assert main(["compare", str(whole), str(folder), "--json"]) in (0, 1, 2), text
        assert "Traceback" not in capsys.readouterr().err
    assert shown > 10
