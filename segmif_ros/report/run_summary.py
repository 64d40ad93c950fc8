# SPDX-License-Identifier: Apache-2.0
"""Summary of a run through the node as JSON and text: counts, drops by reason, latency."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from segmif_ros.report.schema import SCHEMA, VERSION

FORMAT = 1
"""Version of the layout of report.json; counts up when a key changes its meaning."""

REQUIRED_SHARE = 0.95

NO_PARTNER = "without a partner in the other stream"
OVERTAKEN = "overtaken by a newer pair (machine too slow)"

PACKAGES = (
    "segmif_ros",
    "numpy",
    "opencv-python-headless",
    "onnxruntime",
    "openvino",
    "tensorrt",
    "rosbags",
    "ros-jazzy-rclpy",
    "ros-rmw-fastrtps-cpp",
)

STAGES = {
    "transport": "camera stamp to node",
    "wait": "waiting for the partner",
    "queue": "waiting for the engine",
    "conversion": "message to array",
    "thermal": "thermal rendering",
    "registration": "registration",
    "inference": "network",
    "publish": "publishing",
    "node": "node, receipt to published",
    "total": "camera stamp to published",
}

Diagnostics = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles of one stage, milliseconds."""

    p50: float
    p95: float
    p99: float
    count: int


@dataclass(frozen=True, slots=True)
class RunReport:
    """The figures of one run.

    Attributes:
        source: the played source, with its settings.
        model: model and engine, as the node reports them.
        pairs_in: pairs of camera frames that the source sent.
        pairs_out: fused images that arrived at a subscriber in another process.
        received: frames that reached the node, by camera.
        paired: pairs that the node formed.
        published: pairs that the node published.
        dropped: pairs lost on the way, by reason; only reasons that occurred.
        details: the node's own counters behind them (frames, not pairs); only those above 0.
        rate_in_hz: pairs a second that the source had to send.
        rate_out_hz: pairs a second that were published.
        latency_ms: percentiles by stage.
        age_ms: arrival minus stamp at the recording process, by output.
        notes: remarks about this run.
    """

    source: Mapping[str, Any]
    model: Mapping[str, str]
    pairs_in: int
    pairs_out: int
    received: Mapping[str, int]
    paired: int
    published: int
    dropped: Mapping[str, int]
    details: Mapping[str, int]
    rate_in_hz: float
    rate_out_hz: float
    latency_ms: Mapping[str, Latency]
    age_ms: Mapping[str, Latency]
    notes: Sequence[str] = field(default=())

    @property
    def share(self) -> float:
        """Share of the pairs that were published."""
        return self.pairs_out / self.pairs_in if self.pairs_in else 0.0

    @property
    def passed(self) -> bool:
        """Return whether enough pairs were published."""
        return self.share >= REQUIRED_SHARE

    @property
    def too_fast(self) -> bool:
        """Return whether pairs were lost for lack of processing time."""
        return self.dropped.get(OVERTAKEN, 0) > (1 - REQUIRED_SHARE) * self.pairs_in

    def to_json(self, *, created: str) -> dict[str, Any]:
        """Return the content of report.json."""
        return {
            "format": FORMAT,
            "created": created,
            "passed": self.passed,
            "share": round(self.share, 4),
            "required_share": REQUIRED_SHARE,
            **_rounded(asdict(self)),
            "machine": machine(),
            "versions": versions(),
        }

    def table(self) -> str:
        """Return the figures as text for a terminal."""
        lines = [
            f"pairs in    {self.pairs_in:6d}   at {self.rate_in_hz:.1f} per second",
            f"pairs out   {self.pairs_out:6d}   at {self.rate_out_hz:.1f} per second, "
            f"{100 * self.share:.1f} %",
            f"dropped     {sum(self.dropped.values()):6d}" + ("" if self.dropped else "   none"),
        ]
        lines += [f"  {count:16d}   {reason}" for reason, count in self.dropped.items()]
        stages = [
            (f"  {STAGES[name]}", self.latency_ms[name])
            for name in STAGES
            if name in self.latency_ms
        ]
        if "fused" in self.age_ms:
            stages.append(("  camera stamp to subscriber", self.age_ms["fused"]))
        rows = [("latency, ms", "p50", "p95", "p99", "count")]
        rows += [
            (label, f"{row.p50:.1f}", f"{row.p95:.1f}", f"{row.p99:.1f}", str(row.count))
            for label, row in stages
        ]
        # Stamps of another clock cause latencies with many digits.
        widths = [max(7, *(len(row[column]) for row in rows)) for column in range(1, 5)]
        lines.append("")
        lines += [
            f"{label:<29}" + "".join(f" {cell:>{w}}" for cell, w in zip(cells, widths, strict=True))
            for label, *cells in rows
        ]
        return "\n".join(lines)


