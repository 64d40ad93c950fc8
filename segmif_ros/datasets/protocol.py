# SPDX-License-Identifier: Apache-2.0
"""Scoring protocols: the pixels and classes that enter a score such as mIoU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segmif_ros.bundle import LabelClass
from segmif_ros.datasets.classes import (
    ClassList,
    Counting,
    list_with,
    load_class_list,
    shipped_lists,
)
from segmif_ros.datasets.sample import IGNORE
from segmif_ros.frames import Image8


class ProtocolError(ValueError):
    """An unknown or unsuitable scoring protocol; the message lists the known ones."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """A scoring protocol.

    Ground-truth pixels of an ignored id are left out. A class that is neither counted nor ignored
    is not in the mean, but its pixels count: a counted class predicted there is a false positive.

    Attributes:
        name: for example "fmb14".
        labels: class list of the annotations, for example "fmb15".
        classes: that list's classes, in the order of their ids.
        counted: ids whose IoU goes into the mean.
        ignored: ids of ground-truth pixels that are left out; always with 254 and 255.
        about: description, one sentence.
    """

    name: str
    labels: str
    classes: tuple[LabelClass, ...]
    counted: tuple[int, ...]
    ignored: tuple[int, ...]
    about: str = ""

    def truth(self, labels: Image8) -> Image8:
        """Return an annotation with ignored ids replaced by 255.

        Args:
            labels: HxW uint8 ids of the class list `labels`.
        """
        return np.where(np.isin(labels, self.ignored), np.uint8(IGNORE), labels)

    def prediction_table(self, classes: Sequence[LabelClass]) -> Image8:
        """Return a table of 256 ids that translates predictions to the protocol's class list.

        Apply it as `table[mask]`. Classes that the protocol's list does not have become the rest of
        that list, usually unlabelled; 255 stays.

        Raises:
            ProtocolError: the classes are no shipped list, or no translation is defined for
                in the protocol's list.
        """
        if [(c.id, c.name) for c in classes] == [(c.id, c.name) for c in self.classes]:
            return np.arange(256, dtype=np.uint8)
        theirs = list_with(classes)
        if theirs is None:
            raise ProtocolError(
                f"the network's {len(classes)} classes ({_some(classes)}) are not those of "
                f"protocol {self.name!r} ({_some(self.classes)}), nor any list under "
                "config/labels; write one with `reads_as`, or score with a protocol of the "
                "network's own classes"
            )
        return theirs.prediction_table(self.labels)


def load_protocol(name: str) -> Protocol:
    """Return a protocol by its name.

    Args:
        name: one of `protocol_names()`; or a class list, for the first protocol of its file, or
            for all of its classes where it has none. A class list of one's own is named by its
            path, which ends in .yaml, with the protocol after a colon if it is not the first:
            "my.yaml:strict".

    Raises:
        ProtocolError: no such protocol, with the known names; or an invalid file.
        FileNotFoundError: no such file.
    """
    own = name.partition(".yaml:")[2]
    if own or name.endswith(".yaml"):
        found = list_of(name)
        return _protocol(load_class_list(found), own) if own else default_protocol(found)
    for each in shipped_lists():
        if name in load_class_list(each).protocols:
            return _protocol(load_class_list(each), name)
    if name in shipped_lists():
        return default_protocol(name)
    raise ProtocolError(f"no protocol {name!r}, expected one of {', '.join(protocol_names())}")


def default_protocol(labels: str) -> Protocol:
    """Return the default protocol of a class list, the first in its file."""
    found = load_class_list(labels)
    return _protocol(found, next(iter(found.protocols), found.name))


def protocols_of(found: ClassList) -> tuple[Protocol, ...]:
    """Return every protocol of a class list, the default one first; all its classes if none."""
    return tuple(_protocol(found, name) for name in found.protocols or (found.name,))


def list_of(protocol: str) -> str:
    """Return the class list of a protocol as `load_class_list` takes it: its name or its file.

    Args:
        protocol: as for `load_protocol`, which raises the same.
    """
    path, own, _ = protocol.partition(".yaml:")
    if own or protocol.endswith(".yaml"):
        return f"{path.removesuffix('.yaml')}.yaml"
    return load_protocol(protocol).labels


def protocol_names() -> tuple[str, ...]:
    """Return the names of all protocols under config/labels."""
    return tuple(name for each in shipped_lists() for name in load_class_list(each).protocols)


def _protocol(found: ClassList, name: str) -> Protocol:
    ids = tuple(label.id for label in found.classes)
    raw = found.protocols.get(name)
    if raw is None:
        if found.protocols:
            raise ProtocolError(
                f"class list {found.name!r} has no protocol {name!r}, only "
                f"{', '.join(found.protocols)}"
            )
        raw = Counting(tuple(label for label in ids if label not in found.ignore))
    counted, ignored = raw.counted, set(raw.ignored)
    wrong = [label for label in counted if label not in ids or label in ignored]
    if wrong:
        raise ProtocolError(
            f"protocol {name!r} counts id {wrong[0]}, which is no class of {found.name!r} or is "
            "ignored at the same time"
        )
    left_out = tuple(sorted(ignored | {254, IGNORE}))
    return Protocol(name, found.name, found.classes, counted, left_out, raw.about)


def _some(classes: Sequence[LabelClass]) -> str:
    names = [label.name for label in classes[:3]]
    return ", ".join(names) + (", ..." if len(classes) > 3 else "")
