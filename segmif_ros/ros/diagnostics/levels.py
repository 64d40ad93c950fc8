# SPDX-License-Identifier: Apache-2.0
"""The limits of all warnings and errors on /diagnostics, in one table.

docs/diagnostics.md shows the same table; a test compares the two and crosses every limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum

from segmif_ros.pairing import MILLISECOND, Stream
from segmif_ros.ros.node.statistics import Percentiles, Samples
from segmif_ros.thermal.freeze import FROZEN_AFTER_NS


class Level(IntEnum):
    """As in diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True, slots=True)
class Threshold:
    """One limit.

    Attributes:
        state: value of the key `state` when it is crossed.
        concern: the status.
        level: severity.
        limit: largest good value (smallest, if `below`); NaN when a parameter holds it.
        unit: unit of the limit.
        what: the quantity that is compared with it.
        below: whether the limit is a minimum.
        parameter: name of the parameter that holds the limit; 0 switches it off.
    """

    state: str
    concern: str
    level: Level
    limit: float
    unit: str
    what: str
    below: bool = False
    parameter: str = ""

    def crossed(self, value: float, limit: float | None = None) -> bool:
        """Return whether a value is beyond the limit; `limit` comes from the parameter."""
        bound = self.limit if limit is None else limit
        if math.isnan(bound):
            raise ValueError(f"threshold {self.state!r} needs the value of {self.parameter!r}")
        if self.parameter and bound == 0:
            return False
        return value < bound if self.below else value > bound


_CAMERA = "rgb, thermal"
_ERROR, _WARN = Level.ERROR, Level.WARN
_STAMP_TO_PUBLISHED = "95th percentile from stamp to publishing, 5 s"

SILENT = Threshold(
    "stale", _CAMERA, _ERROR, 2.0, "s", "time without an image, if over 3 usual periods"
)
REFUSED_ALL = Threshold(
    "refused", _CAMERA, _ERROR, 0.99, "share", "images refused in the last second"
)
FROZEN = {
    stream: Threshold(
        "frozen", stream.value, _ERROR, FROZEN_AFTER_NS[stream] / MILLISECOND, "ms",
        "time with an unchanged picture, telemetry and clock rows excluded",
    )
    for stream in Stream
}  # fmt: skip
ZERO_STAMPS_ALL = Threshold(
    "zero_stamps", _CAMERA, _ERROR, 0.99, "share", "images with a zero stamp in the last second"
)
REFUSED = Threshold("refused", _CAMERA, _WARN, 0.0, "images", "images refused in the last second")
ZERO_STAMPS = Threshold(
    "zero_stamps", _CAMERA, _WARN, 0.0, "images", "images with a zero stamp in the last second"
)
FUTURE_STAMPS = Threshold(
    "future_stamps", _CAMERA, _WARN, 0.0, "images",
    "images stamped 100 ms or more after the node's clock, in the last second",
)  # fmt: skip
STAMP_JUMPS = Threshold(
    "clock_jumped", _CAMERA, _WARN, 0.0, "jumps", "stamps that jumped by 1 s, in the last second"
)
LATE = Threshold("late", _CAMERA, _WARN, 500.0, "ms", "median time from stamp to receipt, 5 s")
RATE_LOW = Threshold(
    "low_rate", _CAMERA, _WARN, 0.8, "share", "rate divided by the expected one, 5 s", below=True
)
RATE_HIGH = Threshold(
    "high_rate", _CAMERA, _WARN, 1.5, "share", "rate divided by the expected one, 5 s"
)
SEVERAL = Threshold(
    "several_publishers", _CAMERA, _WARN, 1.0, "publishers",
    "publishers of one image topic, by node name or alternating frame_id",
)  # fmt: skip
CLOCK_DIFFERS = Threshold(
    "clock_differs", _CAMERA, _WARN, 1.0, "s",
    "clock difference of the cameras that prevents all pairs, for the camera that is further off",
)  # fmt: skip
CAMERA_INFO = Threshold(
    "camera_info", _CAMERA, _WARN, 0.0, "problems", "contradictions in camera_info"
)
NO_PAIRS = Threshold(
    "no_pairs", "pairing", _ERROR, 1.0, "frames", "frames of the slower camera and no pair"
)
CLOCKS_DIFFER = Threshold(
    "clocks_differ", "pairing", _ERROR, 1.0, "s",
    "difference of the cameras' clocks, offsets included, with no pair in the last second",
)  # fmt: skip
FEW_PAIRS = Threshold(
    "few_pairs", "pairing", _WARN, 0.5, "share", "pairs divided by frames of the slower camera",
    below=True,
)  # fmt: skip
PAIRING_JUMPS = Threshold(
    "clock_jumped", "pairing", _WARN, 0.0, "jumps", "times that stamps went back by 1 s"
)
STUCK = Threshold(
    "stuck", "engine", _ERROR, 0.9, "s", "time of the current pair, if over 4 times the usual one"
)
FAILED = Threshold("failed", "engine", _ERROR, 0.99, "share", "pairs that failed")
FAILING = Threshold("failing", "engine", _WARN, 0.0, "pairs", "pairs that failed")
SLOW = Threshold("slow", "engine", _WARN, 0.1, "share", "pairs replaced by newer ones, 5 s")
BUDGET_ERROR = Threshold(
    "over_budget", "latency", _ERROR, math.nan, "ms", _STAMP_TO_PUBLISHED,
    parameter="latency_budget_error_ms",
)  # fmt: skip
BUDGET_WARN = Threshold(
    "over_budget", "latency", _WARN, math.nan, "ms", _STAMP_TO_PUBLISHED,
    parameter="latency_budget_warn_ms",
)  # fmt: skip
UNCALIBRATED = Threshold(
    "uncalibrated", "registration", _WARN, 0.0, "differences",
    "sizes or camera_infos that differ between the cameras, without a calibration_file",
)  # fmt: skip
UNREGISTERED = Threshold(
    "unregistered", "registration", _WARN, 60.0, "s",
    "time without a confirmed alignment of thermal on RGB, without a calibration_file",
)  # fmt: skip
MOVED = Threshold(
    "moved", "alignment", _WARN, math.nan, "px",
    "shift of thermal against RGB that several measurements agree on, at 640 px of width",
    parameter="alignment_warn_px",
)  # fmt: skip
INTAKE_BLOCKED = Threshold(
    "blocked", "node", _ERROR, 0.9, "s", "time that the intake thread was blocked"
)
NO_CLOCK = Threshold(
    "no_clock", "node", _ERROR, 2.0, "s", "time with use_sim_time and nothing on /clock"
)
CLOCK_STOPPED = Threshold("clock_stopped", "node", _WARN, 2.0, "s", "time without a new /clock")
CLOCK_JUMPED = Threshold(
    "clock_jumped", "node", _WARN, 1.0, "s", "jump of the node's clock since the report before"
)
GROWTH = Threshold(
    "memory_growth", "node", _WARN, 512.0, "MiB", "memory gained since 10 s after activation"
)

