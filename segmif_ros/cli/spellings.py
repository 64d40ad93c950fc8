# SPDX-License-Identifier: Apache-2.0
"""Options that had another name: accepted for one release, with a hint."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


def _is_class_list(value: str) -> bool:
    """A class list is a name or a .yaml file; a topic begins with a slash."""
    return not value.startswith("/") or value.endswith((".yaml", ".yml"))


class OldSpelling(NamedTuple):
    """One option that was renamed.

    Attributes:
        verbs: that had it.
        old: its old name.
        new: its name now.
        meant: decides by the value whether the old option is meant, where its name has another
            meaning now.
    """

    verbs: tuple[str, ...]
    old: str
    new: str
    meant: Callable[[str], bool] = lambda _: True


OLD_SPELLINGS = (
    OldSpelling(("evaluate", "fit-confidence"), "--engine-threads", "--threads"),
    OldSpelling(("build-engine",), "--cache", "--engine-cache"),
    OldSpelling(("doctor",), "--rgb", "--rgb-topic"),
    OldSpelling(("doctor",), "--thermal", "--thermal-topic"),
    OldSpelling(("calibrate points",), "--rgb", "--rgb-picture"),
    OldSpelling(("calibrate points",), "--thermal", "--thermal-picture"),
    OldSpelling(("calibrate points",), "--pairs", "--points"),
    OldSpelling(
        ("calibrate points", "calibrate board", "calibrate auto"), "--picture", "--write-picture"
    ),
    OldSpelling(("calibrate board",), "--views", "--limit"),
    OldSpelling(("bag make",), "--visible", "--rgb-video"),
    OldSpelling(("bag make",), "--thermal", "--thermal-video"),
    OldSpelling(("bag play",), "--rate", "--speed"),
    OldSpelling(("bag play",), "--duration", "--seconds"),
    OldSpelling(("bench", "sync-check"), "--json", "--out", lambda value: value.endswith(".json")),
    OldSpelling(("dataset check",), "--labels", "--classes", _is_class_list),
    OldSpelling(("dataset check",), "--label-topic", "--labels"),
    OldSpelling(("dataset check",), "--out", "--write-sheet"),
    OldSpelling(("dataset check",), "--pairs", "--sheet-pairs"),
    OldSpelling(("dataset export",), "--count", "--limit"),
    OldSpelling(("evaluate",), "--annotated", "--classes"),
    OldSpelling(("evaluate",), "--fresh", "--force"),
    OldSpelling(("demo",), "--frames", "--limit"),
    OldSpelling(("export", "import-checkpoint"), "--labels", "--classes"),
    OldSpelling(("export", "quantise"), "--precision", "--write-precision"),
    OldSpelling(("export",), "--favour", "--class-bias"),
    OldSpelling(("export",), "--int8-pairs", "--pairs"),
    OldSpelling(("export",), "--int8-names", "--names"),
    OldSpelling(("export",), "--int8-count", "--limit"),
    OldSpelling(("export",), "--int8-for", "--for"),
    OldSpelling(("quantise",), "--count", "--limit"),
    OldSpelling(("view",), "--first", "--start"),
    OldSpelling(("view",), "--count", "--limit"),
    OldSpelling(("view",), "--export", "--write-pictures"),
    OldSpelling(("view",), "--video", "--write-video"),
)
