# SPDX-License-Identifier: Apache-2.0
"""Many bags: one after the other, in processes of this machine, or on a Dask cluster.

Each bag is a task. It returns plain values, which the caller stores on disk. A worker that crashes
affects only its bag, and that bag is tried again.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import cv2

from segmif_ros.evaluation.context import EvaluationContext
from segmif_ros.evaluation.run import DriveError, Progress, evaluate_bag
from segmif_ros.evaluation.settings import DriveSettings
from segmif_ros.evaluation.state import BagResult
from segmif_ros.share import install_command

ATTEMPTS = 3
"""Attempts for a bag whose worker crashes."""

_GRACE_S = 5.0

_OWN = threading.local()


@dataclass(frozen=True, slots=True)
class Task:
    """One bag to evaluate.

    Attributes:
        bag: its path on the evaluating machine.
        settings: of the evaluation.
        out_bag: where to write the results as a bag, None for nowhere.
    """

    bag: str
    settings: DriveSettings
    out_bag: str | None = None


Outcomes = Generator[tuple[Task, BagResult], None, None]
"""Results in order of completion; closing it ends running tasks."""


def evaluate_task(task: Task, progress: Progress | None = None) -> BagResult:
    """Evaluate one bag in this process; the model stays open for the next bag on this thread.

    Raises:
        DriveError: an error that is not caused by the bag.
    """
    bench: EvaluationContext | None = getattr(_OWN, "bench", None)
    if bench is None or bench.settings != task.settings:
        if bench is not None:
            bench.close()
        bench = _OWN.bench = EvaluationContext(task.settings)
        # Reading, network and counting use the cores already; OpenCV's own threads would only spin.
        cv2.setNumThreads(1)
    out_bag = Path(task.out_bag) if task.out_bag else None
    return evaluate_bag(Path(task.bag), bench, out_bag=out_bag, progress=progress)


def close_bench() -> None:
    """Free the model that `evaluate_task` left open on this thread."""
    bench: EvaluationContext | None = _OWN.__dict__.pop("bench", None)
    if bench is not None:
        bench.close()
        cv2.setNumThreads(-1)


def one_by_one(tasks: Sequence[Task], progress: Progress) -> Outcomes:
    """Evaluate in this process; ends after a bag that was interrupted."""
    try:
        for task in tasks:
            result = evaluate_task(task, progress)
            yield task, result
            if result.interrupted:
                return
    finally:
        close_bench()


def in_processes(
    tasks: Sequence[Task],
    jobs: int,
    *,
    work: Callable[[Task], BagResult] = evaluate_task,
) -> Outcomes:
    """Evaluate in processes of this machine, in whatever order they are done.

    Args:
        tasks: the bags.
        jobs: processes at once.
        work: what a process does with a task.

    Raises:
        DriveError: what is wrong is not a bag.
    """
    waiting: list[Task] = list(tasks)
    suspects: list[Task] = []
    deaths: Counter[str] = Counter()
    while waiting or suspects:
        queue, at_once = (waiting, jobs) if waiting else (suspects, 1)
        pool = ProcessPoolExecutor(
            at_once, mp_context=multiprocessing.get_context("spawn"), initializer=_begin_worker
        )
        running: dict[Future[BagResult], Task] = {}
        try:
            while queue or running:
                while queue and len(running) < at_once:
                    running[pool.submit(work, queue[0])] = queue[0]
                    queue.pop(0)
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    result = future.result()
                    yield running.pop(future), result
        except BrokenProcessPool:
            # The bag that ended the process is unknown: they are tried one by one at the end.
            for task in running.values():
                deaths[task.bag] += 1
                if deaths[task.bag] < ATTEMPTS:
                    suspects.append(task)
                else:
                    yield task, _given_up(task)
        finally:
            _end(pool)


def on_cluster(
    tasks: Sequence[Task],
    scheduler: str,
    *,
    work: Callable[[Task], BagResult] = evaluate_task,
    timeout_s: float = 10.0,
) -> Outcomes:
    """Evaluate on the workers of a Dask scheduler, in whatever order they are done.

    The bags and the model must lie under the same paths on every machine.

    Args:
        tasks: the bags.
        scheduler: its address, for example tcp://host:8786.
        work: what a worker does with a task.
        timeout_s: how long to try to reach it.

    Raises:
        DriveError: no scheduler there, or what is wrong is not a bag.
    """
    try:
        distributed: Any = import_module("distributed")
    except ModuleNotFoundError as err:
        raise DriveError(
            f"--scheduler needs Dask ({err.name}): {install_command('cluster')}"
        ) from err
    try:
        client: Any = distributed.Client(scheduler, timeout=timeout_s)
    except (OSError, TimeoutError, ValueError) as err:
        raise DriveError(f"no Dask scheduler at {scheduler!r}: {err}; start one first") from err
    with client:
        # The scheduler repeats a bag whose worker crashes, and takes two tasks
        # of one key for one task: evaluations that it has at once must not share keys.
        own = uuid4().hex
        futures = {
            client.submit(work, task, pure=False, key=f"{own}-{i}-{Path(task.bag).name}"): task
            for i, task in enumerate(tasks)
        }
        for future in distributed.as_completed(futures):
            task = futures[future]
            try:
                yield task, future.result()
            except distributed.KilledWorker:
                yield task, _given_up(task)


def threads_each(settings: DriveSettings, jobs: int) -> DriveSettings:
    """Divide the cores of this machine among processes, unless a number of threads was given."""
    if settings.engine_threads or jobs <= 1:
        return settings
    cores = len(os.sched_getaffinity(0))
    return replace(settings, engine_threads=max(1, cores // jobs))


def _given_up(task: Task) -> BagResult:
    reason = f"the process that evaluated it crashed {ATTEMPTS} times (out of memory?)"
    return BagResult(task.bag, "skipped", reason)


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, which stops its workers; they clean up then."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupt_once)
    threading.Thread(target=_end_with_parent, name="segmif-parent", daemon=True).start()


def _interrupt_once(*_: object) -> None:
    """Interrupt once, so that further signals do not interrupt the cleanup."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    """Thread: end this process when its parent was killed; it would wait forever."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    os._exit(1)


def _end(pool: ProcessPoolExecutor) -> None:
    """Terminate a pool and its running tasks."""
    processes = list((getattr(pool, "_processes", None) or {}).values())
    busy = [process for process in processes if process.is_alive()]
    pool.shutdown(wait=False, cancel_futures=True)
    for process in busy:
        process.terminate()
    for process in busy:
        process.join(_GRACE_S)
        process.kill()
