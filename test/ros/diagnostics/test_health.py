# SPDX-License-Identifier: Apache-2.0
"""What is learnt from report to report."""

from __future__ import annotations

import mmap

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from segmif_ros.ros.diagnostics import diagnostics_input
from segmif_ros.ros.diagnostics.diagnostics_input import Deadline, Memory, UsualRate, resident_mib
from segmif_ros.ros.node.statistics import NANOSECONDS, Samples


def rates(*values: float) -> UsualRate:
    usual = UsualRate()
    for second, hz in enumerate(values):
        usual.observe(hz, second * NANOSECONDS)
    return usual


def test_the_usual_rate_needs_five_seconds():
    assert rates(30.0, 30.0, 30.0, 30.0).hz() is None
    assert rates(30.0, 30.0, 31.0, 30.0, 30.0).hz() == 30.0


def test_a_loss_is_not_usual_for_half_a_minute():
    assert rates(*[30.0] * 60, *[20.0] * 29).hz() == 30.0
    assert rates(*[30.0] * 60, *[20.0] * 40).hz() == 20.0


def test_silence_is_not_usual():
    assert rates(*[30.0] * 20, *[0.0] * 50).hz() == 30.0


def test_fast_reports_count_once_a_second():
    usual = UsualRate()
    for tenth in range(30):
        usual.observe(30.0, tenth * NANOSECONDS // 10)
    assert usual.hz() is None


def test_memory_is_that_of_this_process_and_grows(monkeypatch):
    measured = resident_mib()
    assert measured is not None
    # Fresh pages, in pieces: malloc may keep a temporary of the same size as well.
    with mmap.mmap(-1, 64 * 1024 * 1024) as held:
        for _ in range(64):
            held.write(b"x" * 1024 * 1024)
        grown = resident_mib()
    assert grown is not None
    assert 40 < grown - measured < 100

    memory = Memory()
    now = iter([100.0, 200.0, 210.0, 260.0, 260.0])
    monkeypatch.setattr(diagnostics_input, "resident_mib", lambda: next(now))
    memory.observe(0, 1 * NANOSECONDS)
    assert memory.growth_mib == 0.0, "what is loaded at first is no growth"
    memory.observe(0, 11 * NANOSECONDS)
    memory.observe(0, 12 * NANOSECONDS)
    assert memory.growth_mib == 10.0
    memory.observe(20 * NANOSECONDS, 31 * NANOSECONDS)
    assert memory.growth_mib == 0.0, "activated again"
    memory.observe(None, 40 * NANOSECONDS)
    assert (memory.growth_mib, memory.resident_mib) == (0.0, 260.0)


def test_missed_deadlines_are_counted_once():
    samples, deadline = Samples(), Deadline()
    for value in (10.0, 60.0, 50.0, 51.0):
        samples.add(value)
    deadline.observe(samples, 50.0)
    deadline.observe(samples, 50.0)
    assert deadline.missed == 2
    samples.add(99.0)
    deadline.observe(samples, 0.0)
    assert deadline.missed == 2, "0 is off"
    samples.add(99.0)
    deadline.observe(samples, 50.0)
    assert deadline.missed == 3


def test_a_stage_that_is_judged_from_now_on_has_missed_nothing_before():
    total, node, deadline = Samples(), Samples(), Deadline()
    for samples in (total, node):
        samples.add(99.0)
    deadline.observe(total, 50.0)
    assert deadline.missed == 1
    deadline.observe(node, 50.0)
    assert deadline.missed == 1
    node.add(99.0)
    deadline.observe(node, 50.0)
    assert deadline.missed == 2
