# SPDX-License-Identifier: Apache-2.0
"""Every committed input of the fuzz targets, among them all that ever broke something."""

from __future__ import annotations

import pytest

from fuzz import files
from fuzz.__main__ import FILES, HERE, MESSAGES, target_of, timed


@pytest.fixture(scope="module", autouse=True)
def no_scratch_left():
    yield
    files.clean()


@pytest.mark.parametrize("name", [*MESSAGES, *FILES])
def test_known_inputs_lead_to_right_decisions(name: str) -> None:
    inputs = sorted((HERE / "corpus" / name).iterdir())
    target = target_of(name)
    accepted = [path.name for path in inputs if timed(target, path.read_bytes())[0]]
    assert [known for known in accepted if known.startswith("seed-")], "the oracles saw nothing"


def test_every_target_has_seeds_and_the_corpora_are_small() -> None:
    folders = {path.name: path for path in (HERE / "corpus").iterdir()}
    assert folders.keys() == {*MESSAGES, *FILES}
    sizes = [path.stat().st_size for folder in folders.values() for path in folder.iterdir()]
    assert sum(sizes) < 300_000
