# SPDX-License-Identifier: Apache-2.0
"""The fields of an evaluation report and their validation, shared by JSON, page and text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from segmif_ros.bundle import LabelClass
from segmif_ros.documents import DocumentError, conform
from segmif_ros.evaluation.scores import MOST_ROWS
from segmif_ros.evaluation.state import Status

SCHEMA = "segmif.drive"
VERSION = 1
"""Version; increases when a key changes its meaning or is removed, not for new keys."""

_LARGEST = 1e15

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Stamp = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Real = Annotated[float, msgspec.Meta(ge=-_LARGEST, le=_LARGEST)]
Number: TypeAlias = Stamp | Real | None
Share: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)] | None


class ReportError(ValueError):
    """A report cannot be read or is not one; the message names the file and the key."""


@dataclass(frozen=True, slots=True)
class Check:
    """One threshold: `value` is None where the report has no such number."""

    name: str
    limit: str
    value: Number
    passed: bool


@dataclass(frozen=True, slots=True)
class VerdictFacts:
    """All thresholds together; `passed` is None when none was given."""

    passed: bool | None
    checks: list[Check]


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """One bag, or the data set."""

    path: str
    bytes: Count
    start_ns: Stamp
    duration_s: Real
    topics: dict[str, str]
    status: Status
    reason: str


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """The data set; None in the report of a drive. `columns` and `rows` list the pairs."""

    kind: str
    name: str
    split: str | None
    labels: str
    scored: Count
    of: Count
    unpaired: Count = 0
    notes: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    rows: list[list[str | Number]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Model:
    """The bundle and the engine."""

    name: str = "model"
    sha256: str = ""
    size: tuple[Count, Count] = (0, 0)
    precision: str = ""
    classes: list[LabelClass] = field(default_factory=list)
    engine: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """One pair that was kept; file names are relative to the report's folder."""

    kind: Literal["worst", "best", "sample"]
    stamp_ns: Stamp
    source: str
    score: Number
    why: str
    visible: str
    thermal: str
    fused: str
    mask: str
    confidence: str


