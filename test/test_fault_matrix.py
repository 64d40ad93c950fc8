# SPDX-License-Identifier: Apache-2.0
"""The fault matrix itself: its judge must see what it is there to see, its rows must ask."""

from __future__ import annotations

import pytest
from fault_rows import FUSED, ROWS, Row
from fault_truth import Picture, complaints, start_ms

from segmif_ros.rig.draw.pattern import WRAP_MS
from segmif_ros.rig.faults.requests import parse_faults

START_NS = 1_700_000_000_123_000_000
PERIOD_NS = 33_333_333


def picture(number: int, topic: str = "fused", *, code_ms: int | None = None) -> Picture:
    stamp_ns = START_NS + number * PERIOD_NS
    code = number * PERIOD_NS // 1_000_000 if code_ms is None else code_ms
    return Picture(topic, stamp_ns, number, (code, code), (120, 160))


SOUND = [picture(number, topic) for number in range(10) for topic in ("fused", "confidence")]
START_MS = start_ms(SOUND[0])


def found(*more: Picture, **options: object) -> list[str]:
    return complaints([*SOUND, *more], [START_MS], **options)


def test_sound_results_are_not_complained_about() -> None:
    assert found() == []
    assert START_MS == START_NS // 1_000_000 % WRAP_MS
    assert found(picture(10, "confidence", code_ms=333 - 30)) == []
    black = picture(10)._replace(bars=(None, None))
    assert found(black) == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (picture(9), "came before"),
        (picture(3)._replace(stamp_ns=SOUND[6].stamp_ns + 1, bars=(100, 100)), "older than"),
        (picture(10)._replace(bars=(333, 300)), "torn"),
        (picture(10)._replace(bars=(333, None)), "torn"),
        (picture(10, code_ms=300), "taken"),
        (picture(10, code_ms=366), "taken"),
        (picture(10, "confidence", code_ms=333 - 33), "taken"),
    ],
)
def test_each_kind_of_wrong_result_is_seen(wrong: Picture, words: str) -> None:
    complaint = found(wrong)
    assert len(complaint) == 1
    assert words in complaint[0]


def test_only_the_picture_that_was_frozen_may_be_old() -> None:
    began_ms = START_NS // 1_000_000 + 300
    frozen_ms = (began_ms - 40, began_ms + 40)
    old = [picture(number, code_ms=300) for number in (10, 11, 40)]
    assert len(found(*old)) == 3
    assert found(*old, picture(41), frozen_ms=frozen_ms) == []
    assert found(picture(12, code_ms=200), frozen_ms=frozen_ms)


def test_clocks_may_be_off_only_as_far_as_they_were_set() -> None:
    hour = picture(10)._replace(stamp_ns=picture(10).stamp_ns + 3_600_000_000_000)
    assert found(hour)
    assert found(hour, clocks_off_s=(0.0, 3600.0)) == []
    assert found(hour, picture(11), clocks_off_s=(0.0, 3600.0))
    assert found(hour, picture(11), clocks_off_s=(0.0, 3600.0), clocks_go_back=True) == []


def test_pictures_of_two_rigs_are_each_judged_by_their_own() -> None:
    later = picture(10, code_ms=5)
    assert found(later)
    assert complaints([*SOUND, later], [START_MS, start_ms(later)]) == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_requires_something_that_shows_the_fault(row: Row) -> None:
    parse_faults(row.inject)
    seen = row.mode != FUSED or row.says or row.counted or row.shown
    assert seen or row.results_hz or row.latency_ms or row.name == "SIGKILL"
    assert sum(other.name == row.name for other in ROWS) == 1
