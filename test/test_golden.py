# SPDX-License-Identifier: Apache-2.0
"""What users rely on does not change unseen: test/golden, written by scripts/golden.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import golden
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
ADVICE = (
    "an interface changed. If that is meant: run `python scripts/golden.py`, and say what changed "
    "in a line of CHANGELOG.rst; both go into one commit"
)


def committed(name: str) -> list[str]:
    return (golden.GOLDEN / f"{name}.txt").read_text().splitlines()


@pytest.mark.parametrize("name", ["parameters", "cli", "report", "manifest"])
def test_it_is_what_it_was(name: str) -> None:
    found = [line.rstrip() for line in golden.KINDS[name]()]
    assert found == committed(name), ADVICE


@pytest.mark.system
def test_topics_have_the_names_types_and_qos_that_they_had() -> None:
    pytest.importorskip("rclpy")
    domain = {"ROS_DOMAIN_ID": str(1 + (os.getpid() + 25) % 100)}
    told = subprocess.run(
        [sys.executable, "scripts/golden.py", "topics"],
        cwd=REPOSITORY, env=os.environ | domain, capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip
    assert told.stdout.splitlines() == committed("topics"), f"{ADVICE}\n{told.stderr}"


def test_golden_files_and_the_changelog_change_in_one_commit() -> None:
    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=REPOSITORY, capture_output=True, text=True, check=False
        ).stdout

    newest = git("log", "-1", "--format=%H", "--", "test/golden").strip()
    if not newest:
        pytest.skip("no git checkout, or nothing was committed yet")
    changed = git("show", "--format=", "--name-only", newest).split()
    assert "CHANGELOG.rst" in changed, f"commit {newest[:9]} changed test/golden alone: {ADVICE}"