@dataclass(frozen=True, slots=True)
class Table:
    """A thinned-out table of pairs; `every` pairs of a bag lie between two of its rows."""

    columns: list[str] = field(default_factory=list)
    rows: list[list[Number]] = field(default_factory=list)
    every: Annotated[int, msgspec.Meta(ge=1)] = 1

    def __post_init__(self) -> None:
        width = len(self.columns)
        if len(self.rows) > MOST_ROWS or any(len(row) != width for row in self.rows):
            raise ReportError(f"rows of another width, or more than {MOST_ROWS}")
        if width > 1 and self.columns[:2] == ["t_s", "source"]:
            wrong = [row[1] for row in self.rows if not isinstance(row[1], int) or row[1] < 0]
            if wrong:
                raise ReportError(f"column 'source' holds {wrong[0]}, expected numbers of bags")


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Of milliseconds or the like; None where nothing was counted."""

    p50: Number = None
    p95: Number = None
    p99: Number = None
    max: Number = None
    count: Count = 0


@dataclass(frozen=True, slots=True)
class Live:
    """What a run through the node over DDS adds."""

    sent: Count = 0
    lost: Stamp = 0
    dropped: dict[str, Count] = field(default_factory=dict)
    rate_in_hz: Number = None
    rate_out_hz: Number = None
    latency_ms: dict[str, Quantiles] = field(default_factory=dict)
    age_ms: dict[str, Quantiles] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Timing:
    """Rates and milliseconds."""

    wall_s: Number = None
    pairs_per_s: Number = None
    engine_pairs_per_s: Number = None
    stages: dict[str, Quantiles] = field(default_factory=dict)
    series: Table = field(default_factory=Table)
    live: Live | None = None


@dataclass(frozen=True, slots=True)
class Pairs:
    """Counts of images and pairs."""

    received: dict[str, Count] = field(default_factory=dict)
    paired: Count = 0
    evaluated: Count = 0
    dropped: dict[str, Count] = field(default_factory=dict)
    lost_share: Number = None


@dataclass(frozen=True, slots=True)
class Stamps:
    """Timing of the stamps of one bag, by camera."""

    intervals: dict[str, dict[str, Number]] = field(default_factory=dict)
    clock_jumps: Count = 0


@dataclass(frozen=True, slots=True)
class Sync:
    """Size of the time differences of pairs, and stamps by bag."""

    difference_ms: Quantiles = field(default_factory=Quantiles)
    intervals: list[Stamps] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class AlignmentFacts:
    """Shift of thermal on RGB: rows of seconds, right, down (pixels), and whether conclusive."""

    series: list[tuple[Number, Number, Number, bool]]
    median_px: Number = None
    columns: list[str] = field(default_factory=lambda: ["t_s", "dx_px", "dy_px", "certain"])


@dataclass(frozen=True, slots=True)
class MaskScores:
    """Scores of masks against labels, of one row in one split; see docs/metrics.md."""

    frames: Count = 0
    pixels: Count = 0
    protocols: dict[str, Number] = field(default_factory=dict)
    protocol_classes: dict[str, Count] = field(default_factory=dict)
    pixel_accuracy: Number = None
    mean_accuracy: Number = None
    boundary_iou: Number = None
    per_class: dict[str, Number] = field(default_factory=dict)
    class_accuracy: dict[str, Number] = field(default_factory=dict)
    class_boundary_iou: dict[str, Number] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProtocolFacts:
    """A scoring protocol."""

    counted: list[Count] = field(default_factory=list)
    ignored: list[Count] = field(default_factory=list)
    about: str = ""


@dataclass(frozen=True, slots=True)
class ConfusionFacts:
    """Pixels by true class (rows) and predicted class (columns), in the order of `ids`."""

    ids: list[Count]
    matrix: list[list[Count]]

    def __post_init__(self) -> None:
        size = len(self.ids)
        if len(self.matrix) != size or any(len(row) != size for row in self.matrix):
            raise ReportError(f"the matrix is not {size} by {size}")


@dataclass(frozen=True, slots=True)
class Segmentation:
    """Scores against labels; row -> split -> scores."""

    rows: dict[str, dict[str, MaskScores]]
    labels: str = "unknown"
    classes: list[str] = field(default_factory=list)
    protocols: dict[str, ProtocolFacts] = field(default_factory=dict)
    confusion: ConfusionFacts | None = None
    problems: dict[str, Count] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.confusion and len(self.classes) not in (0, len(self.confusion.ids)):
            raise ReportError("the confusion matrix has another number of classes")


@dataclass(frozen=True, slots=True)
class BoxFigures:
    """Of one class: boxes, share of them found, share of the class's pixels inside its boxes.

    The last three are of its objects at an IoU of 0.5 (`metrics.objects`).
    """

    boxes: Count
    box_recall: Share = None
    box_precision: Share = None
    average_precision: Share = None
    object_precision: Share = None
    object_recall: Share = None


@dataclass(frozen=True, slots=True)
class ConfidenceFigures:
    """Of one class; `bins` are confidence, accuracy and share of the pixels."""

    pixels: Count
    accuracy: Share
    confidence: Share
    error: Share
    bins: list[tuple[Real, Real, Real]] = field(default_factory=list)


Metrics: TypeAlias = dict[str, dict[str, Number]]
"""Row -> fusion metric -> value, with the number of `frames`."""


@dataclass(frozen=True, slots=True)
class Fusion:
    """Fusion metrics by split, and the interval of measurements."""

    all: Metrics = field(default_factory=dict)
    day: Metrics = field(default_factory=dict)
    night: Metrics = field(default_factory=dict)
    every: Annotated[int, msgspec.Meta(ge=1)] = 1


@dataclass(frozen=True, slots=True)
class Steadiness:
    """Flicker in grey levels by image, ratio to the worse input, and class flicker."""

    visible: Number = None
    thermal: Number = None
    fused: Number = None
    ratio: Number = None
    mask_share: Number = None
    mask_worst_share: Number = None


@dataclass(frozen=True, slots=True)
class Report:
    """Both files together."""

    schema: str
    version: int
    created: str
    partial: str | None
    verdict: VerdictFacts
    sources: list[SourceFacts]
    model: Model
    versions: dict[str, str]
    machine: dict[str, Any]
    settings: dict[str, Any]
    pairs: Pairs
    sync: Sync
    alignment: AlignmentFacts | None
    timing: Timing
    segmentation: Segmentation | None
    boxes: dict[str, dict[str, dict[str, BoxFigures]]] | None
    fusion: Fusion
    flicker: Steadiness
    classes_seen: dict[str, Real]
    frames: Table
    pictures: list[PictureFacts]
    bag: str | None
    notes: list[str]
    calibration: dict[str, dict[str, ConfidenceFigures]] = field(default_factory=dict)
    same_mask_alone: dict[str, Real] = field(default_factory=dict)
    fusion_frames: Table = field(default_factory=Table)
    dataset: DatasetFacts | None = None
    other_methods: list[str] = field(default_factory=list)


def validate(report: Mapping[str, Any]) -> dict[str, Any]:
    """Check a report and return it with every field of `Report`; others are left out.

    Raises:
        ReportError: with the first key that is missing, of another type, or out of its limits.
    """
    if report.get("schema") != SCHEMA or report.get("version") != VERSION:
        raise ReportError(
            f"schema {report.get('schema')!r} version {report.get('version')!r}, expected "
            f"{SCHEMA!r} version {VERSION}; run `segmif evaluate` again"
        )
    try:
        made = conform(_with_names_of_today(report), Report, extra=True)
    except DocumentError as err:
        raise ReportError(f"{err}; run `segmif evaluate` again") from err
    checked: dict[str, Any] = msgspec.to_builtins(made, str_keys=True)
    return checked


def _with_names_of_today(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return a report with the names that earlier versions had for the same figures replaced."""

    def renamed(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {EARLIER.get(key, key): renamed(entry) for key, entry in value.items()}

    return {**report, "boxes": renamed(report.get("boxes"))} if "boxes" in report else {**report}


EARLIER = {"hit": "box_recall", "inside": "box_precision"}
"""Former names of figures, which thresholds may still use."""
