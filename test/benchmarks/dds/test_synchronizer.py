# SPDX-License-Identifier: Apache-2.0
"""The stand-in pairs as the Python ApproximateTimeSynchronizer does, flaws included."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from benchmarks.dds.synchronizer import StandInSynchronizer


class Streams:
    """Takes the place of a node: keeps the callbacks and feeds them."""

    def __init__(self, queue_size: int = 3) -> None:
        self._callbacks: list[Callable[[Any], None]] = []
        self.pairs: list[tuple[int, int]] = []
        self.synchronizer = StandInSynchronizer(self, ("a", "b"), queue_size, 0.02, self._keep)

    def create_subscription(self, _kind: Any, _topic: str, callback: Any, _qos: Any) -> None:
        self._callbacks.append(callback)

    def feed(self, *arrivals: tuple[str, int]) -> list[tuple[int, int]]:
        for stream, ms in arrivals:
            stamp = SimpleNamespace(sec=0, nanosec=ms * 1_000_000)
            message = SimpleNamespace(header=SimpleNamespace(stamp=stamp))
            self._callbacks["ab".index(stream)](message)
        return self.pairs

    def _keep(self, a: Any, b: Any) -> None:
        self.pairs.append(tuple(m.header.stamp.nanosec // 1_000_000 for m in (a, b)))


def test_the_nearest_that_is_there_is_taken_and_used_once() -> None:
    streams = Streams()
    assert streams.feed(("b", 0), ("b", 15), ("a", 10), ("a", 11)) == [(10, 15), (11, 0)]
    assert streams.synchronizer.received == [2, 2]


def test_it_never_waits_for_a_better_one() -> None:
    assert Streams().feed(("b", 0), ("a", 15), ("b", 16)) == [(15, 0)]


def test_the_limit_itself_is_too_far() -> None:
    assert Streams().feed(("a", 0), ("b", 20)) == []


def test_after_a_jump_back_everything_new_is_thrown_away() -> None:
    """The defect of the original that our pairer does not have."""
    streams = Streams(queue_size=3)
    streams.feed(*[("a", 1000 + 100 * i) for i in range(3)])
    assert streams.feed(("a", 0), ("b", 0), ("a", 100), ("b", 100)) == []
