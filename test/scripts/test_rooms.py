# SPDX-License-Identifier: Apache-2.0
"""The drawing in docs/architecture.md is that of the code as it is, and names files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import rooms

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "architecture.md"


def test_the_drawing_is_that_of_the_code() -> None:
    drawn = (REPOSITORY / "docs" / "images" / "rooms.svg").read_text(encoding="utf-8")
    assert drawn == rooms.drawing(), "run: python scripts/rooms.py docs/images/rooms.svg"


def test_every_room_is_drawn_and_needs_none_above_it() -> None:
    graph, drawing = rooms.rooms(), rooms.drawing()
    for room, needs in graph.items():
        assert all(rooms.ORDER.index(each) < rooms.ORDER.index(room) for each in needs)
        assert (f">{room}/</text>" in drawing) == (room != ".")


def test_the_page_names_only_files_that_exist() -> None:
    names = re.findall(r"`([\w/]+(?:\.py|/))`", PAGE.read_text(encoding="utf-8"))
    assert len(names) > 30
    missing = [
        name
        for name in names
        if not ((rooms.PACKAGE / name).exists() or (REPOSITORY / name).exists())
    ]
    assert missing == []
