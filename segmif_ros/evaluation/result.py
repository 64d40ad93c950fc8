# SPDX-License-Identifier: Apache-2.0
"""What one bag came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from segmif_ros.evaluation.kept_pictures import Kind
from segmif_ros.sync.timing import StreamTiming

Status = Literal["ok", "partial", "skipped"]

INTERRUPTED = "interrupted"
"""Reason of what Ctrl-C ended or kept from beginning."""


class StoredPicture(NamedTuple):
    """One kept pair, encoded.

    Attributes:
        kind: why it was kept.
        stamp_ns: of the RGB image.
        score: what it was chosen by.
        why: the score in words.
        files: name of the image -> file suffix and content.
    """

    kind: Kind
    stamp_ns: int
    score: float
    why: str
    files: dict[str, tuple[str, bytes]]


@dataclass(frozen=True, slots=True, eq=False)
class BagResult:
    """What one bag came to; plain values, so that it travels between processes and machines.

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
        engine: what executed the model.
        pictures: kept pairs.
        bag: path of the written bag, None without.
        notes: what a person should know.
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


def stamp_figures(timings: Mapping[str, StreamTiming]) -> dict[str, Any]:
    """Return what a report tells about the stamps of each camera."""
    return {
        name: {
            "rate_hz": timing.rate_hz,
            "jitter_ms": timing.jitter_ms,
            "longest_gap_ms": timing.longest_gap_ms,
            "missing": timing.dropped,
            "out_of_order": timing.out_of_order,
            "repeated_stamps": timing.repeated_stamps,
            "zero_stamps": timing.zero_stamps,
        }
        for name, timing in timings.items()
    }
