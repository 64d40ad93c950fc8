# SPDX-License-Identifier: Apache-2.0
"""Two clocks: what is reported and what to set, from TAI over time zones to the time since boot."""

from __future__ import annotations

import pytest

from segmif_ros.sync.clock_difference import ClockDifference

S = 1_000_000_000


@pytest.mark.parametrize(
    ("ahead_s", "offset_ms", "words"),
    [
        (36.96, -37000.0, "37.0 s ahead of RGB"),
        (-18.03, 18000.0, "18.0 s behind RGB"),
        (3600 * 2 + 0.05, -7_200_000.0, "2.0 h ahead of"),
        (-12 * 3600, 43_200_000.0, "12.0 h behind"),
        (4.4, -4400.0, "4.4 s ahead of"),
    ],
)
def test_the_parameter_that_makes_up_for_it_is_named(ahead_s, offset_ms, words):
    found = ClockDifference(round(ahead_s * S))
    assert found.matters()
    assert found.thermal_offset_ms == offset_ms
    assert not found.matters(round(offset_ms * 1e6)), "with the parameter set it is gone"
    assert words in found.text()
    assert f"set thermal_offset_ms to {offset_ms:.8g}" in found.text()


def test_time_since_boot_beside_unix_time_is_for_the_drivers_to_correct():
    found = ClockDifference(1_000 * S - 1_760_000_000 * S)
    assert found.thermal_offset_ms is None
    assert "days behind RGB stamps; let both drivers" in found.text()


def test_an_image_that_was_under_way_for_long_is_no_other_clock():
    assert not ClockDifference(-900_000_000).matters()
    assert ClockDifference(0).thermal_offset_ms == 0.0
