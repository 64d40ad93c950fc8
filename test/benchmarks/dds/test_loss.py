# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from benchmarks.dds.loss import ASLEEP, LOST_AFTER, LOST_BEFORE, REPLACED, account, contradictions

CALM = {
    "received.rgb": 100, "refused.rgb": 0, "dropped.rgb.no_partner": 0, "pairs": 100,
    "replaced": 0, "skipped": 0, "failures": 0, "withdrawn": 0, "published": 100,
}  # fmt: skip


def test_nothing_lost_is_an_empty_account() -> None:
    assert account(100, CALM, 100) == {}


def test_each_reason_has_its_own_line() -> None:
    counters = CALM | {
        "received.rgb": 97, "refused.rgb": 1, "dropped.rgb.no_partner": 5, "pairs": 90,
        "replaced": 20, "skipped": 2, "failures": 3, "published": 65,
    }  # fmt: skip
    assert account(100, counters, 61) == {
        LOST_BEFORE: 3,
        "refused by the node": 1,
        "not paired: no_partner": 5,
        "still waiting for a partner": 1,
        REPLACED: 20,
        "no subscriber": 2,
        "failed": 3,
        LOST_AFTER: 4,
    }


@pytest.mark.parametrize("seed", range(20))
def test_losses_and_results_always_make_what_was_sent(seed: int) -> None:
    rng = np.random.default_rng(seed)
    counters = {name: int(rng.integers(0, 50)) for name in CALM}
    sent, heard = (int(n) for n in rng.integers(0, 300, 2))
    assert sum(account(sent, counters, heard).values()) + heard == sent


def test_a_node_that_is_unsubscribed_loses_nothing() -> None:
    nothing = dict.fromkeys(CALM, 0)
    assert account(100, nothing, None, asleep=True) == {ASLEEP: 100}


def test_what_went_on_alone_counts_twice_and_what_was_withheld_once() -> None:
    counters = CALM | {
        "dropped.rgb.no_partner": 10, "pairs": 90, "singles": 4, "withheld": 6, "published": 88
    }  # fmt: skip
    loss = account(100, counters, 88)
    assert loss == {"not paired: no_partner": 10, "withheld: a camera was not well": 6}
    assert sum(loss.values()) + 88 == 100 + counters["singles"]


def test_without_a_listener_published_is_the_end() -> None:
    assert account(100, CALM, None) == {}


def test_more_out_than_in_is_a_contradiction() -> None:
    loss = account(100, CALM | {"pairs": 101}, 100)
    assert contradictions(loss) == ["1 more than possible: still waiting for a partner"]
    assert contradictions(account(100, CALM, 100)) == []
