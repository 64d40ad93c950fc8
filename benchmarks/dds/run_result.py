# SPDX-License-Identifier: Apache-2.0
"""From what the processes of one run wrote and cost to its figures, and to doubts about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from benchmarks.dds.distribution import Distribution, distributions
from benchmarks.dds.loss import account, contradictions
from benchmarks.dds.processes import Cost
from benchmarks.dds.protocol import output_topic
from benchmarks.dds.scenario import Scenario

WORK = ("conversion", "thermal", "registration", "inference", "publish")
"""What the worker does for one pair, one after the other."""

RATE_TOLERANCE = 0.02
CLOCK_TOLERANCE_MS = 1.0
LATE_SHARE = 0.25
"""Of a camera period: pairs that leave later than this make a rate that is not steady."""
SETTLING_S = 30.0
"""A node's memory has its size after so long."""
QUIET_CORES = 0.2
"""More processor time of other programs than this makes the times of a run doubtful."""


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that was gathered in one run.

    Attributes:
        nodes: what each node wrote: counters, samples_ms, engine, boot_id.
        publisher: what the cameras wrote: stamps_ns by rig, late_ms, left_out, seconds, boot_id.
        consumer: what the listener wrote: arrivals_ns by topic, boot_id; None without one.
        costs: of each process between the marks, by name; nodes are node0, node1, ...
        wall_s: time between the marks.
        others_cores: processor time of all other programs in that time, in cores.
        clock_moved_ms: how much the wall clock moved against the steady clock.
        memory: (seconds, own memory in MB) of the first node, once a second.
    """

    nodes: Sequence[Mapping[str, Any]]
    publisher: Mapping[str, Any]
    consumer: Mapping[str, Any] | None
    costs: Mapping[str, Cost]
    wall_s: float
    others_cores: float
    clock_moved_ms: float
    memory: Sequence[tuple[float, float]]


def figures(scenario: Scenario, observed: Observed) -> dict[str, Any]:
    """Return the figures of one run as JSON values; `doubts` says what is wrong with them."""
    sent = [len(stamps) for stamps in observed.publisher["stamps_ns"]]
    complete, by_output = _ages(scenario, observed)
    heard: list[int | None] = [None] * scenario.rigs
    if observed.consumer is not None:
        heard = [len(ages) for ages in complete]
    losses = [
        account(n, node["counters"], h, asleep=scenario.asleep)
        for n, node, h in zip(sent, observed.nodes, heard, strict=True)
    ]
    loss = _summed(losses)
    counters = _summed([node["counters"] for node in observed.nodes])
    published = counters["published"]
    nodes = [c for name, c in observed.costs.items() if name.startswith("node")]
    cpu_ms = 1e3 * sum(c.cpu_s for c in nodes)
    cpu_ms_per_pair = cpu_ms / max(sum(sent), 1)
    seconds = observed.publisher["seconds"]
    ages = [age for rig in complete for age in rig]
    stages = distributions(_stages(observed.nodes))
    result: dict[str, Any] = {
        "scenario": scenario.to_json(),
        "title": scenario.title,
        "engine": dict(observed.nodes[0]["engine"]),
        "sent_hz": sum(sent) / scenario.rigs / seconds,
        "left_out": observed.publisher["left_out"],
        "late_ms": _json(Distribution.of(observed.publisher["late_ms"])),
        "pairs": {"sent": sum(sent), "paired": counters["pairs"],
                  "published": published, "heard": len(ages)},
        "output_hz": len(ages) / scenario.rigs / seconds,
        "loss": loss,
        "lost_share": sum(loss.values()) / max(sum(sent), 1),
        "stages_ms": {name: asdict(summary) for name, summary in stages.items()},
        "age_ms": {
            **{name: _json(Distribution.of(found)) for name, found in by_output.items()},
            "all": _json(Distribution.of(ages)),
        },
        "age_by_tenth_ms": _medians_by_tenth(complete[0]),
        "cpu_ms_per_pair": cpu_ms_per_pair,
        "cpu_ms_per_result": cpu_ms / published if published else None,
        "core_percent_per_hz": cpu_ms_per_pair / 10.0,
        "costs": {name: asdict(cost) for name, cost in observed.costs.items()},
        "memory_mb_per_minute": slope_per_minute(observed.memory),
        "others_cores": observed.others_cores,
    }  # fmt: skip
    result["doubts"] = _doubts(scenario, observed, result)
    return result


def _ages(
    scenario: Scenario, observed: Observed
) -> tuple[list[list[float]], dict[str, list[float]]]:
    """Return ages of complete results by rig, and of each output, milliseconds.

    A result is complete when the last of the outputs with its stamp has arrived.
    """
    by_output: dict[str, list[float]] = {name: [] for name in scenario.outputs}
    complete: list[list[float]] = []
    if observed.consumer is None:
        return [[] for _ in range(scenario.rigs)], by_output
    for rig in range(scenario.rigs):
        sent = set(observed.publisher["stamps_ns"][rig])
        last: dict[int, tuple[int, int]] = {}
        for name in scenario.outputs:
            for stamp, arrived in observed.consumer["arrivals_ns"][output_topic(rig, name)]:
                if stamp not in sent:
                    continue  # of the warm-up
                by_output[name].append((arrived - stamp) / 1e6)
                count, latest = last.get(stamp, (0, 0))
                last[stamp] = (count + 1, max(latest, arrived))
        whole = len(scenario.outputs)
        complete.append(
            [(arrived - stamp) / 1e6 for stamp, (n, arrived) in last.items() if n == whole]
        )
    return complete, by_output


def _medians_by_tenth(ages: Sequence[float]) -> list[float | None]:
    """Return the median age in each tenth of the results, in the order they came."""
    cuts = [len(ages) * i // 10 for i in range(11)]
    parts = (Distribution.of(ages[a:b]) for a, b in pairwise(cuts))
    return [None if part is None else part.p50 for part in parts]


def _stages(nodes: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Pool the samples of all nodes and add what the worker takes in all, and around the engine."""
    pooled: dict[str, list[float]] = {}
    for node in nodes:
        samples: Mapping[str, list[float]] = node["samples_ms"]
        for stage, values in samples.items():
            pooled.setdefault(stage, []).extend(values)
        parts = [samples[stage] for stage in WORK if samples.get(stage)]
        if parts and len({len(part) for part in parts}) == 1:
            work = [sum(values) for values in zip(*parts, strict=True)]
            engine = samples.get("inference", [0.0] * len(work))
            pooled.setdefault("work", []).extend(work)
            pooled.setdefault("around", []).extend(
                whole - inside for whole, inside in zip(work, engine, strict=True)
            )
    return pooled


