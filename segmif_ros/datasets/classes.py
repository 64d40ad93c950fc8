# SPDX-License-Identifier: Apache-2.0
"""Class lists of data sets, from config/labels: ids, names, colours, and ids elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from segmif_ros.bundle import LabelClass
from segmif_ros.datasets.sample import BACKGROUND, IGNORE
from segmif_ros.frames import Image8
from segmif_ros.share import share_path


@dataclass(frozen=True, slots=True)
class Reading:
    """What the ids of one class list are in another one.

    Attributes:
        ids: from here to there.
        rest_true: what any other id of an annotation becomes: 255 where the other list may have a
            class for it, 254 where it is surely neither person nor car nor bicycle.
        rest_predicted: what any other id of a network's answer becomes.
    """

    ids: Mapping[int, int]
    rest_true: int
    rest_predicted: int


@dataclass(frozen=True, slots=True)
class ClassList:
    """One file under config/labels.

    Attributes:
        name: for example "fmb15".
        classes: in the order of their ids.
        ignore: ids of an annotation that teach a network nothing.
        readings: by the name of another class list.
        protocols: how scores are counted, as the file says it; see `protocol.load_protocol`.
    """

    name: str
    classes: tuple[LabelClass, ...]
    ignore: tuple[int, ...]
    readings: Mapping[str, Reading]
    protocols: Mapping[str, Mapping[str, Any]]

    def truth_table(self, other: str) -> Image8:
        """Return 256 ids: what every id of an annotation is in the class list `other`.

        255 stays 255, and 254 (see `sample.BACKGROUND`) stays within one list.

        Raises:
            ValueError: nobody has written down how the one reads in the other.
        """
        return self._table(other, predicted=False)

    def prediction_table(self, other: str) -> Image8:
        """Return 256 ids: what every id of a network's answer is in the class list `other`.

        Raises:
            ValueError: as for `truth_table`.
        """
        return self._table(other, predicted=True)

    def unknown_ids(self, labels: Image8) -> tuple[int, ...]:
        """Return the ids in an annotation that are neither a class nor ignored nor unlabelled."""
        known = {label.id for label in self.classes} | {*self.ignore, BACKGROUND, IGNORE}
        present = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
        return tuple(int(label) for label in present if int(label) not in known)

    def _table(self, other: str, *, predicted: bool) -> Image8:
        if other == self.name:
            return np.arange(256, dtype=np.uint8)
        if other not in self.readings:
            raise ValueError(
                f"class list {self.name!r} cannot be read as {other!r}, only as "
                f"{sorted(self.readings) or 'itself'}; add it to `reads_as` of its file"
            )
        reading = self.readings[other]
        rest = reading.rest_predicted if predicted else reading.rest_true
        table = np.full(256, IGNORE, np.uint8)
        for label in self.classes:
            table[label.id] = reading.ids.get(label.id, rest)
        return table


def load_classes(name: str) -> tuple[LabelClass, ...]:
    """Return the classes of config/labels/<name>.yaml, or of the file `name` that ends in .yaml.

    Raises:
        FileNotFoundError: no such list; the message names the place.
        ValueError: the file is no class list.
    """
    return load_class_list(name).classes


def load_class_list(name: str) -> ClassList:
    """Read config/labels/<name>.yaml, or the file `name` where it ends in .yaml.

    Raises:
        FileNotFoundError: no such list; the message names the place.
        ValueError: the file is no class list.
    """
    path = Path(name) if name.endswith(".yaml") else share_path("config", "labels", f"{name}.yaml")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        return ClassList(
            str(raw.get("name", path.stem)),
            tuple(
                LabelClass(
                    int(c["id"]), str(c["name"]), (c["color"][0], c["color"][1], c["color"][2])
                )
                for c in raw["classes"]
            ),
            tuple(int(label) for label in raw.get("ignore", [IGNORE])),
            {str(other): _reading(raw) for other, raw in raw.get("reads_as", {}).items()},
            dict(raw.get("protocols", {})),
        )
    except (
        yaml.YAMLError,
        UnicodeDecodeError,
        AttributeError,
        TypeError,
        KeyError,
        IndexError,
    ) as err:
        reason = str(err).splitlines()[0]
        raise ValueError(
            f"{path} is no class list ({reason}); expected classes with id, name and color, as in "
            "config/labels/fmb15.yaml"
        ) from err


def shipped_lists() -> tuple[str, ...]:
    """Return the names of the class lists under config/labels."""
    return tuple(sorted(path.stem for path in share_path("config", "labels").glob("*.yaml")))


def list_with(classes: Sequence[LabelClass]) -> ClassList | None:
    """Return the shipped class list with these ids and names, None if there is none."""
    wanted = [(label.id, label.name) for label in classes]
    for name in shipped_lists():
        found = load_class_list(name)
        if [(label.id, label.name) for label in found.classes] == wanted:
            return found
    return None


def _reading(raw: Mapping[str, Any]) -> Reading:
    return Reading(
        {int(here): int(there) for here, there in raw["ids"].items()},
        int(raw["rest_true"]),
        int(raw["rest_predicted"]),
    )
