# SPDX-License-Identifier: Apache-2.0
"""Many bags: the same results whatever evaluates them; a worker that crashes loses nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import pytest
from drive_bags import drive_bag
from dying_worker import always_dies, dies_once
from tiny_model import write_tiny_bundle

from segmif_ros.evaluation import jobs as drive_jobs
from segmif_ros.evaluation.jobs import ATTEMPTS, Task, in_processes, on_cluster, one_by_one
from segmif_ros.evaluation.run import DriveError
from segmif_ros.evaluation.settings import DriveSettings
from segmif_ros.evaluation.state import BagResult, StateFolder


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> list[Task]:
    folder = tmp_path_factory.mktemp("drives")
    bundle = write_tiny_bundle(folder / "model", (64, 96))
    settings = DriveSettings(model=str(bundle), engine="onnxruntime", engine_threads=1)
    bags = [drive_bag(folder / name, count) for name, count in (("a", 8), ("deadly", 12))]
    (folder / "bad.mcap").write_bytes(b"no bag")
    return [Task(str(bag), settings) for bag in (*bags, folder / "bad.mcap")]


@pytest.fixture(scope="module")
def expected(tasks: list[Task]) -> dict[str, BagResult]:
    return {task.bag: result for task, result in one_by_one(tasks, lambda *_: None)}


def equal(results: dict[str, BagResult], expected: dict[str, BagResult]) -> None:
    assert results.keys() == expected.keys()
    for bag, result in results.items():
        for name in ("status", "reason", "pairs", "scores", "pictures", "engine", "notes"):
            assert getattr(result, name) == getattr(expected[bag], name), (bag, name)


def test_one_by_one_a_bad_bag_is_reported_and_the_rest_goes_on(tasks, expected):
    assert [expected[task.bag].status for task in tasks] == ["ok", "ok", "skipped"]
    assert "no mcap file: it begins with" in expected[tasks[2].bag].reason
    assert expected[tasks[1].bag].pairs["evaluated"] == 12


def test_a_killed_worker_loses_nothing(tasks, expected):
    results = {task.bag: r for task, r in in_processes(tasks, 2, work=dies_once)}
    assert (Path(tasks[1].bag).parent / "died").exists()
    equal(results, expected)


def test_a_bag_that_kills_every_worker_is_given_up(tasks):
    results = {task.bag: r for task, r in in_processes(tasks[1:2], 1, work=always_dies)}
    (given_up,) = results.values()
    assert given_up.status == "skipped"
    assert f"crashed {ATTEMPTS} times" in given_up.reason


class FragilePool:
    """Stands for ProcessPoolExecutor: a task called "deadly" takes all that run with it."""

    def __init__(self, workers: int, **_: object) -> None:
        self.workers = workers
        self.running: list[Future] = []

    def submit(self, work, task):
        future: Future = Future()
        self.running.append(future)
        if Path(task.bag).name == "deadly":
            for each in (future for future in self.running if not future.done()):
                each.set_exception(BrokenProcessPool())
        elif self.workers == 1:
            future.set_result(work(task))
        return future

    def shutdown(self, **_: object) -> None:
        """Nothing is open."""


def test_a_bag_beside_a_deadly_one_is_not_given_up(tasks, monkeypatch):
    monkeypatch.setattr(drive_jobs, "ProcessPoolExecutor", FragilePool)
    outcomes = in_processes(tasks[:2], 2, work=lambda task: BagResult(task.bag, "ok"))
    results = {Path(task.bag).name: result for task, result in outcomes}
    assert results["a"].status == "ok"
    assert f"crashed {ATTEMPTS} times" in results["deadly"].reason


def test_workers_end_when_their_parent_is_killed():
    program = (
        "import os, sys\n"
        "from segmif_ros.evaluation.jobs import _begin_worker\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from multiprocessing import get_context\n"
        "if __name__ == '__main__':\n"
        "    pool = ProcessPoolExecutor(\n"
        "        1, mp_context=get_context('spawn'), initializer=_begin_worker\n"
        "    )\n"
        "    print(pool.submit(os.getpid).result(), flush=True)\n"
        "    sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert parent.stdout is not None
    worker = Path("/proc") / parent.stdout.readline().strip()
    assert worker.is_dir()
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 15.0
    while worker.is_dir() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not worker.is_dir()


def test_a_cluster_says_the_same_also_when_a_worker_is_killed(tasks, expected):
    distributed = pytest.importorskip("distributed", reason="pip install 'segmif_ros[cluster]'")
    marker = Path(tasks[1].bag).parent / "died"
    marker.unlink(missing_ok=True)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        outcomes = on_cluster(tasks, cluster.scheduler_address, work=dies_once)
        results = {task.bag: result for task, result in outcomes}
    assert marker.exists()
    equal(results, expected)


def test_two_evaluations_on_one_cluster_keep_their_own_results(tasks):
    """Both have a bag of one name; the scheduler takes equal keys for one task."""
    distributed = pytest.importorskip("distributed", reason="pip install 'segmif_ros[cluster]'")
    with distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster:
        ways = [
            on_cluster(tasks[:2], cluster.scheduler_address, work=partial(says, reason))
            for reason in ("first model", "second model")
        ]
        first = next(ways[0])  # its tasks stay known to the scheduler while the other one runs
        second = {result.reason for _, result in ways[1]}
        assert first[1].reason == "first model"
        assert {result.reason for _, result in ways[0]} == {"first model"}
    assert second == {"second model"}


def says(reason: str, task: Task) -> BagResult:
    return BagResult(task.bag, "ok", reason)


def test_a_missing_scheduler_is_reported(tasks):
    pytest.importorskip("distributed", reason="pip install 'segmif_ros[cluster]'")
    with pytest.raises(DriveError, match="no Dask scheduler at"):
        list(on_cluster(tasks, "tcp://127.0.0.1:9", timeout_s=1.0))


def test_a_kept_result_comes_back_as_it_was(tasks, expected, tmp_path):
    bag = Path(tasks[0].bag)
    state = StateFolder(tmp_path, "settings")
    assert state.known(bag) is None
    state.keep(bag, expected[str(bag)])
    equal({str(bag): state.known(bag)}, {str(bag): expected[str(bag)]})
    assert StateFolder(tmp_path, "other settings").known(bag) is None
    assert not list((tmp_path / "state" / "settings").glob(".part*"))


def test_a_result_of_a_bag_that_has_changed_is_not_taken(tasks, expected, tmp_path):
    bag = drive_bag(tmp_path / "bag", 4)
    state = StateFolder(tmp_path, "settings")
    state.keep(bag, expected[tasks[0].bag])
    assert state.known(bag) is not None
    drive_bag(bag, 5, force=True)
    assert state.known(bag) is None


def test_a_damaged_result_is_made_again(tasks, expected, tmp_path):
    bag = Path(tasks[0].bag)
    state = StateFolder(tmp_path, "settings")
    state.keep(bag, expected[str(bag)])
    (result,) = (tmp_path / "state" / "settings").glob("*/result.json")
    result.write_text(result.read_text()[:100])
    assert state.known(bag) is None
