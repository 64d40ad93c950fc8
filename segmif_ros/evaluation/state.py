# SPDX-License-Identifier: Apache-2.0
"""Results of one bag on disk, so that an interrupted evaluation continues where it was.

Each result has a folder, which is renamed when complete.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from segmif_ros.documents import read_json
from segmif_ros.evaluation.kept_pictures import Gallery, Kind, encoded
from segmif_ros.evaluation.settings import DriveSettings
from segmif_ros.files import read_file
from segmif_ros.outputs import written_aside
from segmif_ros.recordings.bags import BagSummary
from segmif_ros.sync.timing import StreamTiming

Status = Literal["ok", "partial", "skipped"]

INTERRUPTED = "interrupted"
"""Reason of bags that Ctrl-C ended or skipped."""


class StoredPicture(NamedTuple):
    """One kept pair, encoded.

    Attributes:
        kind: why it was kept.
        stamp_ns: of the RGB image.
        score: of the selection.
        why: the score as text.
        files: name of the image -> file suffix and content.
    """

    kind: Kind
    stamp_ns: int
    score: float
    why: str
    files: dict[str, tuple[str, bytes]]


@dataclass(frozen=True, slots=True, eq=False)
class BagResult:
    """Result of one bag as plain values, which can be sent between processes and machines.

    Attributes:
        path: of the bag, as given.
        status: "ok", "partial" (damaged on the way, or interrupted) or "skipped".
        reason: why not "ok".
        source: size, times and topics of the bag.
        pairs: counts of images and pairs.
        sync: timing of both cameras.
        scores: state of `DriveScores`.
        stages: state of a `Histogram` a stage.
        series: state of the table of milliseconds.
        timing: seconds and rates.
        engine: facts about the engine.
        pictures: kept pairs.
        bag: path of the written bag, None without.
        notes: remarks for the user.
        interrupted: ended by Ctrl-C.
    """

    path: str
    status: Status
    reason: str = ""
    source: dict[str, Any] = field(default_factory=dict)
    pairs: dict[str, Any] = field(default_factory=dict)
    sync: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] | None = None
    stages: dict[str, Any] = field(default_factory=dict)
    series: dict[str, Any] = field(default_factory=dict)
    timing: dict[str, float] = field(default_factory=dict)
    engine: dict[str, str] = field(default_factory=dict)
    pictures: tuple[StoredPicture, ...] = ()
    bag: str | None = None
    notes: tuple[str, ...] = ()
    interrupted: bool = False


def stored_pictures(gallery: Gallery) -> tuple[StoredPicture, ...]:
    """Encode the pairs that were kept of a bag."""
    return tuple(
        StoredPicture(kind, kept.stamp_ns, kept.score, kept.why, encoded(kept.images))
        for kind, kept in gallery.pictures()
    )


def source_facts(summary: BagSummary, topics: Mapping[str, str]) -> dict[str, Any]:
    """Return the section of a report about a bag."""
    return {
        "bytes": summary.size_bytes,
        "start_ns": summary.start_ns,
        "duration_s": summary.duration_ns / 1e9,
        "topics": dict(topics),
    }


def stamp_figures(timings: Mapping[str, StreamTiming]) -> dict[str, Any]:
    """Return the section of a report about the stamps of each camera."""
    names = (
        *("rate_hz", "jitter_ms", "longest_gap_ms", "dropped"),
        *("out_of_order", "repeated_stamps", "zero_stamps"),
    )
    return {
        camera: {name.replace("dropped", "missing"): getattr(timing, name) for name in names}
        for camera, timing in timings.items()
    }


FOLDER = "state"
_RESULT = "result.json"
_MOST_BYTES = 256 << 20
_FORM = "3"
"""Version of the counts of a bag; results of other versions are not reused."""
_KEY = re.compile("[0-9a-f]{16}")


class StateFolder:
    """The stored results of one evaluation, found again only with the same settings."""

    def __init__(self, out: Path, digest: str) -> None:
        """Set the folder; it is created with the first result.

        Args:
            out: folder of the report.
            digest: of all inputs besides the bag, see `evaluation_key`.
        """
        self._root = out / FOLDER
        self._folder = self._root / digest

    def known(self, bag: Path) -> BagResult | None:
        """Return the result of a bag that has not changed since; None if there is none."""
        folder = self._folder / bag_key(bag)
        try:
            raw = read_json(folder / _RESULT, _MOST_BYTES)
            stored = raw.pop("pictures")
            pictures = tuple(
                StoredPicture(
                    **{
                        **entry,
                        "files": {
                            name: (Path(file).suffix, read_file(folder / file))
                            for name, file in entry["files"].items()
                        },
                    }
                )
                for entry in stored
            )
            result = BagResult(**{**raw, "notes": tuple(raw["notes"]), "pictures": pictures})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None  # missing or of another version: the bag is evaluated again
        whole = result.bag is None or Path(result.bag).exists()
        return replace(result, path=str(bag)) if whole else None

    def keep(self, bag: Path, result: BagResult) -> None:
        """Write the result of a bag atomically.

        Raises:
            OSError: it cannot be written.
        """
        target = self._folder / bag_key(bag)
        self._folder.mkdir(parents=True, exist_ok=True)
        with written_aside(target) as part:
            part.mkdir()
            pictures = []
            for number, picture in enumerate(result.pictures):
                files = {}
                for name, (suffix, content) in picture.files.items():
                    files[name] = f"{number}_{name}{suffix}"
                    (part / files[name]).write_bytes(content)
                pictures.append({**picture._asdict(), "files": files})
            plain = asdict(replace(result, pictures=()))
            text = json.dumps({**plain, "pictures": pictures}, allow_nan=False)
            (part / _RESULT).write_text(text, encoding="utf-8")

    def clear(self) -> None:
        """Remove all results once the report is complete. Other files are kept."""
        if self._root.is_symlink() or not self._root.is_dir():
            return
        for folder in self._root.iterdir():
            if _KEY.fullmatch(folder.name):
                shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # other files are in it
            self._root.rmdir()


def evaluation_key(settings: DriveSettings, model_sha256: str) -> str:
    """Return a key of an evaluation: settings, model, and the present labels and calibration.

    Args:
        settings: of the evaluation.
        model_sha256: digest of the bundle's ONNX file.
    """
    files = (settings.labels, settings.boxes, settings.calibration)
    told = [bag_key(Path(place)) for place in files if place]
    return _name([_FORM, settings.digest(model_sha256), *told])


def bag_key(bag: Path) -> str:
    """Return a key of a bag from its path, sizes and modification times."""
    told = [str(bag.resolve())]
    files = sorted(bag.rglob("*")) if bag.is_dir() else [bag]
    for file in files:
        if file.is_file():
            facts = file.stat()
            told.append(f"{file.name} {facts.st_size} {facts.st_mtime_ns}")
    return _name(told)


def _name(told: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]
