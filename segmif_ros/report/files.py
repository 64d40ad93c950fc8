# SPDX-License-Identifier: Apache-2.0
"""Reads and writes the files of a report.

report.json depends only on the input, the model and the settings: the same input gives the same
bytes on the same kind of machine. Date, machine and timing, which differ between runs, are in
run.json. `load` gives both as one mapping that has every field of `schema.Report`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segmif_ros.documents import DocumentError, read_json
from segmif_ros.outputs import write_whole
from segmif_ros.report.schema import VERSION, ReportError, validate

REPORT_FILE = "report.json"
RUN_FILE = "run.json"
PICTURES = "pictures"

_RUN_SCHEMA = "segmif.drive.run"
_RUN_KEYS = ("created", "machine", "timing")
_MOST_BYTES = 64 << 20


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


def save(folder: Path, report: Mapping[str, Any]) -> dict[str, Any]:
    """Write both files, each atomically.

    Args:
        folder: made if missing.
        report: the fields of `Report`.

    Returns:
        The written report.

    Raises:
        ReportError: not a report.
        OSError: it cannot be written.
    """
    checked = validate(finite(report))
    run = {"schema": _RUN_SCHEMA, "version": VERSION, **{key: checked[key] for key in _RUN_KEYS}}
    kept = {key: value for key, value in checked.items() if key not in _RUN_KEYS}
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / RUN_FILE, _text(run))
    write_whole(folder / REPORT_FILE, _text(kept))
    return checked


def load(folder: Path) -> dict[str, Any]:
    """Read both files of a report's folder (or of its report.json) and check them.

    Returns:
        The fields of `Report`.

    Raises:
        ReportError: missing, no JSON, or another schema.
    """
    folder = folder.parent if folder.name == REPORT_FILE else folder
    run = _read(folder / RUN_FILE)
    report = {**_read(folder / REPORT_FILE), **{key: run.get(key) for key in _RUN_KEYS}}
    try:
        return validate(report)
    except ReportError as err:
        raise ReportError(f"{folder}: {err}") from err


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = read_json(path, _MOST_BYTES)
    except DocumentError as err:
        raise ReportError(
            f"{path}: not readable ({err}); give the folder that `segmif evaluate --out` wrote"
        ) from err
    if not isinstance(raw, dict):
        raise ReportError(f"{path}: a {type(raw).__name__}, expected an object")
    return raw
