# SPDX-License-Identifier: Apache-2.0
"""The one-place slot and the one thread behind it."""

from __future__ import annotations

import threading

import pytest

from segmif_ros.ros.node.worker import LatestWorker

DEADLINE_S = 10.0


class Gate:
    """A `process` that waits to be let through, and records what it got and where."""

    def __init__(self) -> None:
        self.open = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)
        self.seen: list[int] = []
        self.threads: set[int] = set()

    def __call__(self, item: int) -> None:
        self.entered.release()
        assert self.open.acquire(timeout=DEADLINE_S)
        self.seen.append(item)
        self.threads.add(threading.get_ident())


@pytest.fixture
def gate():
    return Gate()


@pytest.fixture
def worker(gate):
    worker = LatestWorker(gate)
    yield worker
    for _ in range(10):
        gate.open.release()
    worker.close()


def test_the_newest_replaces_and_the_replaced_comes_back(worker, gate):
    assert worker.offer(1) is None
    assert gate.entered.acquire(timeout=DEADLINE_S)
    assert worker.offer(2) is None, "1 is being worked on, the slot is free"
    assert worker.offer(3) == 2
    assert worker.offer(4) == 3
    gate.open.release()
    gate.open.release()
    worker.call(lambda: None)
    assert gate.seen == [1, 4]


def test_everything_runs_on_one_thread(worker, gate):
    gate.open.release()
    worker.offer(1)
    worker.call(lambda: None)
    gate.open.release()
    worker.offer(2)
    assert worker.call(threading.get_ident) in gate.threads
    assert len(gate.threads) == 1
    assert threading.get_ident() not in gate.threads


def test_withdraw_empties_the_slot(worker, gate):
    worker.offer(1)
    assert gate.entered.acquire(timeout=DEADLINE_S)
    worker.offer(2)
    assert worker.withdraw() == 2
    assert worker.withdraw() is None
    gate.open.release()
    worker.call(lambda: None)
    assert gate.seen == [1]


def test_call_gives_back_what_the_task_raised(worker):
    def fail():
        raise ValueError("no such model")

    with pytest.raises(ValueError, match="no such model"):
        worker.call(fail)
    assert worker.call(lambda: 7) == 7


def test_close_finishes_the_work_in_progress_and_leaves_the_slot(gate):
    worker = LatestWorker(gate)
    worker.offer(1)
    assert gate.entered.acquire(timeout=DEADLINE_S)
    worker.offer(2)
    gate.open.release()
    worker.close()
    worker.close()
    assert gate.seen == [1]


def test_nothing_is_lost_between_many_offers(gate):
    worker = LatestWorker(gate)
    gate.open = threading.Semaphore(100_000)
    replaced = sum(worker.offer(i) is not None for i in range(1, 5001))
    worker.call(lambda: None)
    worker.close()
    assert len(gate.seen) + replaced == 5000
    assert gate.seen == sorted(gate.seen)
    assert gate.seen[-1] == 5000


def test_who_waits_may_give_up_and_the_task_goes_on(worker, gate):
    worker.offer(1)
    assert gate.entered.acquire(timeout=DEADLINE_S)

    def impatient(seconds: float) -> None:
        assert 0.0 <= seconds < DEADLINE_S
        raise TimeoutError

    done = threading.Event()
    with pytest.raises(TimeoutError):
        worker.call(done.set, meanwhile=impatient)
    assert not done.is_set()
    gate.open.release()
    assert done.wait(DEADLINE_S)
    assert worker.call(lambda: 5, meanwhile=lambda _: None) == 5


def test_close_does_not_wait_longer_than_its_patience(gate):
    worker = LatestWorker(gate)
    worker.offer(1)
    assert gate.entered.acquire(timeout=DEADLINE_S)
    freed = threading.Event()
    assert not worker.close(last=freed.set, patience_s=0.0)
    assert not freed.is_set()
    gate.open.release()
    assert freed.wait(DEADLINE_S), "what the thread owns is freed when it comes back"
    assert worker.close()