def _details(diagnostics: Diagnostics) -> dict[str, int]:
    return {
        f"{concern}.{key}": int(value)
        for concern, values in diagnostics.items()
        for key, value in values.items()
        if key.startswith(("dropped.", "refused.")) and value.isdigit() and int(value)
    }


def summarize_run(
    diagnostics: Diagnostics,
    *,
    source: Mapping[str, Any],
    pairs_in: int,
    counts: Mapping[str, int],
    ages_ms: Mapping[str, Sequence[float]],
    rate_in_hz: float,
    outputs_span_s: float,
    model: str = "",
    notes: Sequence[str] = (),
) -> RunReport:
    """Combine the node's counters and the recorder's.

    Args:
        diagnostics: newest values of each concern of the node.
        source: the played source.
        pairs_in: pairs that the source sent.
        counts: images that the recorder received, by name.
        ages_ms: arrival minus stamp, by output.
        rate_in_hz: pairs a second sent.
        outputs_span_s: seconds between first and last output.
        model: name of the model.
        notes: passed on.
    """
    pairing, engine = diagnostics.get("pairing", {}), diagnostics.get("engine", {})
    received = {name: _whole(diagnostics, name, "received") for name in ("rgb", "thermal")}
    refused = {name: _whole(diagnostics, name, "refused") for name in received}
    # Compressed, and replaced by a newer one before it was decoded: not an error.
    busy = {name: _whole(diagnostics, name, "refused.busy") for name in received}
    paired, published = _count(pairing, "pairs"), _count(engine, "published")
    out = counts.get("fused", 0)
    arrived = min(received.values())
    sound = min(received[name] - refused[name] + busy[name] for name in received)
    usable = min(received[name] - refused[name] for name in received)
    reasons = {
        "lost between camera and node": pairs_in - arrived,
        "refused by the node (malformed image)": arrived - sound,
        NO_PARTNER: usable - paired,
        OVERTAKEN: _count(pairing, "replaced") + sound - usable,
        "no subscriber": _count(pairing, "skipped"),
        "left when the node stopped": _count(pairing, "withdrawn"),
        "one camera went on alone": _count(diagnostics.get("mode", {}), "withheld"),
        "failed in the node": _count(engine, "failures"),
        "lost between node and subscriber": published - out,
    }
    return RunReport(
        source=dict(source),
        model={"model": model, **_facts(engine)},
        pairs_in=pairs_in,
        pairs_out=out,
        received=received,
        paired=paired,
        published=published,
        dropped={reason: count for reason, count in reasons.items() if count > 0},
        details=_details(diagnostics),
        rate_in_hz=rate_in_hz,
        rate_out_hz=(out - 1) / outputs_span_s if out > 1 and outputs_span_s > 0 else 0.0,
        latency_ms=_latencies(diagnostics.get("latency", {})),
        age_ms={name: summary(ages) for name, ages in ages_ms.items() if ages},
        notes=tuple(notes),
    )


def summary(values: Iterable[float]) -> Latency:
    """Return the percentiles of some milliseconds; at least one value."""
    array = np.fromiter(values, np.float64)
    p50, p95, p99 = (float(v) for v in np.percentile(array, (50, 95, 99)))
    return Latency(p50, p95, p99, int(array.size))


def machine() -> dict[str, Any]:
    """Describe the machine."""
    return {
        "system": platform.platform(),
        "processor": _cpuinfo("model name") or platform.processor() or "unknown",
        "cores": len(os.sched_getaffinity(0)),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "load_1min": round(os.getloadavg()[0], 2),
    }


def report_head(partial: str | None) -> dict[str, Any]:
    """Return the common first fields of reports; `partial`: why it ended early, if it did."""
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "partial": partial,
        "versions": versions(),
        "machine": machine(),
    }


def versions() -> dict[str, str]:
    """Return the versions of all packages in use; missing packages are left out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _latencies(values: Mapping[str, str]) -> dict[str, Latency]:
    found = {}
    for stage in STAGES:
        prefix = f"latency.{stage}"
        if f"{prefix}.p50_ms" in values:
            p50, p95, p99 = (float(values[f"{prefix}.{name}_ms"]) for name in ("p50", "p95", "p99"))
            found[stage] = Latency(p50, p95, p99, int(values[f"{prefix}.count"]))
    return found


def _facts(engine: Mapping[str, str]) -> dict[str, str]:
    counters = ("published", "rate_hz", "failures", "last_failure")
    return {key: value for key, value in engine.items() if not key.startswith(counters)}


def _whole(diagnostics: Diagnostics, concern: str, key: str) -> int:
    return _count(diagnostics.get(concern, {}), key)


def _count(values: Mapping[str, str], key: str) -> int:
    text = values.get(key, "0")
    return int(text) if text.isdigit() else 0


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, Mapping):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(entry) for entry in value]
    return value


def _cpuinfo(key: str) -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")
