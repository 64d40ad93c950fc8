# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from benchmarks.dds.comparison import compare, overload, sustainable_hz


def run(subject: str, age: float, *, cpu: float = 10.0, hz: float = 30.0, lost: float = 0.0) -> Any:
    return {
        "scenario": {"subject": subject},
        "age_ms": {"all": {"p50": age, "p99": 2 * age}},
        "cpu_ms_per_result": cpu,
        "output_hz": hz,
        "lost_share": lost,
    }


def test_peers_are_compared_by_the_median_of_their_rounds() -> None:
    runs = [run("segmif", age) for age in (10.0, 11.0, 90.0)]
    runs += [run("message-filters", age, cpu=20.0, hz=15.0, lost=0.5) for age in (22.0, 5.0, 33.0)]
    assert compare(runs) == {
        "message-filters": pytest.approx(
            {
                "age_p50_ms": 2.0,
                "age_p99_ms": 2.0,
                "cpu_ms_per_result": 2.0,
                "output_hz": 0.5,
                "lost_share": 0.5,
            }
        )
    }


def loaded(*, hz: float, age: float, p99: float, last: float, mb: float | None = 0.1) -> Any:
    return {
        "sent_hz": 40.0,
        "output_hz": hz,
        "age_ms": {"all": {"p50": age, "p99": p99}},
        "age_by_tenth_ms": [100.0, None, last],
        "memory_mb_per_minute": mb,
    }


def test_the_worker_says_what_rate_it_holds() -> None:
    assert sustainable_hz({"stages_ms": {"work": {"p50": 50.0}}}) == pytest.approx(20.0)


@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        ({}, True),
        ({"mb": None}, True),
        ({"hz": 17.0}, False),
        ({"age": 151.0}, False),
        ({"p99": 181.0}, False),
        ({"mb": 5.0}, False),
    ],
)
def test_overload_is_held_when_rate_and_age_stay(
    changes: dict[str, float | None], holds: bool
) -> None:
    calm = loaded(hz=5.0, age=100.0, p99=120.0, last=100.0)
    busy = loaded(**{"hz": 19.0, "age": 140.0, "p99": 170.0, "last": 130.0} | changes)
    verdict = overload(calm, busy, 20.0)
    assert verdict["holds"] is holds
    assert verdict["factor"] == pytest.approx(2.0)
    assert verdict["age_last_over_first_tenth"] == pytest.approx(1.3)
