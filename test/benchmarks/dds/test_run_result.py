# SPDX-License-Identifier: Apache-2.0
"""Figures of a run whose answers are known, and the doubts that a flawed run must raise."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.dds.processes import Cost
from benchmarks.dds.run_result import Observed, figures, slope_per_minute
from benchmarks.dds.scenario import Scenario

MS = 1_000_000
SCENARIO = Scenario(rate_hz=10.0, seconds=1.0)
STAMPS = [1_000 * MS + i * 100 * MS for i in range(10)]
WARM_UP = 900 * MS


def observed(**changes: Any) -> Observed:
    """Ten pairs; pair i takes 10 + i ms; the worker 6 ms, half of it in the engine."""
    counters = dict.fromkeys(
        ("received.rgb", "received.thermal", "pairs", "published"), 10
    ) | dict.fromkeys(("refused.rgb", "replaced", "skipped", "withdrawn", "failures"), 0)
    stages = {
        "transport": [2.0] * 10, "conversion": [1.0] * 10, "thermal": [0.5] * 10,
        "registration": [0.5] * 10, "inference": [3.0] * 10, "publish": [1.0] * 10,
    }  # fmt: skip
    arrivals = [(stamp, stamp + (10 + i) * MS) for i, stamp in enumerate(STAMPS)]
    early = [(stamp, arrived - MS) for stamp, arrived in arrivals]
    whole = Observed(
        nodes=[{"counters": counters, "samples_ms": stages, "engine": {}, "boot_id": "a"}],
        publisher={
            "stamps_ns": [STAMPS], "late_ms": [0.1] * 10, "left_out": 0, "seconds": 1.0,
            "boot_id": "a",
        },
        consumer={
            "arrivals_ns": {
                "/rig0/segmif/output/fused": [(WARM_UP, WARM_UP + 500 * MS), *arrivals],
                "/rig0/segmif/output/mask": early,
            },
            "boot_id": "a",
        },
        costs={
            "node0": Cost(0.05, 5.0, {"executor": 5.0}, 100.0, 80.0, 120.0, 0.0),
            "consumer": Cost(0.02, 2.0, {}, 90.0, 70.0, 90.0, 0.0),
        },
        wall_s=1.0,
        others_cores=0.0,
        clock_moved_ms=0.0,
        memory=[],
    )  # fmt: skip
    return replace(whole, **changes)


def test_ages_end_with_the_last_output_and_leave_the_warm_up_out() -> None:
    ages = figures(SCENARIO, observed())["age_ms"]
    assert (ages["all"]["count"], ages["all"]["p50"], ages["all"]["max"]) == (10, 14.5, 19.0)
    assert ages["mask"]["max"] == 18.0
    assert figures(SCENARIO, observed())["age_by_tenth_ms"] == [10.0 + i for i in range(10)]


def test_a_result_without_its_mask_is_lost_after_the_node() -> None:
    flawed = observed()
    assert flawed.consumer is not None
    flawed.consumer["arrivals_ns"]["/rig0/segmif/output/mask"].pop()
    result = figures(SCENARIO, flawed)
    assert result["age_ms"]["all"]["count"] == 9
    assert result["loss"] == {"lost after the node": 1}
    assert result["lost_share"] == pytest.approx(0.1)


def test_the_worker_is_summed_pair_by_pair() -> None:
    stages = figures(SCENARIO, observed())["stages_ms"]
    assert stages["work"]["p50"] == pytest.approx(6.0)
    assert stages["around"]["p50"] == pytest.approx(3.0)


def test_processor_time_is_that_of_the_node_alone() -> None:
    result = figures(SCENARIO, observed())
    assert result["cpu_ms_per_pair"] == pytest.approx(5.0)
    assert result["cpu_ms_per_result"] == pytest.approx(5.0)
    assert result["core_percent_per_hz"] == pytest.approx(0.5)


def test_no_subscriber_is_no_doubt() -> None:
    counters = observed().nodes[0]["counters"] | {"skipped": 10, "published": 0}
    nodes = [{**observed().nodes[0], "counters": counters, "samples_ms": {"transport": [2.0]}}]
    result = figures(replace(SCENARIO, outputs=()), observed(consumer=None, nodes=nodes))
    assert result["doubts"] == []
    assert result["loss"] == {"no subscriber": 10}
    assert result["age_ms"]["all"] is None
    assert result["cpu_ms_per_result"] is None
    assert "work" not in result["stages_ms"]


def test_a_good_run_raises_no_doubt_and_is_json() -> None:
    result = figures(SCENARIO, observed())
    assert result["doubts"] == []
    assert json.loads(json.dumps(result))["pairs"] == {
        "sent": 10, "paired": 10, "published": 10, "heard": 10
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"clock_moved_ms": -3.0}, "clock was moved by -3.0 ms"),
        ({"others_cores": 0.9}, "other programs used 0.9 cores"),
        ({"publisher": observed().publisher | {"seconds": 1.2}}, "sent 8.3 Hz, 10 were asked"),
        ({"publisher": observed().publisher | {"left_out": 2}}, "left out 2 pairs"),
        ({"publisher": observed().publisher | {"late_ms": [40.0] * 10}}, "40 ms late"),
        ({"publisher": observed().publisher | {"boot_id": "b"}}, "different machines"),
        (
            {"nodes": [{**observed().nodes[0],
                        "counters": observed().nodes[0]["counters"] | {"received.rgb": 11}}]},
            "1 more than possible: lost before the node",
        ),
        ({"consumer": {"arrivals_ns": {
            "/rig0/segmif/output/fused": [], "/rig0/segmif/output/mask": []}, "boot_id": "a"}},
         "received no complete result"),
    ],
)  # fmt: skip
def test_what_makes_figures_worthless_is_said(changes: dict[str, Any], words: str) -> None:
    assert any(words in doubt for doubt in figures(SCENARIO, observed(**changes))["doubts"])


def test_growth_is_that_of_the_later_part() -> None:
    filling = [(float(t), 100.0 + 50.0 * min(t, 25)) for t in range(60)]
    assert slope_per_minute(filling) == pytest.approx(0.0, abs=1e-9)
    leaking = [(t, m + 0.1 * t) for t, m in filling]
    assert slope_per_minute(leaking) == pytest.approx(6.0)
    assert slope_per_minute(filling[:39]) is None
