# SPDX-License-Identifier: Apache-2.0
"""Licences of the dependencies: none is missing, and none obliges who ships the package."""

from __future__ import annotations

import re
from typing import Any

import licences

UNDECLARED = {"ros-jazzy-rclpy"}
"""An empty package that pins ros-rclpy."""


def test_every_dependency_has_a_licence_that_does_not_bind_the_package() -> None:
    found = licences.closure()
    assert len(found) > 20
    for name, (dist, runs) in found.items():
        licence = licences.licence_of(dist)
        assert licence != "not declared" or name in UNDECLARED, name
        bound = re.search(r"\bA?GPL", licence) and "BSD" not in licence
        assert not (runs and bound), f"{name}: {licence}"


def test_the_page_names_what_setup_names(setup_recipe: dict[str, Any]) -> None:
    page = licences.PAGE.read_text()
    extras = [each for extra in setup_recipe["extras_require"].values() for each in extra]
    names = {re.match(r"[\w.-]+", each)[0] for each in (*setup_recipe["install_requires"], *extras)}
    installed = licences.closure()
    missing = [n for n in names if (c := n.lower().replace("_", "-")) in installed
               and f"| {c} |" not in page]  # fmt: skip
    assert not missing, "run python scripts/licences.py --write"
