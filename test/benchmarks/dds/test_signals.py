# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from benchmarks.dds.signals import Cues, Settled


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, before)


def test_no_cue_is_lost_however_late_they_are_looked_at() -> None:
    cues = Cues()
    assert not cues.next()
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGUSR1)
    assert [cues.next() for _ in range(3)] == [True, True, False]


def test_waiting_ends_with_the_process() -> None:
    cues = Cues()
    os.kill(os.getpid(), signal.SIGUSR1)
    assert cues.wait()
    cues.stop.set()
    assert not cues.wait()


def test_counters_are_read_when_they_no_longer_change() -> None:
    settled = Settled(0.3)
    looks = [(0.0, 1), (0.2, 1), (0.25, 2), (0.5, 2), (0.56, 2)]
    assert [settled.look(value, now) for now, value in looks] == [False] * 4 + [True]


def test_work_under_way_is_waited_for_but_not_for_ever() -> None:
    settled = Settled(0.3, patience_s=5.0)
    assert not any(settled.look(1, 0.1 * i, idle=False) for i in range(50))
    assert settled.look(1, 5.1, idle=False)
    assert not settled.look(1, 6.0), "the next mark waits again"
