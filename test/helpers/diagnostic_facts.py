# SPDX-License-Identifier: Apache-2.0
"""What is known of a node in good health, for the tests of diagnostics to spoil one at a time."""

from __future__ import annotations

from typing import Any

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus

from segmif_ros.pairing import Stream
from segmif_ros.ros.diagnostics.diagnostics_input import (
    Budget,
    DiagnosticsInput,
    InputFacts,
    Totals,
)
from segmif_ros.ros.diagnostics.statuses import entries_of, to_message
from segmif_ros.ros.node.modes import Mode, ModeStatus
from segmif_ros.ros.node.statistics import NANOSECONDS, Statistics

NOW = 100 * NANOSECONDS
INPUTS = {stream: InputFacts(f"/cam/{stream.value}", 1) for stream in Stream}
CONCERNS = (
    *("rgb", "thermal", "pairing", "mode", "engine", "latency"),
    *("registration", "alignment", "node"),
)


def running() -> Statistics:
    """A healthy node after one second: 30 frames each, 30 pairs, all published."""
    statistics = Statistics(("fused", "mask"))
    for stream in Stream:
        counts = statistics.streams[stream]
        counts.received, counts.last_arrival_ns, counts.format = 30, NOW, "640x480 mono8"
        for i in range(30):
            counts.rate.add(NOW - (29 - i) * NANOSECONDS // 30)
    statistics.pairs = statistics.published = 30
    for _ in range(30):
        statistics.add_total(50.0)
        statistics.stages_ms["node"].add(40.0)
    statistics.ticked_ns = NOW
    return statistics


def facts(statistics: Statistics, **changes: Any) -> DiagnosticsInput:
    """A node that has been active for 100 s and reported nothing before."""
    zero = Totals.of(Statistics(()))
    usual: dict[str, Any] = {
        "statistics": statistics,
        "before": zero,
        "window": zero,
        "now_ns": NOW,
        "active_since_ns": 0,
        "inputs": INPUTS,
        "reference": "rgb",
        "engine": {"name": "null", "size": "640x480"},
        "budget": Budget(200.0, 1000.0),
        "mode_status": ModeStatus(Mode.FUSED, "both cameras deliver"),
    }
    return DiagnosticsInput(**(usual | changes))


def status(statistics: Statistics, concern: str, **changes: Any) -> DiagnosticStatus:
    """One status of the report."""
    entries = entries_of(facts(statistics, **changes))
    message = to_message(entries, node="/veh/segmif", stamp=Time(sec=5))
    assert message.header.stamp.sec == 5
    assert [s.name for s in message.status] == [f"veh/segmif: {name}" for name in CONCERNS]
    (found,) = [s for s in message.status if s.name == f"veh/segmif: {concern}"]
    return found


def values(found: DiagnosticStatus) -> dict[str, str]:
    """Its key-values."""
    keys = [kv.key for kv in found.values]
    assert len(keys) == len(set(keys))
    return {kv.key: kv.value for kv in found.values}
