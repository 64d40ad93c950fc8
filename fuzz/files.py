# SPDX-License-Identifier: Apache-2.0
"""Files of people from bytes to a decision; the rules are those of `messages.py`."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from segmif_ros.bundle import BundleError, parse_labels, parse_manifest
from segmif_ros.datasets.classes import load_class_list
from segmif_ros.datasets.labels import LabelReading
from segmif_ros.datasets.sample import BACKGROUND, IGNORE, DatasetError
from segmif_ros.documents import DocumentError, parse_json, read_yaml
from segmif_ros.evaluation.settings import SettingsError, node_parameters
from segmif_ros.parameters import SPECS, ParameterError, Settings
from segmif_ros.recordings.bags import BagError, BagReader
from segmif_ros.registration import RegistrationError
from segmif_ros.registration.calibration_file import (
    calibration_yaml,
    load_calibration,
    load_mounting,
)
from segmif_ros.report.schema import ReportError, validate

CORPUS = Path(__file__).parent / "corpus"
DEFAULT_VALUES = {name: spec.default for name, spec in SPECS.items()}


@cache
def scratch() -> Path:
    """Folder of this process."""
    return Path(tempfile.mkdtemp(prefix="segmif_fuzz_"))


def clean() -> None:
    """Remove it."""
    shutil.rmtree(scratch(), ignore_errors=True)


def _file(name: str, data: bytes) -> Path:
    path = scratch() / name
    path.write_bytes(data)
    return path


def manifest(data: bytes) -> bool:
    """A manifest that is accepted says the same when it is written and read again."""
    try:
        found = parse_manifest(_file("manifest.json", data))
    except BundleError:
        return False
    assert parse_manifest(_file("again.json", found.to_json().encode())) == found
    return True


def calibration(data: bytes) -> bool:
    """A calibration that is accepted says the same when it is written and read again."""
    path = _file("calibration.yaml", data)
    with suppress(RegistrationError):
        load_mounting(path)
    try:
        found = load_calibration(path)
    except RegistrationError:
        return False
    text = calibration_yaml(found)
    again = load_calibration(_file("again.yaml", text.encode()))
    assert calibration_yaml(again) == text
    return True


def recipe(data: bytes) -> bool:
    """A training recipe."""
    from segmif_ros.training.recipe import Recipe, RecipeError

    try:
        found = Recipe.load(_file("recipe.yaml", data))
    except RecipeError:
        return False
    assert found.batch % found.accumulate == 0
    return True


def parameters(data: bytes) -> bool:
    """A parameter file: every value that comes through is one that the node would take."""
    try:
        content = read_yaml(_file("parameters.yaml", data), infinite=True)
        found = node_parameters(content)
    except (DocumentError, SettingsError):
        return False
    for name, value in found.items():
        assert SPECS[name].check(value) is None, name
    with suppress(ParameterError):
        Settings.from_values({**DEFAULT_VALUES, **found})
    return True


def classes(data: bytes) -> bool:
    """A class list: its tables hold ids of the other list alone."""
    try:
        found = load_class_list(str(_file("classes.yaml", data)))
    except ValueError:
        return False
    for other in found.reads_as:
        for table in (found.truth_table(other), found.prediction_table(other)):
            assert table.shape == (256,)
            assert table.dtype == np.uint8
    return True


READING = LabelReading.of("fmb15", None)
KNOWN_IDS = {*(label.id for label in READING.own.classes), *READING.own.ignore, BACKGROUND, IGNORE}


def label_png(data: bytes) -> bool:
    """A label picture: no id comes out that the class list has not."""
    try:
        found = READING.read(_file("labels.png", data))
    except DatasetError:
        return False
    assert found.ndim == 2
    assert found.dtype == np.uint8
    assert set(np.unique(found).tolist()) <= KNOWN_IDS
    return True


def labels(data: bytes) -> bool:
    """The text of the topic `labels`."""
    try:
        _, found = parse_labels(data.decode(errors="replace"))
    except ValueError:
        return False
    assert all(0 <= label.id <= 255 for label in found)
    return True


def report(data: bytes) -> bool:
    """A report: what was checked passes the same check again."""
    try:
        content = parse_json(data)
        if not isinstance(content, dict):
            return False
        checked = validate(content)
    except (DocumentError, ReportError):
        return False
    assert validate(checked) == checked
    return True


def checkpoint(data: bytes) -> bool:
    """A file of torch.save: tensors of finite numbers, no more of them than the file holds."""
    import torch

    from segmif_ros.export.checkpoint import CheckpointError, read_state

    try:
        found = read_state(_file("weights.pth", data))
    except CheckpointError:
        return False
    for name, value in found.items():
        assert value.dtype == torch.float32, name
        assert torch.isfinite(value).all(), name
        assert value.numel() <= 8 * len(data), name
    return True


@cache
def _originals(name: str) -> frozenset[tuple[str, bytes]]:
    """What the committed bags of a kind hold."""
    held: set[tuple[str, bytes]] = set()
    for path in sorted((CORPUS / name).glob("seed-*")):
        copied = _file(f"seed.{name}", path.read_bytes())
        with BagReader(copied, lambda _: None) as reader:
            held |= {(m.topic, bytes(m.cdr)) for m in reader.messages()}
    return frozenset(held)


def _read_bag(path: Path) -> tuple[list[Any], tuple[str, ...], bool] | None:
    try:
        with BagReader(path, lambda _: None) as reader:
            summary = reader.summary()
            found = list(reader.messages())
            return found, reader.damage, summary.checksums
    except BagError:
        return None


def mcap(data: bytes) -> bool:
    """An mcap: where checksums are said to be there, no message comes out that was not put in."""
    found = _read_bag(_file("bag.mcap", data))
    if found is None:
        return False
    messages, _, checksums = found
    if checksums:
        known = {content for _, content in _originals("mcap")}
        foreign = [m for m in messages if bytes(m.cdr) not in known]
        assert not foreign, f"{len(foreign)} changed messages under checksums"
    return True


def db3(data: bytes) -> bool:
    """A bag of sqlite3: what cannot be read is said, and the rest comes in order."""
    found = _read_bag(_file("bag.db3", data))
    if found is None:
        return False
    times = [message.time_ns for message in found[0]]
    assert times == sorted(times) or found[1], "out of order, and nothing said"
    return True


def metadata(data: bytes) -> bool:
    """metadata.yaml beside a sound file: it names files and changes none of their messages."""
    folder = scratch() / "bag"
    folder.mkdir(exist_ok=True)
    file = folder / "bag_0.mcap"
    if not file.exists():
        os.link(_file("seed.mcap", (CORPUS / "mcap" / "seed-plain").read_bytes()), file)
    (folder / "metadata.yaml").write_bytes(data)
    found = _read_bag(folder)
    if found is None:
        return False
    assert {(m.topic, bytes(m.cdr)) for m in found[0]} <= _originals("mcap")
    return True


TARGETS: dict[str, Callable[[bytes], bool]] = {
    "manifest": manifest,
    "calibration": calibration,
    "recipe": recipe,
    "parameters": parameters,
    "classes": classes,
    "label_png": label_png,
    "labels": labels,
    "report": report,
    "checkpoint": checkpoint,
    "mcap": mcap,
    "db3": db3,
    "metadata": metadata,
}
