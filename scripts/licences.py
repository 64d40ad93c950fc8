# SPDX-License-Identifier: Apache-2.0
"""Print every dependency of the package and its extras with version and licence, as Markdown.

    python scripts/licences.py                  # the table of docs/licences.md
    python scripts/licences.py --write

What is installed here is looked at, with what it brings along.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "licences.md"
BEGIN, END = "<!-- licences -->\n", "<!-- end of licences -->"
TOOLS = frozenset(("test", "fuzz"))
"""Extras that nothing of a vehicle needs."""
_NAME = re.compile(r"[\w.-]+")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([\w-]+)['\"]")
_TAG = re.compile(r"<license[^>]*>([^<]+)</license>")
_LONGEST = 60


def licence_of(dist: Distribution) -> str:
    """Return the licence in a few words: expression, classifiers or the first line of the text."""
    meta = dist.metadata
    classifiers = [c.rpartition(" :: ")[2] for c in meta.get_all("Classifier") or ()
                   if c.startswith("License ::")]  # fmt: skip
    said = meta.get("License-Expression") or meta.get("License") or ""
    first = said.strip().splitlines()[0].strip() if said.strip() else ""
    if not first or len(first) > _LONGEST:
        first = ", ".join(classifiers) or first[:_LONGEST]
    return first or _of_ros(dist) or "not declared"


def _of_ros(dist: Distribution) -> str:
    """Return what package.xml says, or the licence file; the wheels of ROS have no other."""
    for file in dist.files or ():
        path = Path(str(dist.locate_file(file)))
        if path.name == "package.xml" and path.is_file():
            return ", ".join(_TAG.findall(path.read_text(errors="replace")))
        if path.name == "LICENSE" and path.is_file() and "Apache" in path.read_text()[:300]:
            return "Apache-2.0"
    return ""


def needed(dist: Distribution, extras: Iterable[str]) -> Iterator[str]:
    """Yield what a distribution requires, alone and with extras."""
    for requirement in dist.requires or ():
        extra = _EXTRA.search(requirement)
        if extra is None or extra[1] in extras:
            found = _NAME.match(requirement)
            assert found is not None
            yield found[0]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def closure() -> dict[str, tuple[Distribution, bool]]:
    """Return name -> distribution, and whether it is needed to run."""
    own = distribution("segmif_ros")
    extras = set(own.metadata.get_all("Provides-Extra") or ())
    found: dict[str, tuple[Distribution, bool]] = {}
    for runs, chosen in ((True, extras - TOOLS), (False, extras)):
        left = list(needed(own, chosen))
        while left:
            name = _canonical(left.pop())
            if name in found or name == "segmif-ros":
                continue
            try:
                dist = distribution(name)
            except PackageNotFoundError:
                continue  # of another platform, or an extra that is not installed here
            found[name] = (dist, runs)
            left += needed(dist, ())
    return found


def table() -> str:
    """Return the table."""
    rows = ["| package | licence | needed |", "|---|---|---|"]
    for name, (dist, runs) in sorted(closure().items()):
        rows.append(f"| {name} | {licence_of(dist)} | {'to run' if runs else 'to test'} |")
    return "\n".join(rows) + "\n"


def main() -> int:
    """Print the table, or write it into the page."""
    if sys.argv[1:] != ["--write"]:
        print(table(), end="")
        return 0
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}{table()}{END}{rest.partition(END)[2]}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
