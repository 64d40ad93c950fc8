# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from dataclasses import replace

import pytest

from benchmarks.dds.scenario import Scenario


def test_the_number_of_pairs_follows_from_rate_and_time() -> None:
    scenario = Scenario(rate_hz=9.0, seconds=10.0, warm_up_s=0.5)
    assert (scenario.pairs, scenario.warm_up_pairs) == (90, 4)
    assert replace(scenario, seconds=0.1).pairs == 2


def test_the_title_says_what_is_unusual() -> None:
    assert Scenario().title == (
        "segmif, engine null, 640x480 rgb8 + 640x512 mono16, 30 Hz, listening to fused and mask"
    )
    unusual = Scenario(
        model="m", runtime="auto", delay_ms=20.0, rigs=2, outputs=(), rgb_size=(1280, 1024)
    )
    for part in ("with m", "of 20 ms", "2 rigs", "listening to nothing", "1280x1024 rgb8"):
        assert part in unusual.title


def test_it_is_plain_json() -> None:
    assert json.loads(json.dumps(Scenario().to_json()))["rgb_size"] == [640, 480]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("rate_hz", 0.0, "rate_hz is 0.0"),
        ("seconds", -1.0, "seconds is -1.0"),
        ("rigs", 0, "rigs is 0"),
        ("rgb_size", (8, 480), "expected 16 to 16384 pixels"),
        ("subject", "nobody", "'nobody'"),
        ("outputs", ("fused", "heat"), "no output heat"),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(field: str, value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(Scenario(), **{field: value})


def test_a_peer_has_fewer_outputs() -> None:
    with pytest.raises(ValueError, match="message-filters has no output overlay"):
        Scenario(subject="message-filters", outputs=("fused", "overlay"))