def slope_per_minute(memory: Sequence[tuple[float, float]]) -> float | None:
    """Return the growth of memory per minute, a straight line through what follows the settling.

    Under load the subscriptions' histories, five images each, and malloc's arenas fill first; in a
    run too short for that nothing can be said, and the answer is None.
    """
    tail = [(t, m) for t, m in memory if t >= SETTLING_S]
    if len(tail) < 10:
        return None
    mean_t = sum(t for t, _ in tail) / len(tail)
    mean_m = sum(m for _, m in tail) / len(tail)
    spread = sum((t - mean_t) ** 2 for t, _ in tail)
    return 60.0 * sum((t - mean_t) * (m - mean_m) for t, m in tail) / spread


def _doubts(scenario: Scenario, observed: Observed, result: Mapping[str, Any]) -> list[str]:
    doubts = contradictions(result["loss"])
    if result["sent_hz"] < (1.0 - RATE_TOLERANCE) * scenario.rate_hz:
        doubts.append(f"cameras sent {result['sent_hz']:.1f} Hz, {scenario.rate_hz:g} were asked")
    if observed.publisher["left_out"]:
        doubts.append(f"cameras left out {observed.publisher['left_out']} pairs")
    late = result["late_ms"]
    if late is not None and late["p99"] > LATE_SHARE * 1e3 / scenario.rate_hz:
        doubts.append(f"cameras were up to {late['p99']:.0f} ms late (p99)")
    singles = sum(node["counters"].get("singles", 0) for node in observed.nodes)
    if singles:
        doubts.append(f"{singles} images were used without a partner: a camera paused")
    boots = {part["boot_id"] for part in (*observed.nodes, observed.publisher)}
    if observed.consumer is not None:
        boots.add(observed.consumer["boot_id"])
    if len(boots) > 1:
        doubts.append("the processes ran on different machines: ages mean nothing")
    if abs(observed.clock_moved_ms) > CLOCK_TOLERANCE_MS:
        doubts.append(f"the clock was moved by {observed.clock_moved_ms:.1f} ms")
    if observed.others_cores > QUIET_CORES:
        doubts.append(f"other programs used {observed.others_cores:.1f} cores")
    ages = result["age_ms"]["all"]
    if observed.consumer is not None and ages is None:
        doubts.append("the consumer received no complete result")
    return doubts


def _summed(tables: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for table in tables:
        for key, number in table.items():
            total[key] = total.get(key, 0) + number
    return total


def _json(summary: Distribution | None) -> dict[str, float] | None:
    return None if summary is None else asdict(summary)
