# SPDX-License-Identifier: Apache-2.0
"""docs/datasets.md against what the code has."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import yaml

from segmif_ros.datasets.classes import shipped_lists
from segmif_ros.datasets.opening import LAYOUTS
from segmif_ros.datasets.protocol import default_protocol, load_protocol, protocol_names

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "datasets.md").read_text()


def test_every_layout_has_its_row() -> None:
    table = TEXT.split("## Layouts")[1].split("## What")[0]
    rows = re.findall(r"^\| `(\w+)` \| .* \| `?([\w-]+)`?.* \| .* \|$", table, re.M)
    assert rows == [(layout.kind, layout.labels or "--classes") for layout in LAYOUTS]


def test_every_protocol_has_its_row_with_the_right_number_of_classes() -> None:
    table = TEXT.split("## Class lists and protocols")[1].split("Two things")[0]
    cells = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| `")]
    rows = {name: row for row in cells for name in re.findall(r"`([\w-]+)`", row[0])}
    assert set(rows) == set(protocol_names())
    for name, (_, counted) in rows.items():
        said = re.match(r" (\d+)", counted)
        number = int(said.group(1)) if said else counted.split(":")[0].count(",") + 1
        assert number == len(load_protocol(name).counted), name
    for labels in shipped_lists():
        assert "(default" in rows[default_protocol(labels).name][0]


def test_the_code_in_the_document_runs() -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S)
    names: dict[str, np.ndarray] = {}
    exec(code, names)  # noqa: S102 - it is our own document
    assert names["truth"].shape == (480, 640)
    assert 0 not in names["truth"]


def test_the_recipe_in_the_document_is_one() -> None:
    from segmif_ros.training.recipe import Recipe

    (text,) = re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.M | re.S)
    recipe = Recipe.from_mapping(yaml.safe_load(text))
    assert recipe.mix == {"rig": 0.2, "fmb": 0.5, "mfnet": 0.2, "ours": 0.1}
    assert {entry.kind for entry in recipe.data.values()} <= {layout.kind for layout in LAYOUTS}
