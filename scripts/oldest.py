# SPDX-License-Identifier: Apache-2.0
"""Print setup.py's requirements held at their lower bounds, as constraints for pip.

    python scripts/oldest.py > oldest.txt

`>=1.24` becomes `==1.24.*`: the oldest release line that the bound allows, with its last fixes.
"""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import setuptools

SETUP = Path(__file__).resolve().parents[1] / "setup.py"
_LOWER = re.compile(
    r"(?P<name>[\w.-]+)(?:\[\w+\])?>=(?P<version>[\d.]+)(?P<rest>[^;]*)(?P<where>;.*)?"
)


def requirements() -> list[str]:
    """Return every requirement of the package and its extras, each once."""
    told: dict[str, Any] = {}
    setup, setuptools.setup = setuptools.setup, lambda **words: told.update(words)
    try:
        runpy.run_path(str(SETUP))
    finally:
        setuptools.setup = setup
    extras = (each for extra in told["extras_require"].values() for each in extra)
    return sorted({*told["install_requires"], *extras})


def oldest(requirement: str) -> str | None:
    """Return the constraint for a requirement; None where it has no lower bound."""
    found = _LOWER.fullmatch(requirement)
    if found is None:
        return None
    return f"{found['name']}=={found['version']}.*{found['where'] or ''}"


if __name__ == "__main__":
    print("\n".join(filter(None, map(oldest, requirements()))))
