# SPDX-License-Identifier: Apache-2.0
"""Class lists of data sets from config/labels: ids, names, colours, and translations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np

from segmif_ros.bundle import LabelClass
from segmif_ros.datasets.sample import BACKGROUND, IGNORE
from segmif_ros.documents import DocumentError, conform, read_yaml
from segmif_ros.frames import Image8
from segmif_ros.share import share_path

Id = Annotated[int, msgspec.Meta(ge=0, le=255)]


@dataclass(frozen=True, slots=True)
class Reading:
    """Translation of ids from one class list to another.

    Attributes:
        ids: source id -> target id.
        rest_true: target of all other ids of an annotation: 255 if the other list may have a
            class for them, 254 if they are neither person nor car nor bicycle.
        rest_predicted: target of all other predicted ids.
    """

    ids: Mapping[Id, Id]
    rest_true: Id
    rest_predicted: Id


@dataclass(frozen=True, slots=True)
class Counting:
    """How scores are counted; see `protocol.Protocol`.

    Attributes:
        counted: ids whose IoU goes into the mean.
        ignored: ids of ground-truth pixels that are left out.
        about: description, one sentence.
    """

    counted: tuple[Id, ...]
    ignored: tuple[Id, ...] = ()
    about: str = ""


@dataclass(frozen=True, slots=True)
class ClassList:
    """One file under config/labels.

    Attributes:
        name: for example "fmb15".
        classes: in the order of their ids.
        ignore: ids of an annotation that are excluded from training.
        reads_as: translations by name of the target class list.
        protocols: how scores are counted, by name; see `protocol.load_protocol`.
    """

    name: str
    classes: tuple[LabelClass, ...]
    ignore: tuple[Id, ...] = (IGNORE,)
    reads_as: Mapping[str, Reading] = field(default_factory=dict)
    protocols: Mapping[str, Counting] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ids = [label.id for label in self.classes]
        if not ids or len(set(ids)) < len(ids) or max(ids) >= BACKGROUND:
            raise ValueError(f"class ids {ids}, expected one each, from 0 to {BACKGROUND - 1}")

    def truth_table(self, other: str) -> Image8:
        """Return a table of 256 ids that translates annotations to the class list `other`.

        255 stays 255, and 254 (see `sample.BACKGROUND`) stays within one list.

        Raises:
            ValueError: no translation between the two is defined.
        """
        return self._table(other, predicted=False)

    def prediction_table(self, other: str) -> Image8:
        """Return a table of 256 ids that translates predictions to the class list `other`.

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
        if other not in self.reads_as:
            raise ValueError(
                f"class list {self.name!r} cannot be read as {other!r}, only as "
                f"{sorted(self.reads_as) or 'itself'}; add it to `reads_as` of its file"
            )
        reading = self.reads_as[other]
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
    if not path.exists():
        raise FileNotFoundError(f"no class list {path}; give one of {', '.join(shipped_lists())}")
    try:
        raw = read_yaml(path)
        if isinstance(raw, dict):
            raw.setdefault("name", path.stem)
        return conform(raw, ClassList)
    except DocumentError as err:
        raise ValueError(
            f"{path} is no class list ({err}); expected classes with id, name and color, as in "
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
