# SPDX-License-Identifier: Apache-2.0
"""The stored pictures of an evaluation, for the viewer and for report.html."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from segmif_ros.bundle import LabelClass
from segmif_ros.files import read_file
from segmif_ros.report.files import load
from segmif_ros.report.schema import ReportError
from segmif_ros.view.frames import MEDIA_TYPES, Picture, ViewError, ViewFrame

NAMES = ("visible", "thermal", "fused", "mask", "confidence")
_LARGEST_BYTES = 8 * 2**20


class ReportPictures:
    """A `RecordedSource` over the pictures of a report's folder."""

    def __init__(self, folder: Path) -> None:
        """Read report.json.

        Raises:
            ViewError: no report, or one without pictures.
        """
        try:
            report = load(folder)
        except ReportError as err:
            raise ViewError(f"no report of `segmif evaluate`: {err}") from err
        self.classes: Sequence[LabelClass] = classes_of(report)
        self._folder = folder
        self.title = f"report {folder.resolve().name}"
        self._entries = [e for e in report["pictures"] if _is_file(folder / e["mask"])]
        if not self._entries:
            raise ViewError(
                f"{folder} holds no pictures (any more); open {folder / 'report.html'} in a browser"
            )

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self._entries)

    def frame(self, index: int) -> ViewFrame:
        """Return one entry.

        Raises:
            ViewError: a file is missing or lies outside the report.
        """
        return picture_frame(self._folder, index, self._entries[index])

    def close(self) -> None:
        """Do nothing; no file is open."""


def classes_of(report: Mapping[str, Any]) -> tuple[LabelClass, ...]:
    """Return the model's classes from a report."""
    return tuple(
        LabelClass(c["id"], c["name"], tuple(c["color"])) for c in report["model"]["classes"]
    )


def picture_frames(folder: Path, report: Mapping[str, Any]) -> Iterator[ViewFrame]:
    """Yield all pictures of a report.

    Raises:
        ViewError: a file is missing or lies outside the report.
    """
    for index, entry in enumerate(report["pictures"]):
        yield picture_frame(folder, index, entry)


def picture_frame(folder: Path, index: int, entry: Mapping[str, Any]) -> ViewFrame:
    """Read the files of one entry of `pictures`.

    Raises:
        ViewError: a file is missing, too large, or outside the report.
    """
    found = {name: _picture(folder, entry[name]) for name in NAMES}
    score = entry["score"]
    told = "" if score is None else f"score {score:.3g}"
    stamp = f"stamp {entry['stamp_ns'] / 1e9:.3f}"
    parts = [entry["kind"], entry["why"] or told, entry["source"], stamp]
    return ViewFrame(float(index), ", ".join(part for part in parts if part), found)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or with a NUL in it
        return False


def _picture(folder: Path, name: str) -> Picture:
    try:
        path = (folder / name).resolve()
    except (OSError, ValueError, RuntimeError) as err:  # a NUL in the name, links in a circle
        raise ViewError(f"picture {name!r} cannot be read: {err}") from err
    kind = path.suffix.lstrip(".").replace("jpeg", "jpg")
    if not path.is_relative_to(folder.resolve()) or kind not in MEDIA_TYPES:
        raise ViewError(f"picture {name!r} does not lie in the report, or is no jpg or png")
    try:
        content = read_file(path, _LARGEST_BYTES)
    except OSError as err:
        raise ViewError(f"picture {name!r} cannot be read: {err.strerror}") from err
    if len(content) > _LARGEST_BYTES:
        raise ViewError(f"picture {name!r} is larger than {_LARGEST_BYTES >> 20} MB")
    return Picture(kind, content)