THRESHOLDS: tuple[Threshold, ...] = (
    SILENT, REFUSED_ALL, FROZEN[Stream.RGB], FROZEN[Stream.THERMAL], ZERO_STAMPS_ALL,
    REFUSED, ZERO_STAMPS, FUTURE_STAMPS, STAMP_JUMPS, LATE, RATE_LOW, RATE_HIGH,
    SEVERAL, CLOCK_DIFFERS, CAMERA_INFO,
    CLOCKS_DIFFER, NO_PAIRS, FEW_PAIRS, PAIRING_JUMPS,
    STUCK, FAILED, FAILING, SLOW,
    BUDGET_ERROR, BUDGET_WARN,
    UNCALIBRATED, UNREGISTERED, MOVED,
    INTAKE_BLOCKED, NO_CLOCK, CLOCK_STOPPED, CLOCK_JUMPED, GROWTH,
)  # fmt: skip


@dataclass(slots=True)
class DiagnosticEntry:
    """One status before it becomes a message.

    Attributes:
        concern: what it is about; the end of the status name.
        state: one word for programs.
        text: one sentence for people.
        also: further states that were found, all not worse.
        values: figures.
    """

    concern: str
    level: Level = Level.OK
    state: str = "ok"
    text: str = "ok"
    also: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)

    def raise_to(self, level: Level, state: str, text: str) -> None:
        """Raise the level, never lower it; of equal levels the first state is the main one."""
        if level <= self.level:
            self.also += [state] if state not in (self.state, *self.also) else []
            return
        if self.level > Level.OK and self.state != state:
            self.also.append(self.state)
        self.level, self.state, self.text = level, state, text

    def percentiles(self, key: str, samples: Samples) -> Percentiles | None:
        """Add `<key>.p50_ms`, `.p95_ms`, `.p99_ms` and `.count`."""
        summary = samples.percentiles()
        if summary is not None:
            for name, value in summary._asdict().items():
                self.values[f"{key}.{name}_ms"] = f"{value:.3f}"
        self.values[f"{key}.count"] = str(samples.count)
        return summary

    def check(
        self, threshold: Threshold, value: float, text: str, *, limit: float | None = None
    ) -> bool:
        """Compare with a threshold, take its level and state if it is crossed; return whether."""
        crossed = threshold.crossed(value, limit)
        if crossed:
            self.raise_to(threshold.level, threshold.state, text)
        return crossed
