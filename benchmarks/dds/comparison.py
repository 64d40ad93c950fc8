# SPDX-License-Identifier: Apache-2.0
"""Ratios between runs: what holds on a slower or busier machine as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.dds.scenario import SEGMIF

STEADY_SHARE = 0.9
"""Of the engine's rate: an overloaded node must publish at least so much."""
STEADY_AGE = 1.5
"""Times the unloaded age: results of an overloaded node may be so old."""
STEADY_MB_PER_MINUTE = 1.0
"""Growth of its memory, where the run is long enough."""


def key_figures(runs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the figures that subjects are compared by, the median over their runs.

    Args:
        runs: figures of runs of one subject, all with a listener that received something.
    """
    ages = [run["age_ms"]["all"] for run in runs]
    return {
        "age_p50_ms": median(age["p50"] for age in ages),
        "age_p99_ms": median(age["p99"] for age in ages),
        "cpu_ms_per_result": median(run["cpu_ms_per_result"] for run in runs),
        "output_hz": median(run["output_hz"] for run in runs),
        "lost_share": median(run["lost_share"] for run in runs),
    }


def compare(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return peer -> figure of the peer over ours; above 1 is a gain for times, below 1 for rates.

    `lost_share` is the difference peer minus ours instead: either may be zero.
    """
    by_subject: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        by_subject.setdefault(run["scenario"]["subject"], []).append(run)
    own = key_figures(by_subject[SEGMIF])
    found: dict[str, dict[str, float]] = {}
    for subject, its_runs in by_subject.items():
        if subject == SEGMIF:
            continue
        peer = key_figures(its_runs)
        ratios = {name: peer[name] / own[name] for name in own if name != "lost_share"}
        found[subject] = {**ratios, "lost_share": peer["lost_share"] - own["lost_share"]}
    return found


def sustainable_hz(run: Mapping[str, Any]) -> float:
    """Return the rate that the worker can hold: one over its median time for a pair."""
    return 1e3 / float(run["stages_ms"]["work"]["p50"])


def overload(
    unloaded: Mapping[str, Any], loaded: Mapping[str, Any], rate_hz: float
) -> dict[str, Any]:
    """Judge a run above the sustainable rate against one below it.

    Args:
        unloaded: figures of the run below.
        loaded: figures of the run above.
        rate_hz: the sustainable rate.
    """
    before, after = unloaded["age_ms"]["all"], loaded["age_ms"]["all"]
    tenths = [age for age in loaded["age_by_tenth_ms"] if age is not None]
    verdict: dict[str, Any] = {
        "factor": loaded["sent_hz"] / rate_hz,
        "sustainable_hz": rate_hz,
        "output_hz": loaded["output_hz"],
        "output_share": loaded["output_hz"] / rate_hz,
        "age_p50_ratio": after["p50"] / before["p50"],
        "age_p99_ratio": after["p99"] / before["p99"],
        "age_last_over_first_tenth": tenths[-1] / tenths[0],
        "memory_mb_per_minute": loaded["memory_mb_per_minute"],
    }
    verdict["holds"] = bool(
        verdict["output_share"] >= STEADY_SHARE
        and verdict["age_p50_ratio"] <= STEADY_AGE
        and verdict["age_p99_ratio"] <= STEADY_AGE
        and (verdict["memory_mb_per_minute"] or 0.0) <= STEADY_MB_PER_MINUTE
    )
    return verdict
