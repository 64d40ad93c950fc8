# SPDX-License-Identifier: Apache-2.0
"""The report of a drive evaluation on disk: report.json, and run.json beside it.

report.json holds what follows from the bags, the model and the settings: the same input gives the
same bytes on the same kind of machine. What differs from run to run (date, machine, timing) lies in
run.json. `load` gives both as one mapping.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

from segmif_ros.outputs import write_whole

SCHEMA = "segmif.drive"
RUN_SCHEMA = "segmif.drive.run"
VERSION = 1
"""Counts up when a key changes its meaning or goes away; new keys may come without."""

REPORT_FILE = "report.json"
RUN_FILE = "run.json"
PICTURES = "pictures"

MOST_ROWS = 2000
"""Rows of `frames` at most, however long the drive was."""

RUN_KEYS = ("created", "machine", "timing")

Number = float | int | None
Status = Literal["ok", "partial", "skipped"]


class ReportError(ValueError):
    """A report cannot be read or is not one; the message names the file and the key."""


class Check(TypedDict):
    """One threshold: `value` is None where the report has no such number."""

    name: str
    limit: str
    value: Number
    passed: bool


class Verdict(TypedDict):
    """All thresholds together; `passed` is None when none was given."""

    passed: bool | None
    checks: list[Check]


class Source(TypedDict):
    """One bag."""

    path: str
    bytes: int
    start_ns: int
    duration_s: float
    topics: dict[str, str]
    status: Status
    reason: str


class Model(TypedDict):
    """The bundle and what executed it."""

    name: str
    sha256: str
    size: list[int]
    classes: list[dict[str, Any]]
    engine: dict[str, str]


class Picture(TypedDict):
    """One pair that was kept; file names are relative to the report's folder."""

    kind: Literal["worst", "best", "sample"]
    stamp_ns: int
    source: str
    score: Number
    why: str
    visible: str
    thermal: str
    fused: str
    mask: str
    confidence: str


class Frames(TypedDict):
    """A thinned-out table of pairs; `every` pairs of a bag lie between two of its rows."""

    columns: list[str]
    rows: list[list[Number]]
    every: int


class Timing(TypedDict):
    """Rates and milliseconds; of the `series` at most `MOST_ROWS` rows."""

    wall_s: float
    pairs_per_s: Number
    engine_pairs_per_s: Number
    stages: dict[str, dict[str, Number]]
    series: Frames
    live: dict[str, Any] | None


class DriveReport(TypedDict):
    """Both files together, as `load` returns them."""

    schema: str
    version: int
    created: str
    partial: str | None
    verdict: Verdict
    sources: list[Source]
    model: Model
    versions: dict[str, str]
    machine: dict[str, Any]
    settings: dict[str, Any]
    pairs: dict[str, Any]
    sync: dict[str, Any]
    alignment: dict[str, Any] | None
    timing: Timing
    segmentation: dict[str, Any] | None
    boxes: dict[str, Any] | None
    fusion: dict[str, Any]
    flicker: dict[str, Number]
    classes_seen: dict[str, float]
    same_mask_alone: dict[str, float]
    frames: Frames
    fusion_frames: Frames
    pictures: list[Picture]
    bag: str | None
    notes: list[str]


_KEYS: Mapping[str, type | tuple[type, ...]] = {
    "schema": str,
    "version": int,
    "created": str,
    "partial": (str, type(None)),
    "verdict": dict,
    "sources": list,
    "model": dict,
    "versions": dict,
    "machine": dict,
    "settings": dict,
    "pairs": dict,
    "sync": dict,
    "alignment": (dict, type(None)),
    "timing": dict,
    "segmentation": (dict, type(None)),
    "boxes": (dict, type(None)),
    "fusion": dict,
    "flicker": dict,
    "classes_seen": dict,
    "frames": dict,
    "pictures": list,
    "bag": (str, type(None)),
    "notes": list,
}


def validate(report: Mapping[str, Any]) -> None:
    """Check the keys and the shapes that readers rely on.

    Raises:
        ReportError: with the first key that is missing, of another type, or out of its limits.
    """
    if report.get("schema") != SCHEMA or report.get("version") != VERSION:
        raise ReportError(
            f"schema {report.get('schema')!r} version {report.get('version')!r}, expected "
            f"{SCHEMA!r} version {VERSION}; run `segmif evaluate` again"
        )
    for key, kind in _KEYS.items():
        if key not in report:
            raise ReportError(f"no key {key!r} in the report; run `segmif evaluate` again")
        if not isinstance(report[key], kind):
            raise ReportError(f"{key!r} is a {type(report[key]).__name__}, which it never is")
    for name, frames in (("frames", report["frames"]), ("timing", report["timing"]["series"])):
        width = len(frames["columns"])
        if len(frames["rows"]) > MOST_ROWS or any(len(row) != width for row in frames["rows"]):
            raise ReportError(f"{name!r} has rows of another width, or more than {MOST_ROWS}")
    _require_finite(report, "")


def finite(value: Any) -> Any:
    """Return a copy for JSON: numbers of 9 significant digits, None for NaN and infinity."""
    if isinstance(value, bool) or value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return float(f"{value:.9g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(entry) for key, entry in value.items()}
    if isinstance(value, Sequence):
        return [finite(entry) for entry in value]
    if hasattr(value, "item"):  # a NumPy number
        return finite(value.item())
    raise ReportError(f"{type(value).__name__} {value!r} has no place in a report")


def save(folder: Path, report: Mapping[str, Any]) -> None:
    """Write both files, each whole or not at all.

    Args:
        folder: made if missing.
        report: a `DriveReport`.

    Raises:
        ReportError: not a report.
        OSError: it cannot be written.
    """
    report = finite(report)
    validate(report)
    run = {"schema": RUN_SCHEMA, "version": VERSION, **{key: report[key] for key in RUN_KEYS}}
    kept = {key: value for key, value in report.items() if key not in RUN_KEYS}
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / RUN_FILE, _text(run))
    write_whole(folder / REPORT_FILE, _text(kept))


def load(folder: Path) -> DriveReport:
    """Read both files of a report's folder (or of its report.json) and check them.

    Raises:
        ReportError: missing, no JSON, or another schema.
    """
    folder = folder.parent if folder.name == REPORT_FILE else folder
    run = _read(folder / RUN_FILE)
    report = {**_read(folder / REPORT_FILE), **{key: run.get(key) for key in RUN_KEYS}}
    try:
        validate(report)
    except ReportError as err:
        raise ReportError(f"{folder}: {err}") from err
    return report  # type: ignore[return-value]


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as err:
        raise ReportError(
            f"{path}: not readable ({err}); give the folder that `segmif evaluate --out` wrote"
        ) from err
    if not isinstance(raw, dict):
        raise ReportError(f"{path}: a {type(raw).__name__}, expected an object")
    return raw


def _require_finite(value: Any, where: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ReportError(f"{where.lstrip('.')} is {value}, expected a finite number or null")
    if isinstance(value, Mapping):
        for key, entry in value.items():
            _require_finite(entry, f"{where}.{key}")
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            _require_finite(entry, f"{where}.{index}")
