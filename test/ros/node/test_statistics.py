# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from segmif_ros.pairing import Stream
from segmif_ros.ros.node.statistics import NANOSECONDS, Rate, Samples, Statistics


def test_percentiles_are_those_of_numpy():
    samples = Samples()
    assert samples.percentiles() is None
    values = np.random.default_rng(0).gamma(2.0, 5.0, 500)
    for value in values:
        samples.add(value)
    np.testing.assert_allclose(samples.percentiles(), np.percentile(values, (50, 95, 99)))
    assert samples.count == 500


def test_old_samples_leave_but_still_count():
    samples = Samples(capacity=10)
    for value in [1000.0] * 10 + [1.0] * 10:
        samples.add(value)
    assert samples.percentiles() == (1.0, 1.0, 1.0)
    assert samples.count == 20


def test_the_newest_samples_come_in_order_also_after_the_buffer_wrapped():
    samples = Samples(capacity=4)
    assert samples.newest(3) == []
    for value in range(6):
        samples.add(float(value))
    assert samples.newest(2) == [4.0, 5.0]
    assert samples.newest(9) == [2.0, 3.0, 4.0, 5.0]
    assert samples.newest(0) == []


@pytest.mark.parametrize("hz", [9.0, 30.0, 60.0])
def test_rate_of_steady_events(hz):
    rate = Rate()
    for i in range(1000):
        rate.add(int(i * NANOSECONDS / hz))
    assert rate.hz(int(1000 * NANOSECONDS / hz)) == pytest.approx(hz, rel=1e-6)


def test_rate_drops_what_stopped():
    rate = Rate()
    assert rate.hz(0) == 0.0
    rate.add(0)
    assert rate.hz(1) == 0.0
    rate.add(NANOSECONDS)
    assert rate.hz(2 * NANOSECONDS) == 1.0
    assert rate.hz(5 * NANOSECONDS) < 0.5
    assert rate.hz(20 * NANOSECONDS) == 0.0


def test_latencies_between_two_clocks_are_counted_apart():
    statistics = Statistics(("fused",))
    for milliseconds in (-5_000.0, 5.0, 3_600_000.0):
        statistics.add_total(milliseconds)
        statistics.add_transport(Stream.RGB, milliseconds)
    assert statistics.stages_ms["total"].count == 1
    assert statistics.implausible_totals == 2
    assert statistics.stages_ms["transport"].count == 1
    assert statistics.streams[Stream.RGB].implausible_stamps == 2


def test_the_transport_stage_is_that_of_the_rgb_frame():
    statistics = Statistics(())
    statistics.add_transport(Stream.THERMAL, 5.0)
    assert statistics.stages_ms["transport"].count == 0
    assert statistics.streams[Stream.THERMAL].transport_ms.count == 1
