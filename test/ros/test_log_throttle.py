# SPDX-License-Identifier: Apache-2.0
"""One line in ten seconds."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from segmif_ros.error_codes import LogThrottle

S = 1_000_000_000


def test_the_first_is_reported_and_then_one_in_ten_seconds():
    seldom = LogThrottle()
    assert [second for second in range(31) if seldom.ready(second * S)] == [0, 10, 20, 30]


def test_what_was_kept_back_does_not_put_off_the_next():
    seldom = LogThrottle(every_s=1.0)
    assert seldom.ready(0)
    assert not seldom.ready(S - 1)
    assert seldom.ready(S)
